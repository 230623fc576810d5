"""Renaming users: another main address, the old one kept as an alias."""

from __future__ import annotations

from mailcore.errors import NotPermitted, UserNotFound
from mailcore.model.actor import Actor
from mailcore.model.address import Address
from mailcore.model.ids import UserId
from mailcore.model.wildcard import is_wildcard
from mailcore.services.accounts.users import Users
from mailcore.services.addresses.addresses import Addresses
from mailcore.services.events.audit import Audit
from mailcore.store.directory import Directory
from mailcore.store.placement import Placement


class Renaming:
    """Changes which of a user's addresses is the main one."""

    def __init__(
        self, directory: Directory, placement: Placement, users: Users, addresses: Addresses, audit: Audit
    ) -> None:
        self._directory = directory
        self._placement = placement
        self._users = users
        self._addresses = addresses
        self._audit = audit

    def rename(self, actor: Actor, user_id: UserId, text: str) -> str:
        """Give a user another main address and return it as it is shown; the old one goes on to reach the user.

        An address that the user has already becomes the main one. Sessions go on, and the user may sign in with
        either. Called twice it is done once: what a crash left half done, a new address that is not the main one
        yet, the second call ends.

        Raises:
            UserNotFound: there is no such user.
            AddressInvalid, DomainNotFound, NotPermitted, WildcardNotPermitted, AddressTaken: as `Addresses.check_free`.
        """
        user = self._users.get(user_id)
        display = self._own(user_id, text) or self._addresses.check_free(user.tenant_id, text).display
        if display == user.address:
            return display
        wanted = {"from": user.address, "to": display}
        with self._audit.of_user(actor, "user.renamed", user_id, wanted) as change:
            change.before["address"] = user.address
            if self._own(user_id, text) is None:
                self._addresses.claim(user.tenant_id, user_id, Address.parse(display))
            if self._directory.user_changes.set_address(user_id, display) is None:
                raise UserNotFound(user_id)
        self._placement.forget(user_id)
        return display

    def _own(self, user_id: UserId, text: str) -> str | None:
        """Return the address as the user has it, None if the user has none such.

        Raises:
            NotPermitted: it is a pattern.
        """
        if is_wildcard(text):
            raise NotPermitted("a pattern cannot be a main address")
        route = self._addresses.find(text)
        return route.display if route is not None and route.user_id == user_id else None
