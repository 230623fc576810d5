"""`domain_access`: domains of senders that a tenant, or the platform, allows or blocks for users with a tag."""

from __future__ import annotations

from bson import ObjectId
from pymongo import ReturnDocument
from pymongo.database import Database

from mailcore.model.filter import ListedDomain, Verdict
from mailcore.model.ids import TenantId
from mailcore.store.client import Document
from mailcore.store.guard import deadline
from mailcore.store.owned import OwnedCollection


class DomainAccess:
    """One document for each tag and domain; the later word counts."""

    def __init__(self, directory: Database[Document]) -> None:
        self._collection = OwnedCollection(directory["domain_access"], "tenant", ObjectId)

    def put(self, tenant_id: TenantId, listed: ListedDomain) -> ListedDomain:
        """List a domain, or change what its entry says; return the entry, whose id stays."""
        key = {"tenant": tenant_id, "tag": listed.tag, "domain": listed.domain}
        update = {"$set": {"verdict": listed.verdict.value}, "$setOnInsert": {"_id": listed.id}}
        with deadline():
            stored = self._collection.find_one_and_update(
                key, update, upsert=True, return_document=ReturnDocument.AFTER
            )
        assert stored is not None
        return _listed(stored)

    def list_of(self, tenant_id: TenantId, tag: str, verdict: Verdict, most: int) -> list[ListedDomain]:
        """Return one list, by domain."""
        query = {"tenant": tenant_id, "tag": tag, "verdict": verdict.value}
        with deadline():
            return [_listed(found) for found in self._collection.find(query).sort("domain", 1).limit(most)]

    def list_all(self, tenant_id: TenantId, most: int) -> list[ListedDomain]:
        """Return every list of a tenant; one round trip."""
        with deadline():
            return [_listed(found) for found in self._collection.find_all({"tenant": tenant_id}, most=most)]

    def count(self, tenant_id: TenantId) -> int:
        """Return how many entries a tenant has."""
        with deadline():
            return self._collection.count_documents({"tenant": tenant_id})

    def delete(self, tenant_id: TenantId, entry_id: ObjectId) -> ListedDomain | None:
        """Remove an entry and return it; None if the tenant has none such."""
        with deadline():
            found = self._collection.find_one_and_delete({"tenant": tenant_id, "_id": entry_id})
        return None if found is None else _listed(found)


def _listed(found: Document) -> ListedDomain:
    return ListedDomain(found["_id"], found["tag"], Verdict(found["verdict"]), found["domain"])
