"""Lists of addresses and domain aliases for who looks after them; read only."""

from __future__ import annotations

from bson import ObjectId

from mailcore.errors import AddressInvalid, AddressNotFound
from mailcore.model.address import Address
from mailcore.model.address_data import AddressFilter
from mailcore.model.ids import TenantId
from mailcore.model.routing import Entry, ForwardedAddress, Group
from mailcore.model.tenant import AddressRoute, Domain
from mailcore.model.wildcard import is_wildcard
from mailcore.services.addresses.address_book import AddressBook
from mailcore.store.directory import Directory


class AddressListing:
    """Finds what stands behind addresses, whoever has them; the caller says of which tenant it may hear."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._book = AddressBook(directory)

    def find(
        self, wanted: AddressFilter, *, after: ObjectId | None, before: ObjectId | None, limit: int
    ) -> tuple[list[AddressRoute | ForwardedAddress], int]:
        """Return addresses by id after one, or before one, nearest first, and how many in all; two round trips."""
        found = self._directory.address_search.find(wanted, after=after, before=before, limit=limit)
        return found, self._directory.address_search.count(wanted)

    def get(self, text: str, *, by_wildcard: bool = False) -> AddressRoute | ForwardedAddress:
        """Return what an id or an address names; with `by_wildcard` also what covers the address.

        Raises:
            AddressNotFound: nothing, or a group.
        """
        entry = self._named(text, by_wildcard=by_wildcard)
        if entry is None or isinstance(entry, Group):
            raise AddressNotFound(text)
        return entry

    def _named(self, text: str, *, by_wildcard: bool) -> Entry | None:
        if ObjectId.is_valid(text):
            return self._directory.addresses.find_id(ObjectId(text))
        try:
            address = None if is_wildcard(text) else Address.parse(text)
        except AddressInvalid:
            return None
        if address is None:
            return None
        if by_wildcard:
            return self._book.look_up([address])[0].entry
        return self._directory.addresses.find_entry(address.canonical)

    def find_aliases(
        self, tenant_id: TenantId | None, query: str, *, after: ObjectId | None, before: ObjectId | None, limit: int
    ) -> tuple[list[Domain], int]:
        """Return domain aliases, of every tenant if none is named, and how many there are; two round trips."""
        domains = self._directory.domains
        found = domains.find_aliases(tenant_id, query, after=after, before=before, limit=limit)
        return found, domains.count_aliases(tenant_id, query)

    def find_alias(self, domain_id: ObjectId) -> Domain | None:
        """Return the alias of an id, None if there is none; one round trip."""
        found = self._directory.domains.find_id(domain_id)
        return found if found is not None and found.alias_of is not None else None

    def find_alias_named(self, name: str) -> Domain | None:
        """Return the alias of a name, A-labels, None if there is none; one round trip."""
        found = self._directory.domains.find_by_names([name]).get(name)
        return found if found is not None and found.alias_of is not None else None
