"""Who receives mail for an address: users here, addresses elsewhere, through groups and forwarded addresses.

Members and targets are followed level by level, with at most three round trips for each, to a bounded
depth; what was met before is not followed again. Another tenant's addresses are elsewhere.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from mailcore.errors import (
    AddressInvalid,
    AddressNotFound,
    ForwardingStopped,
    PostingRefused,
    TooManyMembers,
    UserDisabled,
    UserNotFound,
)
from mailcore.model.address import Address
from mailcore.model.ids import TenantId, UserId
from mailcore.model.limits import DEFAULT_LIMITS, RoutingLimits
from mailcore.model.routing import ForwardedAddress, Group, Posters, onward
from mailcore.model.tenant import AddressRoute, State
from mailcore.services.addresses.address_book import AddressBook, Found
from mailcore.services.addresses.recipient import Recipient
from mailcore.services.inbound.bounces import Bounce, Bounces
from mailcore.services.tenants.standing import sends_by_itself
from mailcore.store.directory import Directory
from mailcore.store.placement import Placement

log = logging.getLogger(__name__)

MOST_REMEMBERED = 10_000

ANYBODY: Final = "\0"
"""In place of a sender that is not known yet, which none can be: who may post or bounce is not looked at."""


@dataclass(frozen=True, slots=True)
class ForwardTarget:
    """An address elsewhere that receives mail for an address here."""

    address: str
    via: ForwardedAddress | Group
    """What it is a target or member of."""


@dataclass(frozen=True, slots=True)
class Resolution:
    """Everybody who receives mail for one address; at least one of them, unless only reports are taken there."""

    recipients: tuple[Recipient, ...] = ()
    forwards: tuple[ForwardTarget, ...] = ()
    group: Group | None = None
    """The group that the address is."""
    forwarded: ForwardedAddress | None = None
    """The forwarded address that the address is."""
    catch_all: bool = False
    """By a wildcard."""
    moderators: tuple[Recipient, ...] = ()
    """The post is held until one of them lets it go to the others; none: it goes at once."""

    @property
    def tenant_id(self) -> TenantId | None:
        """Whose the address is; None where it is nobody's in particular."""
        owner = self.group or self.forwarded or next(iter(self.recipients), None)
        return None if owner is None else owner.tenant_id

    is_feedback: bool = False
    """The address is one of ours for reports about our mail (RFC 5965); it may have users besides."""
    bounce: Bounce | None = None
    """The address is a reverse-path of ours under which mail was sent on: this goes back to its sender."""

    @property
    def reached(self) -> Iterator[tuple[TenantId, str]]:
        """The tenants whose address it is or whose users it reaches, with the address as it was given."""
        for recipient in self.recipients:
            yield recipient.tenant_id, recipient.address
        entry = self.group or self.forwarded
        if entry is not None:
            yield entry.tenant_id, entry.display

    @property
    def is_direct(self) -> bool:
        """Whether the address is one of the user's, and not one whose mail goes on to others."""
        return self.group is None and self.forwarded is None and self.bounce is None and bool(self.recipients)


@dataclass(slots=True)
class _Reached:
    """What was met on the way, each once."""

    users: dict[UserId, Recipient] = field(default_factory=dict)
    elsewhere: dict[str, ForwardTarget] = field(default_factory=dict)
    passed: set[str] = field(default_factory=set)
    """Canonical forms of groups and forwarded addresses."""

    @property
    def count(self) -> int:
        return len(self.users) + len(self.elsewhere) + len(self.passed)


