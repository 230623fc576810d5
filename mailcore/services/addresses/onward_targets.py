"""Targets that users have their mail sent on to by themselves: nothing leaves until whoever has the address agreed.

What an admin sets, and what was set before anybody was asked, asks for nothing: `asks` stands with settings, rules
and scripts that a user changed. Whether an address is hosted for the same tenant is decided for every message.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from bson import ObjectId

from mailcore.errors import AddressInvalid, NonceInvalid, RateExceeded, ServerBusy, UserNotFound
from mailcore.model.actor import Actor, ActorKind
from mailcore.model.address import Address, canonical
from mailcore.model.forward_target import is_url
from mailcore.model.ids import TenantId, UserId
from mailcore.model.limits import Limits, Spending
from mailcore.model.onward_target import AGAIN_AFTER, OnwardTargets, TargetAsk, target_key
from mailcore.model.plan import Forward
from mailcore.model.tenant import User
from mailcore.services.accounts.sessions import Sessions
from mailcore.services.accounts.usage import Usage
from mailcore.services.addresses.address_book import AddressBook
from mailcore.services.events.audit import Audit
from mailcore.services.process.clock import now
from mailcore.services.process.jobs import Jobs
from mailcore.store.directory import Directory
from mailcore.store.placement import Home, Placement

log = logging.getLogger(__name__)

KEY_NAME: Final = "confirmation_key"
JOB: Final = "targets.mail"
MAC_BYTES: Final = 16
ID_BYTES: Final = 12


@dataclass(frozen=True, slots=True)
class Asked:
    """What a link is about."""

    user: User
    ask: TargetAsk


def is_own_choice(actor: Actor) -> bool:
    """Whether users change something of their own: then targets outside ask to be confirmed."""
    return actor.kind is ActorKind.USER


class ConfirmedTargets:
    """Says which targets get mail, and asks those that do not yet."""

    def __init__(
        self,
        directory: Directory,
        placement: Placement,
        audit: Audit,
        sessions: Sessions,
        usage: Usage,
        jobs: Jobs,
        key: Callable[[], bytes],
        limits: Limits,
    ) -> None:
        self._directory = directory
        self._placement = placement
        self._audit = audit
        self._sessions = sessions
        self._usage = usage
        self._jobs = jobs
        self._key = key
        self._limits = limits
        self._book = AddressBook(directory)

    # -- delivery -----------------------------------------------------------------------------

    def released(self, home: Home, forwards: Sequence[Forward]) -> tuple[Forward, ...]:
        """Return what may be sent on; no round trip but for targets that wait or are hosted here, then one to four.

        Raises:
            StoreUnavailable: it is not known now whether a target is hosted here.
        """
        asking = [each.address for each in forwards if each.asks]
        waiting = set(self._unconfirmed(home.tenant_id, home.onward, asking)) if asking else frozenset()
        return tuple(each for each in forwards if not (each.asks and each.address in waiting))

    def waiting(self, user: User, targets: Iterable[str]) -> list[str]:
        """Return those of targets which ask that get nothing yet; round trips as `released`."""
        return self._unconfirmed(user.tenant_id, user.onward, list(dict.fromkeys(targets)))

    def _unconfirmed(self, tenant_id: TenantId, known: OnwardTargets, targets: Iterable[str]) -> list[str]:
        unknown = [target for target in targets if target_key(target) not in known.confirmed]
        if not unknown:
            return []
        here = self._hosted(tenant_id, unknown)
        return [target for target in unknown if target not in here]

    def _hosted(self, tenant_id: TenantId, targets: Sequence[str]) -> set[str]:
        """Return which are addresses of the tenant now, in a domain that is proven to be the tenant's."""
        parsed: dict[str, Address] = {}
        for target in targets:
            try:
                parsed[target] = Address.parse(target)
            except AddressInvalid:  # a URL, or one that nobody here could have
                continue
        if not parsed:
            return set()
        domains = self._directory.domains.find_by_names({address.domain for address in parsed.values()})
        own = {
            name for name, domain in domains.items() if domain.tenant_id == tenant_id and domain.verified_at is not None
        }
        here = {target: address for target, address in parsed.items() if address.domain in own}
        found = self._book.look_up(list(here.values())) if here else []
        return {
            target
            for target, one in zip(here, found, strict=True)
            if one.entry is not None and one.entry.tenant_id == tenant_id
        }

    # -- what users choose --------------------------------------------------------------------

    def go_on(self, user_id: UserId, before: Iterable[str], after: Iterable[str]) -> None:
        """Let targets that asked for nothing so far, and stay, count as confirmed; part of a user's change.

        One that the user takes out does not: somebody else may have put it there before anybody was asked.
        """
        keys = set(map(target_key, before)) & set(map(target_key, after))
        if keys:
            self._directory.targets.confirm(user_id, keys)
            self._placement.forget(user_id)

    def ask(self, actor: Actor, user_id: UserId, targets: Iterable[str]) -> None:
        """Have a link mailed to each of a user's targets that asks to be confirmed; nobody learns whether it was.

        One that waits already is mailed again, though not at once. A URL is for an admin to confirm.
        """
        wanted = list(dict.fromkeys(target for target in targets if not is_url(target)))
        user = self._directory.users.find(user_id) if wanted else None
        if user is None:
            return
        before = {ask.key: ask for ask in user.onward.asks}
        asks = []
        for target in self.waiting(user, wanted):
            ask = self._next(user, target, before.get(target_key(target)))
            if ask is not None and (actor.dry_run or self._may_mail(user, ask)):
                asks.append(ask)
        if asks:
            with self._audit.of_user(actor, "target.asked", user_id, {"targets": [ask.target for ask in asks]}):
                self._directory.targets.ask(user_id, [before[ask.key] for ask in asks if ask.key in before], asks)
            try:
                self._jobs.enqueue(JOB)
            except ServerBusy:
                log.info("targets.mailed_later", extra={"user": str(user_id)})

    def _next(self, user: User, target: str, before: TargetAsk | None) -> TargetAsk | None:
        at = now()
        if before is None or not before.holds(user.auth_version, at):
            return TargetAsk(ObjectId(), target, at, user.auth_version)
        if at < before.asked_at + AGAIN_AFTER:
            return None
        return replace(before, asked_at=at, mails=before.mails + 1, is_due=True)

    def _may_mail(self, user: User, ask: TargetAsk) -> bool:
        """Count a mail: for who asks, for whoever is asked, by whomever, and for the tenant.

        Dots and labels make nobody else of who is asked.
        """
        try:
            person = canonical(ask.target)
        except AddressInvalid:
            person = ask.key
        asked = ObjectId(hashlib.sha256(b"target\0" + person.encode()).digest()[:ID_BYTES])
        try:
            self._usage.spend_of(user.id, Spending.CONFIRMATIONS, self._limits.confirmations_per_day)
            self._usage.spend_of(asked, Spending.CONFIRMATIONS, self._limits.confirmations_per_target)
            self._usage.spend_unasked(user.tenant_id, 1)
        except RateExceeded:
            log.warning("targets.too_many", extra={"user": str(user.id)})
            return False
        return True

    # -- links --------------------------------------------------------------------------------

    def list_due(self) -> list[tuple[User, list[TargetAsk]]]:
        """Return what is to be mailed, by user; a round trip for each."""
        found = []
        for user_id in self._directory.targets.list_due():
            user = self._directory.users.find(user_id)
            if user is not None:
                found.append((user, [ask for ask in user.onward.asks if ask.is_due]))
        return found

    def note_mailed(self, user_id: UserId, asks: Sequence[TargetAsk]) -> None:
        """Note that links are queued."""
        self._directory.targets.note_mailed(user_id, asks)

    def token(self, user_id: UserId, ask: TargetAsk) -> str:
        """Return what a link ends with: good for this target of this user alone."""
        named = user_id.binary + ask.id.binary
        return base64.urlsafe_b64encode(named + self._proof(named)).decode().rstrip("=")

    def find(self, token: str) -> Asked:
        """Return what a link is about; no round trip for one that was made up, else one.

        Raises:
            NonceInvalid: made up, used, too old, or the user has changed the password or gone since.
        """
        try:
            raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            raise NonceInvalid from None
        named, proof = raw[: 2 * ID_BYTES], raw[2 * ID_BYTES :]
        if not hmac.compare_digest(self._proof(named), proof):
            raise NonceInvalid
        user = self._directory.users.find(UserId(ObjectId(named[:ID_BYTES])))
        ask = user.onward.find(ObjectId(named[ID_BYTES:])) if user is not None else None
        if user is None or ask is None or not ask.holds(user.auth_version, now()):
            raise NonceInvalid
        return Asked(user, ask)

    def confirm(self, actor: Actor, asked: Asked) -> None:
        """Send mail on to a target from now on.

        Raises:
            NonceInvalid: somebody was faster, or the user has changed the password meanwhile.
        """
        user_id = asked.user.id
        with self._audit.of_user(actor, "target.confirmed", user_id, {"target": asked.ask.target}):
            alike = [ask.id for ask in asked.user.onward.asks if ask.key == asked.ask.key]
            if not self._directory.targets.confirm(user_id, {asked.ask.key}, asked.ask, alike):
                raise NonceInvalid
        self._told(user_id)

    def vouch(self, actor: Actor, user_id: UserId, targets: Iterable[str]) -> None:
        """Send a user's mail on to targets without asking them; for admins.

        Raises:
            UserNotFound: there is no such user.
        """
        named = list(targets)
        with self._audit.of_user(actor, "target.vouched", user_id, {"targets": named}):
            if not self._directory.targets.confirm(user_id, {target_key(target) for target in named}):
                raise UserNotFound(user_id)
        self._told(user_id)

    def forget(self, actor: Actor, user_id: UserId, key: str) -> None:
        """Keep what users have sent on to a target, given by its key, until it is confirmed once more.

        Links that were mailed there are over. What an admin has set goes on.

        Raises:
            UserNotFound: there is no such user.
        """
        user = self._directory.users.find(user_id)
        asks = user.onward.asks if user is not None else ()
        with self._audit.of_user(actor, "target.forgotten", user_id, {"target": key}):
            if not self._directory.targets.forget(user_id, key, [ask.id for ask in asks if ask.key == key]):
                raise UserNotFound(user_id)
        self._told(user_id)

    def _told(self, user_id: UserId) -> None:
        self._placement.forget(user_id)
        self._sessions.user_changed(user_id)

    def _proof(self, named: bytes) -> bytes:
        return hmac.digest(self._key(), b"target\0" + named, "sha256")[:MAC_BYTES]
