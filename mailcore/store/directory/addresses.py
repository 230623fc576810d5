"""`addresses`: whom mail for an address reaches; unique by canonical form."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import TypeVar

from bson import ObjectId
from pymongo import UpdateOne
from pymongo.database import Database
from pymongo.errors import BulkWriteError, DuplicateKeyError

from mailcore.model.ids import TenantId, UserId
from mailcore.model.routing import Entry, ForwardedAddress, Group
from mailcore.model.tenant import AddressRoute
from mailcore.store import direct
from mailcore.store.client import Document
from mailcore.store.directory.address_entries import (
    GROUP,
    RESERVED,
    TARGETS,
    entry_content,
    entry_document,
    read_entry,
)
from mailcore.store.guard import deadline
from mailcore.store.owned import OwnedCollection

PAGE = 1000
NAMES = ("display", "canonical", "looks_like")
_WITH_STAR = re.compile(r"\*")
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

    def has_domain(self, tenant_id: TenantId, domain: str) -> bool:
        """Whether the tenant has an address of that domain, A-labels; goes through the tenant's addresses at worst."""
        with deadline(30):
            names = self._collection.find({"tenant": tenant_id}, {"canonical": 1, "_id": 0})
            return any(document["canonical"].endswith(f"@{domain}") for document in names)

    def find_looking_like(self, canonical: str) -> Entry | None:
        """Return an entry whose address people would read as this one, or None."""
        with deadline():
            document = self._by_canonical.find_one({"looks_like": str(canonical)})
        return None if document is None else read_entry(document)

    def list_of_user(self, user_id: UserId) -> list[AddressRoute]:
        """Return the user's addresses and wildcards in order of creation."""
        with deadline():
            entries = [read_entry(document) for document in self._collection.find({"user": user_id}).sort("_id", 1)]
        return [entry for entry in entries if isinstance(entry, AddressRoute)]

    def find_id(self, entry_id: ObjectId) -> Entry | None:
        """Return the entry of an id, whoever has it; one round trip."""
        with deadline():
            document = self._by_canonical.find_one({"_id": entry_id})
        return None if document is None else read_entry(document)

    def replace_route(self, route: AddressRoute) -> bool | None:
        """Change everything of a user's address; None if it is gone, False if somebody has the new form of it."""
        document = entry_document(route)
        query = {"_id": route.id, "user": route.user_id}
        try:
            with deadline():
                return self._collection.replace_one(query, document).matched_count == 1 or None
        except DuplicateKeyError:
            return False

    def list_of_domain(self, tenant_id: TenantId, name: str) -> list[Entry]:
        """Return every entry of a tenant in a domain, A-labels, wildcards too; one pass over the tenant's."""
        query = {"tenant": tenant_id, "canonical": re.compile(re.escape(f"@{name}") + r"\Z")}
        with deadline(30):
            return [read_entry(document) for document in self._collection.find(query).sort("_id", 1)]

    def list_naming(self, tenant_id: TenantId, name: str) -> list[ForwardedAddress | Group]:
        """Return the tenant's forwarded addresses and groups whose mail goes on to a domain."""
        within = re.compile(re.escape(f"@{name}") + r"\Z", re.IGNORECASE)
        query = {"tenant": tenant_id, "$or": [{TARGETS: within}, {f"{GROUP}.members": within}]}
        with deadline(30):
            found = [read_entry(document) for document in self._collection.find(query)]
        return [entry for entry in found if isinstance(entry, ForwardedAddress | Group)]

    def rename(self, entries: Sequence[Entry]) -> bool:
        """Give entries the names that they carry here; False if somebody has one. A round trip for each 1000."""
        for start in range(0, len(entries), PAGE):
            requests = []
            for entry in entries[start : start + PAGE]:
                document = entry_document(entry)
                named = {name: document[name] for name in NAMES if name in document}
                update: Document = {"$set": named}
                if "looks_like" not in named:
                    update["$unset"] = {"looks_like": ""}
                requests.append(UpdateOne({"_id": entry.id, "tenant": entry.tenant_id}, update))
            try:
                with deadline(30):
                    self._collection.bulk_write(requests, ordered=False)
            except BulkWriteError:  # the guard lets only duplicates pass
                return False
        return True

    def list_wildcards(self, tenant_id: TenantId) -> list[AddressRoute]:
        """Return a page of the wildcards of a tenant's users, in order of creation."""
        query = {"tenant": tenant_id, "canonical": _WITH_STAR, "user": {"$exists": True}}
        with deadline():
            entries = [read_entry(found) for found in self._collection.find(query).sort("_id", 1).limit(PAGE)]
        return [entry for entry in entries if isinstance(entry, AddressRoute)]

    def list_forwarded(self, tenant_id: TenantId, after: ObjectId | None = None) -> list[ForwardedAddress]:
        """Return a page of the tenant's forwarded addresses by id, those after `after`."""
        return [entry for entry in self._page(tenant_id, TARGETS, after) if isinstance(entry, ForwardedAddress)]

    def list_groups(self, tenant_id: TenantId, after: ObjectId | None = None) -> list[Group]:
        """Return a page of the tenant's groups by id, those after `after`."""
        return [entry for entry in self._page(tenant_id, GROUP, after) if isinstance(entry, Group)]

    def list_moderated(self, tenant_id: TenantId, user_id: UserId) -> list[str]:
        """Return the canonical addresses of the tenant's groups that a user moderates; one round trip."""
        query = {"group.moderators": user_id, "tenant": tenant_id}
        with deadline():
            return [document["canonical"] for document in self._collection.find(query, {"canonical": 1})]

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

    def list_reserved(self, user_id: UserId) -> list[AddressRoute]:
        """Return a deleted user's addresses and wildcards that are kept from everybody else."""
        with deadline():
            found = [read_entry(document) for document in self._collection.find({"user": user_id, RESERVED: True})]
        return [entry for entry in found if isinstance(entry, AddressRoute)]

    def delete_reserved(self, user_id: UserId) -> None:
        """Remove a deleted user's addresses, unless it is being restored."""
        with deadline():
            self._collection.delete_many({"user": user_id, RESERVED: True})

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
