"""Whether mail that is forwarded would come back, as far as our own directory can tell; looked at when saved."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from mailcore.errors import AddressCycle, AddressInvalid
from mailcore.model.address import Address
from mailcore.model.ids import UserId
from mailcore.model.routing import ForwardedAddress, Group, onward
from mailcore.model.tenant import AddressRoute
from mailcore.services.addresses.address_book import AddressBook
from mailcore.store.directory import Directory
from mailcore.store.placement import Placement

MAX_DEPTH: Final = 10
MAX_REACHED: Final = 500
"""Addresses that are followed; what is beyond is cut off when mail is delivered."""


class ForwardCycles:
    """Follows forwards of users, forwarded addresses and groups, whoever has them."""

    def __init__(self, directory: Directory, placement: Placement) -> None:
        self._directory = directory
        self._placement = placement
        self._book = AddressBook(directory)

    def check(self, user_id: UserId, targets: Iterable[str], own: str | None = None) -> None:
        """Make sure that what a user forwards does not come back to the user.

        `own` is the main address, which reaches nobody yet where the user is in the making.

        Round trips: one to four for each step of the way, one or two more for each user on it.

        Raises:
            AddressCycle: it would.
        """
        named = list(targets)
        mine = Address.parse(own).canonical if own is not None else None
        passed: set[object] = set()
        for _ in range(MAX_DEPTH):
            here = _addresses(named)
            if not here or len(passed) > MAX_REACHED:
                return
            if any(address.canonical == mine for address in here):
                raise AddressCycle(f"mail forwarded to {own} would come back to its sender")
            named = []
            for found in self._book.look_up(here[:MAX_REACHED]):
                entry = found.entry
                if isinstance(entry, AddressRoute):
                    if entry.user_id == user_id:
                        raise AddressCycle(f"mail forwarded to {found.address.display} would come back to its sender")
                    if entry.user_id not in passed:
                        passed.add(entry.user_id)
                        named += self._targets_of(entry.user_id)
                elif isinstance(entry, ForwardedAddress | Group) and entry.id not in passed:
                    passed.add(entry.id)
                    named += onward(entry)

    def _targets_of(self, user_id: UserId) -> list[str]:
        user = self._directory.users.find(user_id)
        if user is None:
            return []
        targets = list(user.settings.targets)
        if user.filters_version:
            rules = self._placement.home(user_id).shard.filters.read_acting(user_id).rules
            targets += [
                target for rule in rules if not rule.content.is_disabled for target in rule.content.action.targets
            ]
        return targets


def _addresses(texts: Iterable[str]) -> list[Address]:
    found = {}
    for text in texts:
        try:
            address = Address.parse(text)
        except AddressInvalid:
            continue
        found[address.canonical] = address
    return list(found.values())