class Resolutions:
    """Finds recipients; that somebody receives nothing is never answered from memory."""

    def __init__(
        self,
        directory: Directory,
        placement: Placement,
        limits: RoutingLimits = DEFAULT_LIMITS.routing,
        bounces: Bounces | None = None,
        feedback_addresses: frozenset[str] = frozenset(),
    ) -> None:
        self._directory = directory
        self._bounces = bounces
        self._feedback_addresses = feedback_addresses
        self._placement = placement
        self._limits = limits
        self._book = AddressBook(directory)
        self._recent: dict[str, tuple[float, AddressRoute]] = {}
        """Users by an address of their own, as it was written, and when that was read."""

    def resolve(self, address: str, sender: str | None = None, *, max_age_s: float = 0.0) -> Resolution:
        """Return who receives mail for an address; one round trip where it is a user's own, none if it is known.

        Args:
            address: as it was given in the envelope.
            sender: the reverse-path, None if it is the null one, or ANYBODY; only groups look at it.
            max_age_s: that it is a user's own address may have been read so long ago; nothing else.

        Raises:
            AddressNotFound: nobody does.
            UserDisabled: the user, the tenant or the forwarded address takes no mail.
            ForwardingStopped: it would only be sent on, and nothing of the tenant's leaves by itself now.
            PostingRefused: the group takes no mail of that sender.
            TooManyMembers: more would receive it than may.
            StoreUnavailable: not known now; nothing is to be told of the address.
        """
        if address.lower() not in self._feedback_addresses:
            return self._resolve(address, sender, max_age_s)
        try:
            return replace(self._resolve(address, sender, max_age_s), is_feedback=True)
        except AddressNotFound:
            return Resolution(is_feedback=True)

    def _resolve(self, address: str, sender: str | None, max_age_s: float) -> Resolution:
        bounce = None
        if self._bounces is not None:
            bounce = self._bounces.find(address, None if sender == ANYBODY else sender)
        if bounce is not None:
            return Resolution(bounce=bounce)
        read_at = time.monotonic()
        recent = self._recent.get(address) if max_age_s else None
        if recent is not None and read_at - recent[0] <= max_age_s:
            return Resolution((self._recipient(recent[1], address),))
        try:
            parsed = Address.parse(address)
        except AddressInvalid:
            raise AddressNotFound(address) from None
        found = self._book.look_up([parsed])[0]
        entry = found.entry
        if entry is None:
            raise AddressNotFound(address)
        if isinstance(entry, AddressRoute):
            if max_age_s and not found.by_wildcard:
                self._remember(address, read_at, entry)
            return Resolution((self._recipient(entry, address),), catch_all=found.by_wildcard)
        if self._is_refused(entry):
            raise UserDisabled(address)
        tenant = self._placement.tenant(entry.tenant_id)
        reached = self._follow(entry, address)
        if not reached.users and not reached.elsewhere:
            raise AddressNotFound(address)
        if not reached.users and not sends_by_itself(tenant.admits, tenant.standing):
            raise ForwardingStopped(address)
        resolution = Resolution(
            tuple(reached.users.values()), tuple(reached.elsewhere.values()), catch_all=found.by_wildcard
        )
        if isinstance(entry, ForwardedAddress):
            return replace(resolution, forwarded=entry)
        self._check_poster(entry, resolution, sender)
        return replace(resolution, group=entry, moderators=self._moderators(entry, address))

    def _remember(self, address: str, read_at: float, route: AddressRoute) -> None:
        if len(self._recent) >= MOST_REMEMBERED:
            self._recent.clear()
        self._recent[address] = read_at, route

    # -- users ------------------------------------------------------------------------------

    def _recipient(self, route: AddressRoute, address: str) -> Recipient:
        try:
            home = self._placement.home(route.user_id)
        except UserNotFound:
            raise AddressNotFound(address) from None
        if home.state is State.DISABLED:
            raise UserDisabled(route.user_id)
        return Recipient(route.user_id, home.tenant_id, address, home)

    def _moderators(self, group: Group, address: str) -> tuple[Recipient, ...]:
        """Return who of the moderators is there to decide.

        Raises:
            UserDisabled: the group has some, and none of them.
        """
        found = []
        for user_id in group.moderators:
            route = AddressRoute(group.id, group.tenant_id, user_id, group.display, group.canonical, group.created_at)
            try:
                found.append(self._recipient(route, address))
            except (AddressNotFound, UserDisabled):
                log.warning("group.moderator_unusable", extra={"group": group.canonical, "user": str(user_id)})
        if group.moderators and not found:
            raise UserDisabled(address)
        return tuple(found)

    # -- groups and forwarded addresses -----------------------------------------------------

    def _is_refused(self, entry: ForwardedAddress | Group) -> bool:
        if isinstance(entry, ForwardedAddress) and entry.is_disabled:
            return True
        return self._placement.tenant(entry.tenant_id).state is State.DISABLED

    def _follow(self, start: ForwardedAddress | Group, address: str) -> _Reached:
        reached = _Reached(passed={start.canonical})
        level: list[ForwardedAddress | Group] = [start]
        for _ in range(self._limits.depth):
            if not level:
                return reached
            level = self._next_level(level, address, reached)
        if level:
            log.warning("resolution.too_deep", extra={"address": start.canonical})
        return reached

    def _next_level(
        self, level: Sequence[ForwardedAddress | Group], address: str, reached: _Reached
    ) -> list[ForwardedAddress | Group]:
        """Note the users and addresses elsewhere that a level names, and return the next one."""
        named = [(via, text, _parsed(text)) for via in level for text in onward(via)]
        if reached.count + len(named) > self._limits.reached:
            raise TooManyMembers(address, self._limits.reached)
        here = [parsed for _, _, parsed in named if parsed is not None]
        found = {one.address.canonical: one for one in self._book.look_up(here)} if here else {}
        deeper: list[ForwardedAddress | Group] = []
        for via, text, parsed in named:
            one = found[parsed.canonical] if parsed is not None else None
            if one is None or _is_elsewhere(one, via.tenant_id):
                reached.elsewhere.setdefault(parsed.canonical if parsed is not None else text, ForwardTarget(text, via))
            elif isinstance(one.entry, AddressRoute):
                self._note_user(one.entry, address, reached)
            elif one.entry is None or self._is_refused(one.entry):
                log.warning("resolution.member_unusable", extra={"via": via.canonical, "member": text})
            elif one.entry.canonical not in reached.passed:
                reached.passed.add(one.entry.canonical)
                deeper.append(one.entry)
        return deeper

    def _note_user(self, route: AddressRoute, address: str, reached: _Reached) -> None:
        if route.user_id in reached.users:
            return
        try:
            reached.users[route.user_id] = self._recipient(route, address)
        except (AddressNotFound, UserDisabled):
            log.info("resolution.member_unusable", extra={"member": route.canonical})

    def _check_poster(self, group: Group, resolution: Resolution, sender: str | None) -> None:
        """Raises: PostingRefused; what the envelope says is believed: whether it is true was the front's question."""
        if group.posters is Posters.ANYONE or sender == ANYBODY:
            return
        parsed = _parsed(sender) if sender else None
        if parsed is None:
            raise PostingRefused(group.canonical)
        if group.posters is Posters.TENANT:
            is_let = self._directory.domains.owner_of(parsed.domain) == group.tenant_id
        elif any(parsed.canonical == _canonical(target.address) for target in resolution.forwards):
            is_let = True
        else:
            entry = self._book.look_up([parsed])[0].entry
            users = {recipient.user_id for recipient in resolution.recipients}
            is_let = isinstance(entry, AddressRoute) and entry.user_id in users
        if not is_let:
            raise PostingRefused(group.canonical)


def _is_elsewhere(found: Found, tenant_id: TenantId) -> bool:
    if found.entry is not None:
        return found.entry.tenant_id != tenant_id
    return found.domain is None or found.domain.tenant_id != tenant_id or found.domain.verified_at is None


def _parsed(text: str) -> Address | None:
    """Return an address that could be one of ours, None if it can only be elsewhere."""
    try:
        return Address.parse(text)
    except AddressInvalid:
        return None


def _canonical(text: str) -> str:
    parsed = _parsed(text)
    return parsed.canonical if parsed is not None else text
