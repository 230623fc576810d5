"""`addresses`: whom mail for an address reaches; unique by canonical form."""

from __future__ import annotations

from collections.abc import Collection
from typing import TypeVar

from bson import ObjectId
from pymongo.database import Database
from pymongo.errors import DuplicateKeyError

from mailcore.model.ids import TenantId, UserId
from mailcore.model.routing import Entry, ForwardedAddress, Group
from mailcore.model.tenant import AddressRoute
from mailcore.store import direct
from mailcore.store.client import Document
from mailcore.store.directory.address_entries import GROUP, TARGETS, entry_content, entry_document, read_entry
from mailcore.store.guard import deadline
from mailcore.store.owned import OwnedCollection

PAGE = 1000
RESERVED = "is_reserved"
Onward = TypeVar("Onward", ForwardedAddress, Group)


class Addresses:
    """One document for each address, wildcard, forwarded address and group."""

    def __init__(self, directory: Database[Document]) -> None:
        self._collection = OwnedCollection(directory["addresses"], ("user", "tenant"), ObjectId)
        self._by_canonical = self._collection.across_owners("the address establishes the owner")

    def insert(self, entry: Entry) -> bool:
        """Store a new entry; False if its canonical form is taken, whoever has it."""
        try:
            with deadline():
                self._collection.insert_one(entry_document(entry))
        except DuplicateKeyError:
            return False
        return True

    def find(self, canonical: str) -> AddressRoute | None:
        """Return which user a canonical address reaches, or None; read from the primary with majority."""
        entry = self.find_entry(canonical)
        return entry if isinstance(entry, AddressRoute) else None

    def find_entry(self, canonical: str) -> Entry | None:
        """Return what stands behind a canonical address, or None; read from the primary with majority."""
        with deadline():
            document = direct.find_one(self._by_canonical, {"canonical": str(canonical)})
        return None if document is None else read_entry(document)

    def find_entries(self, canonicals: Collection[str]) -> dict[str, Entry]:
        """Return what stands behind canonical addresses, by them; one round trip, primary, majority."""
        wanted = [str(canonical) for canonical in canonicals]
        with deadline():
            found = direct.find_all(self._by_canonical, {"canonical": {"$in": wanted}}, None, len(wanted))
        return {document["canonical"]: read_entry(document) for document in found}

    def is_looked_like(self, canonical: str) -> bool:
        """Return whether there is an address that people would read as this one."""
        with deadline():
            return self._by_canonical.find_one({"looks_like": str(canonical)}, {"_id": 1}) is not None

    def list_of_user(self, user_id: UserId) -> list[AddressRoute]:
        """Return the user's addresses and wildcards in order of creation."""
        with deadline():
            entries = [read_entry(document) for document in self._collection.find({"user": user_id}).sort("_id", 1)]
        return [entry for entry in entries if isinstance(entry, AddressRoute)]

    def list_forwarded(self, tenant_id: TenantId, after: ObjectId | None = None) -> list[ForwardedAddress]:
        """Return a page of the tenant's forwarded addresses by id, those after `after`."""
        return [entry for entry in self._page(tenant_id, TARGETS, after) if isinstance(entry, ForwardedAddress)]

    def list_groups(self, tenant_id: TenantId, after: ObjectId | None = None) -> list[Group]:
        """Return a page of the tenant's groups by id, those after `after`."""
        return [entry for entry in self._page(tenant_id, GROUP, after) if isinstance(entry, Group)]

    def replace(self, entry: ForwardedAddress | Group) -> bool:
        """Change everything of an entry but its address; False if the tenant has none such of that kind."""
        kind = GROUP if isinstance(entry, Group) else TARGETS
        query = {"_id": entry.id, "tenant": entry.tenant_id, kind: {"$exists": True}}
        with deadline():
            return self._collection.update_one(query, {"$set": entry_content(entry)}).matched_count == 1

    def delete(self, user_id: UserId, canonical: str) -> bool:
        """Remove a user's address or wildcard; False if the user has none such."""
        with deadline():
            return self._collection.delete_one({"user": user_id, "canonical": canonical}).deleted_count == 1

    def set_reserved(self, user_id: UserId, *, reserved: bool) -> None:
        """Keep a deleted user's addresses from everybody else without listing them, or list them again."""
        change = {"$set": {RESERVED: True}} if reserved else {"$unset": {RESERVED: ""}}
        with deadline():
            self._collection.update_many({"user": user_id}, change)

    def delete_of_user(self, user_id: UserId) -> int:
        """Remove every address and wildcard of a user; return how many there were."""
        with deadline():
            return self._collection.delete_many({"user": user_id}).deleted_count

    def delete_entry(self, entry: ForwardedAddress | Group) -> bool:
        """Remove a forwarded address or a group; False if it was gone."""
        with deadline():
            query = {"_id": entry.id, "tenant": entry.tenant_id}
            return self._collection.delete_one(query).deleted_count == 1

    def _page(self, tenant_id: TenantId, kind: str, after: ObjectId | None) -> list[Entry]:
        query: Document = {"tenant": tenant_id, kind: {"$exists": True}}
        if after is not None:
            query["_id"] = {"$gt": after}
        with deadline():
            return [read_entry(document) for document in self._collection.find(query).sort("_id", 1).limit(PAGE)]
