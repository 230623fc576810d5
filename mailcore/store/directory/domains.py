"""`domains`: which tenant a mail domain belongs to."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

from bson import ObjectId
from pymongo.database import Database
from pymongo.errors import DuplicateKeyError

from mailcore.model.ids import TenantId
from mailcore.model.mta_sts import StsMode
from mailcore.model.tenant import Domain
from mailcore.store import direct
from mailcore.store.client import Document
from mailcore.store.directory.text_match import part
from mailcore.store.guard import deadline
from mailcore.store.owned import OwnedCollection


class Domains:
    """One document for each domain, unique by A-label name."""

    def __init__(self, directory: Database[Document]) -> None:
        self._collection = OwnedCollection(directory["domains"], "tenant", ObjectId)
        self._by_name = self._collection.across_owners("the name establishes the owner")

    def insert(self, domain: Domain) -> bool:
        """Store a new domain; False if it belongs to a tenant already."""
        try:
            with deadline():
                self._collection.insert_one(
                    {
                        "_id": domain.id,
                        "tenant": domain.tenant_id,
                        "name": domain.name,
                        "verified_at": domain.verified_at,
                        "created_at": domain.created_at,
                        "alias_of": domain.alias_of,
                    }
                )
        except DuplicateKeyError:
            return False
        return True

    def find(self, tenant_id: TenantId, name: str) -> Domain | None:
        """Return the tenant's domain of that A-label name, or None."""
        with deadline():
            document = self._collection.find_one({"tenant": tenant_id, "name": name})
        return None if document is None else _domain(document)

    def owner_of(self, name: str) -> TenantId | None:
        """Return whose domain that A-label name is, or None; one round trip."""
        with deadline():
            document = direct.find_one(self._by_name, {"name": str(name)})
        return None if document is None else TenantId(document["tenant"])

    def find_by_names(self, names: Collection[str]) -> dict[str, Domain]:
        """Return the domains of these A-label names, whoever has them, by name; one round trip, primary, majority."""
        wanted = [str(name) for name in names]
        with deadline():
            found = direct.find_all(self._by_name, {"name": {"$in": wanted}}, None, len(wanted))
        return {document["name"]: _domain(document) for document in found}

    def set_alias(self, tenant_id: TenantId, name: str, alias_of: str | None) -> bool:
        """Make a domain an alias of another, or none any more; False if the tenant has none such."""
        query = {"tenant": tenant_id, "name": name}
        with deadline():
            return self._collection.update_one(query, {"$set": {"alias_of": alias_of}}).matched_count == 1

    def set_verified(self, tenant_id: TenantId, name: str, at: datetime | None) -> bool:
        """Keep since when a domain is proven, None: it is not; False if the tenant has none such."""
        query = {"tenant": tenant_id, "name": name}
        with deadline():
            return self._collection.update_one(query, {"$set": {"verified_at": at}}).matched_count == 1

    def delete(self, tenant_id: TenantId, name: str) -> bool:
        """Remove a tenant's domain; False if it has none such."""
        with deadline():
            return self._collection.delete_one({"tenant": tenant_id, "name": name}).deleted_count == 1

    def delete_unverified(self, tenant_id: TenantId, name: str) -> bool:
        """Remove a tenant's domain unless it is proven meanwhile."""
        with deadline():
            query = {"tenant": tenant_id, "name": name, "verified_at": None}
            return self._collection.delete_one(query).deleted_count == 1

    def set_dkim_selectors(self, tenant_id: TenantId, name: str, selectors: Sequence[str]) -> bool:
        """Keep which selectors take turns; False if the tenant has none such."""
        query = {"tenant": tenant_id, "name": name}
        with deadline():
            changed = self._collection.update_one(query, {"$set": {"dkim_selectors": list(selectors)}})
            return changed.matched_count == 1

    def set_sts_mode(self, tenant_id: TenantId, name: str, mode: StsMode) -> bool:
        """Keep how strict the MTA-STS policy is; False if the tenant has no such domain."""
        query = {"tenant": tenant_id, "name": name}
        with deadline():
            return self._collection.update_one(query, {"$set": {"sts_mode": mode.value}}).matched_count == 1

    def list_aliases(self, tenant_id: TenantId) -> list[Domain]:
        """Return the tenant's domains that are aliases, in order of creation."""
        query = {"tenant": tenant_id, "alias_of": {"$exists": True, "$ne": None}}
        with deadline():
            return [_domain(document) for document in self._collection.find(query).sort("_id", 1)]

    def rename_aliases(self, tenant_id: TenantId, old: str, new: str) -> int:
        """Let what stood for one domain stand for another; return how many did."""
        query = {"tenant": tenant_id, "alias_of": old, "name": {"$ne": new}}
        with deadline():
            return int(self._collection.update_many(query, {"$set": {"alias_of": new}}).matched_count)

    def find_aliases(
        self, tenant_id: TenantId | None, query: str, *, after: ObjectId | None, before: ObjectId | None, limit: int
    ) -> list[Domain]:
        """Return aliases, of every tenant if none is named, by id after one or before one, the nearest first.

        Those whose name, or that of the domain they stand for, has `query` in it.
        """
        wanted = _aliases(tenant_id, query)
        if after is not None:
            wanted["_id"] = {"$gt": after}
        if before is not None:
            wanted["_id"] = {"$lt": before}
        found = self._by_name if tenant_id is None else self._collection
        with deadline():
            return [_domain(one) for one in found.find(wanted).sort("_id", 1 if before is None else -1).limit(limit)]

    def count_aliases(self, tenant_id: TenantId | None, query: str) -> int:
        """Return how many such aliases there are."""
        found = self._by_name if tenant_id is None else self._collection
        with deadline():
            return int(found.count_documents(_aliases(tenant_id, query)))

    def find_id(self, domain_id: ObjectId) -> Domain | None:
        """Return the domain of an id, whoever has it."""
        with deadline():
            document = self._by_name.find_one({"_id": domain_id})
        return None if document is None else _domain(document)

    def note_mx_check(self, tenant_id: TenantId, name: str, *, points_here: bool | None, at: datetime) -> bool:
        """Keep what the MX records said, None: nobody could say; False if the tenant has no such domain."""
        fields: Document = {"mx_looked_at": at}
        if points_here is not None:
            fields |= {"mx_checked_at": at, "mx_points_here": points_here}
        with deadline():
            return self._collection.update_one({"tenant": tenant_id, "name": name}, {"$set": fields}).matched_count == 1

    def list_mx_due(self, before: datetime, limit: int) -> list[Domain]:
        """Return verified domains of all tenants whose MX nobody looked at since `before`, the longest first."""
        not_since = {"$or": [{"mx_looked_at": None}, {"mx_looked_at": {"$lt": before}}]}
        query: Document = {"verified_at": {"$ne": None}, **not_since}
        with deadline(30):
            return [_domain(document) for document in self._by_name.find(query).sort("mx_looked_at", 1).limit(limit)]

    def list_of(self, tenant_id: TenantId) -> list[Domain]:
        """Return the tenant's domains in order of creation."""
        with deadline():
            return [_domain(document) for document in self._collection.find({"tenant": tenant_id}).sort("_id", 1)]


def _aliases(tenant_id: TenantId | None, query: str) -> Document:
    wanted: Document = {"alias_of": {"$exists": True, "$ne": None}}
    if tenant_id is not None:
        wanted["tenant"] = tenant_id
    if query:
        wanted["$or"] = [{"name": part(query)}, {"alias_of": part(query)}]
    return wanted


def _domain(document: Document) -> Domain:
    return Domain(
        id=document["_id"],
        tenant_id=TenantId(document["tenant"]),
        name=document["name"],
        verified_at=document["verified_at"],
        created_at=document["created_at"],
        alias_of=document.get("alias_of"),
        mx_checked_at=document.get("mx_checked_at"),
        mx_points_here=document.get("mx_points_here", False),
        dkim_selectors=tuple(document.get("dkim_selectors", ())),
        sts_mode=StsMode(document["sts_mode"]) if document.get("sts_mode") else None,
    )
