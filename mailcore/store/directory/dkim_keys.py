"""`dkim_keys`: the selectors of domains, private halves sealed and handed to the signer alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bson import ObjectId
from pymongo.database import Database
from pymongo.errors import DuplicateKeyError

from mailcore.model.dkim import DkimAlgorithm, DkimKey, DkimKeyState
from mailcore.model.ids import TenantId
from mailcore.store.client import Document
from mailcore.store.directory.text_match import part
from mailcore.store.guard import deadline
from mailcore.store.owned import OwnedCollection

_PUBLIC = {"sealed_key": 0}
PAGE = 1000


@dataclass(frozen=True, slots=True)
class SigningKey:
    """What signs: a selector and its private half as it was sealed."""

    id: ObjectId
    selector: str
    algorithm: DkimAlgorithm
    sealed_key: bytes


class DkimKeys:
    """One document for each selector of a domain."""

    def __init__(self, directory: Database[Document]) -> None:
        self._collection = OwnedCollection(directory["dkim_keys"], "tenant", ObjectId)
        self._all = self._collection.across_owners("the platform sees every tenant's keys, and an id says whose it is")

    def insert(self, key: DkimKey, sealed_key: bytes) -> bool:
        """Store a new key; False if the domain has that selector already."""
        try:
            with deadline():
                self._collection.insert_one(
                    {
                        "_id": key.id,
                        "tenant": key.tenant_id,
                        "domain_id": key.domain_id,
                        "domain": key.domain,
                        "selector": key.selector,
                        "algorithm": key.algorithm.value,
                        "state": key.state.value,
                        "public_key": key.public_key,
                        "sealed_key": sealed_key,
                        "description": key.description,
                        "created_at": key.created_at,
                        "published_at": key.published_at,
                        "changed_at": key.changed_at,
                    }
                )
        except DuplicateKeyError:
            return False
        return True

    def signing(self, tenant_id: TenantId, domain_id: ObjectId) -> list[SigningKey]:
        """Return the active keys made under a claim; one round trip."""
        query = {"tenant": tenant_id, "domain_id": domain_id, "state": DkimKeyState.ACTIVE.value}
        with deadline():
            return [
                SigningKey(one["_id"], one["selector"], DkimAlgorithm(one["algorithm"]), bytes(one["sealed_key"]))
                for one in self._collection.find(query).sort("_id", 1)
            ]

    def find(self, tenant_id: TenantId, key_id: ObjectId) -> DkimKey | None:
        """Return one of the tenant's keys, or None."""
        with deadline():
            document = self._collection.find_one({"tenant": tenant_id, "_id": key_id}, _PUBLIC)
        return None if document is None else _key(document)

    def list_of(self, tenant_id: TenantId, domain: str | None = None) -> list[DkimKey]:
        """Return up to 1000 of the tenant's keys, or those of one of its domains, in order of creation."""
        query: dict[str, Any] = {"tenant": tenant_id}
        if domain is not None:
            query["domain"] = str(domain)
        with deadline():
            return [_key(one) for one in self._collection.find(query, _PUBLIC).sort("_id", 1).limit(PAGE)]

    def find_id(self, key_id: ObjectId) -> DkimKey | None:
        """Return the key of an id, whosever it is, or None."""
        with deadline():
            document = self._all.find_one({"_id": ObjectId(key_id)}, _PUBLIC)
        return None if document is None else _key(document)

    def search(
        self, tenant_id: TenantId | None, query: str, *, after: ObjectId | None, before: ObjectId | None, limit: int
    ) -> list[DkimKey]:
        """Return keys, of every tenant if none is named, by id after one or before one, the nearest first.

        Those with `query` in their domain or description.
        """
        wanted = _matching(tenant_id, query)
        if after is not None:
            wanted["_id"] = {"$gt": after}
        if before is not None:
            wanted["_id"] = {"$lt": before}
        found = self._all if tenant_id is None else self._collection
        with deadline():
            cursor = found.find(wanted, _PUBLIC).sort("_id", 1 if before is None else -1).limit(limit)
            return [_key(one) for one in cursor]

    def count(self, tenant_id: TenantId | None, query: str) -> int:
        """Return how many such keys there are."""
        found = self._all if tenant_id is None else self._collection
        with deadline():
            return int(found.count_documents(_matching(tenant_id, query)))

    def note_published(self, tenant_id: TenantId, key_id: ObjectId, at: datetime | None) -> None:
        """Write down since when a key is seen in DNS; None: it is not."""
        with deadline():
            self._collection.update_one({"tenant": tenant_id, "_id": key_id}, {"$set": {"published_at": at}})

    def change_state(self, key: DkimKey, state: DkimKeyState, at: datetime) -> bool:
        """Move a key from the state it was read in to another; a retiring one loses its private half.

        False if somebody else moved it meanwhile.
        """
        change: dict[str, Any] = {"$set": {"state": state.value, "changed_at": at}}
        if state is DkimKeyState.RETIRING:
            change["$unset"] = {"sealed_key": ""}
        query = {"tenant": key.tenant_id, "_id": key.id, "state": key.state.value}
        with deadline():
            return self._collection.update_one(query, change).matched_count == 1

    def delete(self, tenant_id: TenantId, key_ids: Sequence[ObjectId]) -> int:
        """Remove keys; return how many there were."""
        with deadline():
            query = {"tenant": tenant_id, "_id": {"$in": list(key_ids)}}
            return self._collection.delete_many(query).deleted_count


def _matching(tenant_id: TenantId | None, query: str) -> dict[str, Any]:
    wanted: dict[str, Any] = {} if tenant_id is None else {"tenant": tenant_id}
    if query:
        wanted["$or"] = [{"domain": part(query)}, {"description": part(query)}]
    return wanted


def _key(document: Document) -> DkimKey:
    return DkimKey(
        id=document["_id"],
        tenant_id=TenantId(document["tenant"]),
        domain_id=document["domain_id"],
        domain=document["domain"],
        selector=document["selector"],
        algorithm=DkimAlgorithm(document["algorithm"]),
        state=DkimKeyState(document["state"]),
        public_key=document["public_key"],
        created_at=document["created_at"],
        description=document["description"],
        published_at=document["published_at"],
        changed_at=document["changed_at"],
    )
