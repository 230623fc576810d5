"""Whom the address means that somebody signs in with."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from mailcore.errors import AddressInvalid
from mailcore.model.address import Address
from mailcore.services.accounts.login_guard import Attempt
from mailcore.store.directory import Directory
from mailcore.store.directory.users import Credentials
from mailcore.store.placement import Placement


class UserLookup:
    """Finds users by their addresses, in as many round trips whether there is such a user or not."""

    def __init__(self, directory: Directory, placement: Placement) -> None:
        self._directory = directory
        self._placement = placement

    def by_main_address(self, username: str, attempt: Attempt) -> Credentials | None:
        """Return whose main address is written just so (decision 52); one round trip."""
        found = self._placement.find_by_main_address(username)
        return found if found is not None and attempt.may_be_of(found.user.tenant_id) else None

    def by_address(self, name: str, attempt: Attempt) -> tuple[Attempt, Credentials | None]:
        """Return whom an address reaches, and the attempt with the tenant that answers for it; two round trips.

        As many for an address that reaches nobody, and its guesses count for the same tenant.
        """
        route = self._directory.addresses.find(name)
        if route is not None and attempt.may_be_of(route.tenant_id):
            return attempt, self._placement.find_credentials(route.user_id)
        owner = self._directory.domains.owner_of(name.rpartition("@")[2])
        return replace(attempt, tenant_id=attempt.within or owner), None

    def confirm(self, found: Credentials | None, attempt: Attempt) -> None:
        """Where somebody was found by the main address alone, take the round trips of one who was not.

        Whom the address does not reach it finds no more: the next who signs in by it is looked up by `addresses` alone.
        """
        if found is None:
            return
        _, reached = self.by_address(attempt.username, attempt)
        if reached is None or reached.user.id != found.user.id:
            self._directory.user_changes.note_claim(found.user.id, claimed=False)

    def is_address_of(self, username: str, found: Credentials) -> bool:
        """Return whether it is an address of this user; a round trip unless it is the main one."""
        name = canonical(username)
        if name is None or name == canonical(found.user.address):
            return name is not None
        route = self._directory.addresses.find(name)
        return route is not None and route.user_id == found.user.id


def canonical(username: str) -> str | None:
    """Return the canonical form of an address, None for what is none."""
    try:
        return _parsed(username)
    except AddressInvalid:
        return None


@lru_cache(maxsize=1024)
def _parsed(username: str) -> str:
    """Return the canonical form of an address; what is none, of any length, is not kept."""
    return Address.parse(username).canonical
