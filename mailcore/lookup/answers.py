"""What transfer agents are told: by maps of one key, and by the policy of a recipient together with its sender.

The map `domains` has the domains that receive mail here, for relay_domains. `recipients` has the addresses that do,
for relay_recipient_maps. `access` says to each address what LMTP would say to it, for check_recipient_access. The
policy (check_policy_service) does so too, and knows the sender: so that also whom a group does not take mail of is
refused while the sender's agent is there to be told, and not by a report to whomever the envelope names.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from mailcore.errors import AddressNotFound, DomainInvalid, MailError, Unavailable
from mailcore.lookup.wire import PolicyRequest, Question
from mailcore.model.address import domain_name
from mailcore.services.addresses.domains import Domains
from mailcore.services.addresses.resolution import ANYBODY, Resolutions
from mailcore.services.inbound.delivery import Delivery
from mailcore.smtp.replies import reply_for

FOUND = "OK "
NOT_FOUND = "NOTFOUND "
LATER = "TEMP Not known now"
DEFER = "451 4.3.0 Not known now; try again"
NO_SUCH_MAP = "PERM There is no such map"
GO_ON = "DUNNO"
"""Nothing against this address; the restrictions that follow decide."""

logger = logging.getLogger(__name__)


class Answers:
    """Answers questions; never from a cache, at least that somebody is not there."""

    def __init__(self, domains: Domains, resolutions: Resolutions, delivery: Delivery, own_domain: str) -> None:
        """Answer out of the services; `own_domain` is that of reverse-paths under which mail is sent on."""
        self._own_domain = own_domain.lower()
        self._domains = domains
        self._resolutions = resolutions
        self._delivery = delivery
        self._maps: Mapping[str, Callable[[str], str]] = {
            "domains": self._domain,
            "recipients": self._recipient,
            "access": self._access,
        }

    def name_of(self, question: Question) -> str:
        """Return the map's name if there is such a map, for counting."""
        return question.map_name if question.map_name in self._maps else "unknown"

    def to(self, question: Question) -> str:
        """Return the answer; TEMP whenever it cannot be known, so that nobody is taken for unknown."""
        look_up = self._maps.get(question.map_name)
        if look_up is None:
            return NO_SUCH_MAP
        try:
            return look_up(question.key)
        except Unavailable as error:
            logger.warning("lookup.unavailable", extra={"map": question.map_name, "error": type(error).__name__})
            return LATER

    def _domain(self, key: str) -> str:
        try:
            name = domain_name(key)
        except DomainInvalid:
            return NOT_FOUND
        return FOUND + name if name == self._own_domain or self._domains.is_hosted(name) else NOT_FOUND

    def _recipient(self, key: str) -> str:
        if not _is_address(key):
            return NOT_FOUND
        try:
            self._resolutions.resolve(key, ANYBODY)
        except AddressNotFound:
            return NOT_FOUND
        except Unavailable:
            raise
        except MailError:
            pass  # somebody's, though it takes no mail: that is for `access` to say
        return FOUND + "known"

    def _access(self, key: str) -> str:
        if not _is_address(key):
            return NOT_FOUND  # the agent also asks for the domain alone and for the local part alone
        return FOUND + self._action(key, ANYBODY)

    def policy(self, request: PolicyRequest) -> str:
        """Return the action for a recipient: DUNNO, or a refusal; 451 whenever it cannot be known."""
        if not request.recipient:  # asked before there is one, or behind DATA for several
            return GO_ON
        try:
            return self._action(request.recipient, request.sender or None)
        except Unavailable as error:
            logger.warning("lookup.unavailable", extra={"map": "policy", "error": type(error).__name__})
            return DEFER

    def _action(self, address: str, sender: str | None) -> str:
        """Return what access(5) calls an action.

        Raises:
            StoreUnavailable: not known now.
        """
        try:
            self._delivery.resolve(address, sender, only_asks=True)
        except Unavailable:
            raise
        except MailError as error:
            reply = reply_for(error)
            return f"{reply.code} {reply.enhanced} {reply.lines[0]}"
        return GO_ON


def _is_address(key: str) -> bool:
    local, at, domain = key.rpartition("@")
    return bool(local and at and domain)
