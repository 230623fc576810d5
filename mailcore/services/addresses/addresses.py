"""Addresses: whom mail reaches."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from bson import ObjectId

from mailcore.errors import (
    AddressInvalid,
    AddressKept,
    AddressNotFound,
    AddressTaken,
    DomainNotFound,
    NotPermitted,
    UserNotFound,
    WildcardNotPermitted,
)
from mailcore.model.actor import Actor
from mailcore.model.address import Address, display_domain
from mailcore.model.address_data import NO_DATA, AddressData
from mailcore.model.ids import TenantId, UserId
from mailcore.model.lookalike import lookalike
from mailcore.model.routing import RESERVED, Entry
from mailcore.model.tenant import AddressRoute
from mailcore.model.wildcard import STAR, Wildcard, canonical_of, is_wildcard
from mailcore.services.accounts.sessions import Sessions
from mailcore.services.events.audit import Audit
from mailcore.services.process.clock import now
from mailcore.services.tenants.tenants import clean_name
from mailcore.store.directory import Directory
from mailcore.store.directory.deleted_users import Stage

AT_ONCE: Final = 1000


class Addresses:
    """Claims, finds and gives up addresses; nothing here is answered from a cache."""

    def __init__(self, directory: Directory, audit: Audit, sessions: Sessions) -> None:
        self._directory = directory
        self._audit = audit
        self._sessions = sessions

    def find(self, address: str) -> AddressRoute | None:
        """Return which user has an address (dots, case and +label aside), or None; one read, primary, majority.

        Raises:
            AddressInvalid: it could not reach anybody here.
        """
        return self._directory.addresses.find(Address.parse(address).canonical)

    def get(self, address: str) -> AddressRoute:
        """Return which user has an address.

        Raises:
            AddressInvalid: it could not reach anybody here.
            AddressNotFound: no user has it.
        """
        route = self.find(address)
        if route is None:
            raise AddressNotFound(f"{address} reaches nobody here as a user")
        return route

    def taken(self, canonicals: Collection[str]) -> set[str]:
        """Return which of these canonical addresses somebody has, whoever; one round trip for each thousand."""
        found: set[str] = set()
        wanted = sorted(canonicals)
        for first in range(0, len(wanted), AT_ONCE):
            found |= self._directory.addresses.find_entries(wanted[first : first + AT_ONCE]).keys()
        return found

    def list_wildcards(self, tenant_id: TenantId) -> list[AddressRoute]:
        """Return up to 1000 of the wildcards of a tenant's users, catch-alls among them."""
        return self._directory.addresses.list_wildcards(tenant_id)

    def check_free(self, tenant_id: TenantId, text: str) -> Address:
        """Return the address if the tenant may have it and nobody has it yet.

        Raises:
            AddressInvalid: malformed, or with a +label, which everybody has for free.
            DomainNotFound: its domain is not the tenant's.
            NotPermitted: the domain is not verified yet.
            WildcardNotPermitted: it is a pattern.
            AddressTaken: somebody has it, or one that people would take it for; `AddressKept`: a deleted user does.
        """
        if is_wildcard(text):
            raise WildcardNotPermitted(f"{text} is a pattern, not an address")
        address = Address.parse(text)
        if address.label is not None:
            raise AddressInvalid("an address is created without +label; mail to every label of it arrives anyway")
        self._check_domain(tenant_id, address.domain)
        entry = self._directory.addresses.find_entry(address.canonical)
        if entry is not None:
            raise self.held(tenant_id, entry) or AddressTaken(f"{address.display} belongs to somebody already")
        self._check_told_apart(tenant_id, address)
        return address

    def _check_told_apart(self, tenant_id: TenantId, address: Address) -> None:
        """Raises: AddressTaken, where people would take it for another that somebody has, or that has a duty."""
        alike = lookalike(address.canonical)
        if alike is None:
            entry = self._directory.addresses.find_looking_like(address.canonical)
            said = f"{address.display} looks like an address that somebody has"
        else:
            entry = self._directory.addresses.find_entry(alike)
            said = f"{address.display} looks like {alike}: choose letters that can be told apart"
            if alike.partition("@")[0] in RESERVED:
                raise AddressTaken(said)
        if entry is not None:
            raise self.held(tenant_id, entry) or AddressTaken(said)

    def held(self, tenant_id: TenantId, entry: Entry) -> AddressKept | None:
        """Return what to raise where an entry is in a tenant's way that a deleted user of its own keeps, or None.

        Others' deleted users are told to nobody. Up to two round trips.
        """
        if not isinstance(entry, AddressRoute) or entry.tenant_id != tenant_id:
            return None
        found = self._directory.deleted_users.find(entry.user_id)
        if found is None or found.stage is Stage.ERASING:
            return None
        until = found.erase_after
        return AddressKept(
            f"a deleted user keeps {entry.display} until {until:%Y-%m-%d}: restore it, or give its addresses free",
            until=until,
        )

    def why_taken(self, tenant_id: TenantId, display: str, canonical: str) -> AddressTaken:
        """Return what to raise where an address or wildcard could not be stored, for somebody has it."""
        entry = self._directory.addresses.find_entry(canonical)
        held = self.held(tenant_id, entry) if entry is not None else None
        return held or AddressTaken(f"{display} belongs to somebody already")

    def check_wildcard(self, tenant_id: TenantId, text: str) -> Wildcard:
        """Return the pattern if the tenant may have it: one in a domain of its own, or `user@*`.

        Raises:
            AddressInvalid: no pattern.
            DomainNotFound: its domain is not the tenant's.
            NotPermitted: the domain is not verified yet.
        """
        wildcard = Wildcard.parse(text)
        lookalike(wildcard.canonical(tenant_id))
        if wildcard.domain != STAR:
            self._check_domain(tenant_id, wildcard.domain)
        return wildcard

    def _check_domain(self, tenant_id: TenantId, name: str) -> None:
        domain = self._directory.domains.find(tenant_id, name)
        if domain is None:
            raise DomainNotFound(f"{display_domain(name)} is not a domain of this tenant: add it first")
        if domain.verified_at is None:
            raise NotPermitted(f"{display_domain(name)} is not verified yet")

    def claim(
        self, tenant_id: TenantId, user_id: UserId, address: Address, data: AddressData = NO_DATA
    ) -> AddressRoute:
        """Make an address reach a user; the unique index decides between two who claim at once.

        Raises:
            AddressTaken: somebody was faster.
        """
        route = AddressRoute(ObjectId(), tenant_id, user_id, address.display, address.canonical, now(), "", data)
        if not self._directory.addresses.insert(route):
            raise AddressTaken(f"{address.display} belongs to somebody already")
        return route

    def create(
        self,
        actor: Actor,
        user_id: UserId,
        text: str,
        *,
        allow_wildcard: bool = False,
        name: str = "",
        data: AddressData = NO_DATA,
    ) -> AddressRoute:
        """Give a user one more address or, if that is meant, a wildcard.

        Raises:
            UserNotFound: there is no such user.
            AddressInvalid, DomainNotFound, NotPermitted, WildcardNotPermitted, AddressTaken: as `check_free`.
            ValueInvalid: the name is too long, or has control characters.
        """
        user = self._directory.users.find(user_id)
        if user is None:
            raise UserNotFound(user_id)
        if allow_wildcard and is_wildcard(text):
            wildcard = self.check_wildcard(user.tenant_id, text)
            display, canonical = wildcard.display, wildcard.canonical(user.tenant_id)
        else:
            address = self.check_free(user.tenant_id, text)
            display, canonical = address.display, address.canonical
        route = AddressRoute(
            ObjectId(), user.tenant_id, user_id, display, canonical, now(), clean_name(name) if name else "", data
        )
        with self._audit.of_user(actor, "address.created", user_id, {"address": display}):
            if not self._directory.addresses.insert(route):
                raise self.why_taken(user.tenant_id, display, canonical)
        return route

    def delete(self, actor: Actor, user_id: UserId, text: str) -> None:
        """Take an address or wildcard from a user, except the main one; sessions that signed in with it end.

        Raises:
            AddressNotFound: the user has none such.
            NotPermitted: it is the main address.
        """
        user = self._directory.users.find(user_id)
        if user is None:
            raise UserNotFound(user_id)
        canonical = canonical_of(text, user.tenant_id)
        if Address.parse(user.address).canonical == canonical:
            raise NotPermitted("the main address cannot be taken away")
        with self._audit.of_user(actor, "address.deleted", user_id, {"address": canonical}):
            if not self._directory.addresses.delete(user_id, canonical):
                raise AddressNotFound(f"{text} is not an address of this user")
            self._directory.user_changes.end_sessions(user_id)
        self._sessions.user_changed(user_id)

    def list_of_user(self, user_id: UserId) -> list[AddressRoute]:
        """Return the user's addresses and wildcards in order of creation."""
        return self._directory.addresses.list_of_user(user_id)
