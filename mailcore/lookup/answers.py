"""The maps: what each says of a key.

`domains` has the domains that receive mail here, for relay_domains. `recipients` has the addresses that do, for
relay_recipient_maps. `access` says to each address what LMTP would say to it, for check_recipient_access: so
that a mailbox that is full or disabled is refused while the sender's agent is there to be told.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from mailcore.errors import AddressNotFound, DomainInvalid, MailError, Unavailable
from mailcore.lookup.wire import Question
from mailcore.model.address import domain_name
from mailcore.services.delivery import Delivery
from mailcore.services.domains import Domains
from mailcore.services.resolution import ANYBODY, Resolutions
from mailcore.smtp.replies import reply_for

FOUND = "OK "
NOT_FOUND = "NOTFOUND "
LATER = "TEMP Not known now"
NO_SUCH_MAP = "PERM There is no such map"
GO_ON = FOUND + "DUNNO"
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
        try:
            self._delivery.resolve(key, ANYBODY)
        except Unavailable:
            raise
        except MailError as error:
            reply = reply_for(error)
            return f"{FOUND}{reply.code} {reply.enhanced} {reply.lines[0]}"
        return GO_ON


def _is_address(key: str) -> bool:
    local, at, domain = key.rpartition("@")
    return bool(local and at and domain)
