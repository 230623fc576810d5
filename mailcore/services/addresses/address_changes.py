"""Changing addresses: what is kept with one, which is the main one, how it is written; and whole domains of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bson import ObjectId

from mailcore.errors import AddressNotFound, AddressTaken, DomainNotFound, NotPermitted, UserNotFound, ValueInvalid
from mailcore.model.actor import Actor
from mailcore.model.address import Address, display_domain
from mailcore.model.event import Details
from mailcore.model.ids import TenantId, UserId
from mailcore.model.routing import Entry, ForwardedAddress, Group, onward
from mailcore.model.tenant import AddressRoute, Domain, User
from mailcore.model.wildcard import STAR, is_wildcard
from mailcore.services.accounts.sessions import Sessions
from mailcore.services.addresses.addresses import Addresses
from mailcore.services.events.audit import Audit
from mailcore.services.tenants.tenants import clean_name
from mailcore.store.directory import Directory
from mailcore.store.placement import Placement


@dataclass(frozen=True, slots=True)
class Renamed:
    """How much a domain's new name changed."""

    addresses: int
    users: int
    aliases: int


class AddressChanges:
    """Changes addresses that are there."""

    def __init__(
        self, directory: Directory, placement: Placement, addresses: Addresses, audit: Audit, sessions: Sessions
    ) -> None:
        self._directory = directory
        self._placement = placement
        self._addresses = addresses
        self._audit = audit
        self._sessions = sessions

    def get(self, user_id: UserId, address_id: ObjectId) -> AddressRoute:
        """Return an address or wildcard of a user by its id.

        Raises:
            AddressNotFound: the user has none such.
        """
        entry = self._directory.addresses.find_id(address_id)
        if not isinstance(entry, AddressRoute) or entry.user_id != user_id:
            raise AddressNotFound(address_id)
        return entry

    def update(
        self,
        actor: Actor,
        user_id: UserId,
        address_id: ObjectId,
        *,
        address: str | None = None,
        name: str | None = None,
        data: Mapping[str, Any] | None = None,
        makes_main: bool = False,
    ) -> None:
        """Change what is given and leave the rest; sessions end where the address itself becomes another.

        Raises:
            AddressNotFound: the user has none such.
            NotPermitted: a wildcard becomes no address, an address no wildcard, and a wildcard is never the main one.
            AddressInvalid, DomainNotFound, AddressTaken: as `Addresses.check_free`.
            ValueInvalid: a name or datum is not right.
        """
        user = self._user(user_id)
        before = self.get(user_id, address_id)
        after = self._rewritten(before, address) if address is not None else before
        if name is not None:
            after = replace(after, name=clean_name(name) if name else "")
        after = replace(after, data=before.data.changed(data or {}))
        if makes_main and STAR in after.canonical:
            raise NotPermitted("a wildcard cannot be the main address")
        was_main = Address.parse(user.address).canonical == before.canonical
        main = after.display if (was_main or makes_main) and after.display != user.address else None
        if after == before and main is None:
            return
        wanted: dict[str, Any] = {"address": after.display, "name": after.name, "tags": after.data.tags}
        if main is not None:
            wanted["main"] = True
        with self._audit.of_user(actor, "address.changed", user_id, wanted) as change:
            change.before |= {"address": before.display, "name": before.name, "main": user.address}
            self._replace(after)
            if main is not None and self._directory.user_changes.set_address(user_id, main) is None:
                raise UserNotFound(user_id)
            if after.canonical != before.canonical:
                self._directory.user_changes.end_sessions(user_id)
        self._placement.forget(user_id)
        self._sessions.user_changed(user_id)

    def _rewritten(self, before: AddressRoute, text: str) -> AddressRoute:
        if is_wildcard(before.display) or is_wildcard(text):
            raise NotPermitted("a wildcard is not changed: make another and take this one away")
        parsed = Address.parse(text)
        if parsed.canonical != before.canonical:
            parsed = self._addresses.check_free(before.tenant_id, text)
        elif parsed.label is not None:
            raise ValueInvalid("an address has no +label; mail to every label of it arrives anyway")
        return replace(before, display=parsed.display, canonical=parsed.canonical)

    def _replace(self, route: AddressRoute) -> None:
        is_free = self._directory.addresses.replace_route(route)
        if is_free is None:
            raise AddressNotFound(route.display)
        if not is_free:
            raise AddressTaken(f"{route.display} belongs to somebody already")

    def _user(self, user_id: UserId) -> User:
        user = self._directory.users.find(user_id)
        if user is None:
            raise UserNotFound(user_id)
        return user

    # -- whole domains --------------------------------------------------------------------------

    def rename_domain(self, actor: Actor, tenant_id: TenantId, old: str, new: str) -> Renamed:
        """Give every address of a domain the same name in another domain of the tenant, A-labels both.

        Mail for the old names is nobody's afterwards, unless the old domain is made an alias of the new one. DKIM keys
        stay with their domains. Called again after it was cut off, it goes on.

        Raises:
            DomainNotFound: the tenant has one of them not.
            NotPermitted: the new one is not verified, or an alias.
            AddressTaken: one of the new addresses is somebody's; nothing is changed.
        """
        target = self._domain(tenant_id, new)
        self._domain(tenant_id, old)
        if target.verified_at is None or target.alias_of is not None:
            raise NotPermitted(f"{display_domain(new)} must be verified, and no alias")
        entries = self._directory.addresses.list_of_domain(tenant_id, old)
        moved = [_moved(entry, old, new) for entry in entries]
        taken = self._directory.addresses.find_entries([entry.canonical for entry in moved]) if moved else {}
        if taken:
            first = next(iter(taken.values()))
            held = self._addresses.held(tenant_id, first)
            raise held or AddressTaken(f"{first.display} belongs to somebody already")
        wanted: Details = {"old": old, "new": new, "addresses": len(moved)}
        with self._audit.of_tenant(actor, "domain.addresses_renamed", tenant_id, wanted) as change:
            named = self._directory.addresses.list_naming(tenant_id, old)
            if not self._directory.addresses.rename(moved):
                raise AddressTaken(f"somebody took an address of {display_domain(new)} meanwhile: try again")
            users = self._directory.user_changes.rename_addresses(tenant_id, old, new)
            for entry in named:
                self._directory.addresses.replace(_naming(entry, old, new))
            aliases = self._directory.domains.rename_aliases(tenant_id, old, new)
            change.after |= {"users": len(users), "aliases": aliases}
        self._placement.forget_tenant(tenant_id)
        self._sessions.tenant_changed(tenant_id)
        return Renamed(len(moved), len(users), aliases)

    def _domain(self, tenant_id: TenantId, name: str) -> Domain:
        domain = self._directory.domains.find(tenant_id, name)
        if domain is None:
            raise DomainNotFound(f"{display_domain(name)} is not a domain of this tenant")
        return domain


def _moved(entry: Entry, old: str, new: str) -> Entry:
    canonical = f"{entry.canonical.removesuffix(f'@{old}')}@{new}"
    local = entry.display.rpartition("@")[0]
    return replace(entry, canonical=canonical, display=f"{local}@{display_domain(new)}")


def _naming(entry: ForwardedAddress | Group, old: str, new: str) -> ForwardedAddress | Group:
    """Return an entry whose mail goes on to the new names of addresses."""
    names = tuple(_renamed(onward(entry), old, new))
    return replace(entry, members=names) if isinstance(entry, Group) else replace(entry, targets=names)


def _renamed(addresses: Sequence[str], old: str, new: str) -> list[str]:
    return [
        f"{local}@{new}" if domain.lower() == old else f"{local}@{domain}"
        for local, _, domain in (address.rpartition("@") for address in addresses)
    ]
