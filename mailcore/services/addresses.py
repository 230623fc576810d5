"""Addresses: whom mail reaches."""

from __future__ import annotations

from bson import ObjectId

from mailcore.errors import AddressInvalid, AddressNotFound, AddressTaken, DomainNotFound, NotPermitted, UserNotFound
from mailcore.model.actor import Actor
from mailcore.model.address import Address, display_domain
from mailcore.model.ids import TenantId, UserId
from mailcore.model.tenant import AddressRoute
from mailcore.services.audit import Audit
from mailcore.services.clock import now
from mailcore.services.sessions import Sessions
from mailcore.store.directory import Directory


class Addresses:
    """Claims, finds and gives up addresses; nothing here is answered from a cache."""

    def __init__(self, directory: Directory, audit: Audit, sessions: Sessions) -> None:
        self._directory = directory
        self._audit = audit
        self._sessions = sessions

    def find(self, address: str) -> AddressRoute | None:
        """Return whom an address reaches (dots, case and +label aside), or None; one read, primary, majority.

        Raises:
            AddressInvalid: it could not reach anybody here.
        """
        return self._directory.addresses.find(Address.parse(address).canonical)

    def get(self, address: str) -> AddressRoute:
        """Return whom an address reaches.

        Raises:
            AddressInvalid: it could not reach anybody here.
            AddressNotFound: it reaches nobody.
        """
        route = self.find(address)
        if route is None:
            raise AddressNotFound(f"{address} reaches nobody here")
        return route

    def check_free(self, tenant_id: TenantId, text: str) -> Address:
        """Return the address if the tenant may have it and nobody has it yet.

        Raises:
            AddressInvalid: malformed, or with a +label, which everybody has for free.
            DomainNotFound: its domain is not the tenant's.
            NotPermitted: the domain is not verified yet.
            AddressTaken: somebody has it.
        """
        address = Address.parse(text)
        if address.label is not None:
            raise AddressInvalid("an address is created without +label; mail to every label of it arrives anyway")
        domain = self._directory.domains.find(tenant_id, address.domain)
        if domain is None:
            raise DomainNotFound(f"{display_domain(address.domain)} is not a domain of this tenant: add it first")
        if domain.verified_at is None:
            raise NotPermitted(f"{display_domain(address.domain)} is not verified yet")
        if self._directory.addresses.find(address.canonical) is not None:
            raise AddressTaken(f"{address.display} belongs to somebody already")
        return address

    def claim(self, tenant_id: TenantId, user_id: UserId, address: Address) -> AddressRoute:
        """Make an address reach a user; the unique index decides between two who claim at once.

        Raises:
            AddressTaken: somebody was faster.
        """
        route = AddressRoute(ObjectId(), tenant_id, user_id, address.display, address.canonical, now())
        if not self._directory.addresses.insert(route):
            raise AddressTaken(f"{address.display} belongs to somebody already")
        return route

    def create(self, actor: Actor, user_id: UserId, text: str) -> AddressRoute:
        """Give a user one more address.

        Raises:
            UserNotFound: there is no such user.
            AddressInvalid, DomainNotFound, NotPermitted, AddressTaken: as `check_free`.
        """
        user = self._directory.users.find(user_id)
        if user is None:
            raise UserNotFound(user_id)
        address = self.check_free(user.tenant_id, text)
        with self._audit.of_user(actor, "address.created", user_id, {"address": address.display}):
            return self.claim(user.tenant_id, user_id, address)

    def delete(self, actor: Actor, user_id: UserId, text: str) -> None:
        """Take an address from a user, except the main one; sessions that signed in with it end.

        Raises:
            AddressNotFound: the user has none such.
            NotPermitted: it is the main address.
        """
        canonical = Address.parse(text).canonical
        user = self._directory.users.find(user_id)
        if user is not None and Address.parse(user.address).canonical == canonical:
            raise NotPermitted("the main address cannot be taken away")
        if user is None:
            raise UserNotFound(user_id)
        with self._audit.of_user(actor, "address.deleted", user_id, {"address": canonical}):
            if not self._directory.addresses.delete(user_id, canonical):
                raise AddressNotFound(f"{text} is not an address of this user")
            self._directory.users.end_sessions(user_id)
        self._sessions.user_changed(user_id)

    def list_of_user(self, user_id: UserId) -> list[AddressRoute]:
        """Return the user's addresses in order of creation."""
        return self._directory.addresses.list_of_user(user_id)
