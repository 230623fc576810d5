"""`webhooks`: who is told of which events; secrets sealed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from bson import ObjectId
from pymongo import ReturnDocument
from pymongo.database import Database

from mailcore.model.ids import TenantId, UserId
from mailcore.model.webhook import Webhook
from mailcore.store.client import Document
from mailcore.store.guard import deadline
from mailcore.store.owned import OwnedCollection

_LONG_AGO: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Webhooks:
    """One document for each."""

    def __init__(self, directory: Database[Document]) -> None:
        self._collection = OwnedCollection(directory["webhooks"], "tenant", ObjectId)
        self._all = self._collection.across_owners("the platform sees all, and a worker serves all")

    def insert(self, hook: Webhook) -> None:
        """Store a new one, due at once."""
        with deadline():
            self._collection.insert_one(
                {
                    "_id": hook.id,
                    "tenant": hook.tenant_id,
                    "user": hook.user_id,
                    "types": list(hook.types),
                    "url": hook.url,
                    "sealed_secret": hook.sealed_secret,
                    "created_at": hook.created_at,
                    "cursors": dict(hook.cursors),
                    "failures": 0,
                    "dead_at": None,
                    "next_at": _LONG_AGO,
                }
            )

    def find_id(self, hook_id: ObjectId) -> Webhook | None:
        """Return one by its id, whosever it is."""
        with deadline():
            found = self._all.find_one({"_id": ObjectId(hook_id)})
        return None if found is None else _webhook(found)

    def search(
        self,
        tenant_id: TenantId | None,
        user_id: UserId | None,
        event_type: str,
        *,
        after: ObjectId | None,
        before: ObjectId | None,
        limit: int,
    ) -> list[Webhook]:
        """Return those of a tenant, or of all, nearest to an id first; of one user, with one type, where given."""
        wanted = _matching(tenant_id, user_id, event_type)
        if after is not None:
            wanted["_id"] = {"$gt": after}
        if before is not None:
            wanted["_id"] = {"$lt": before}
        found = self._all if tenant_id is None else self._collection
        with deadline():
            cursor = found.find(wanted).sort("_id", 1 if before is None else -1).limit(limit)
            return [_webhook(one) for one in cursor]

    def count(self, tenant_id: TenantId | None, user_id: UserId | None = None, event_type: str = "") -> int:
        """Return how many such there are."""
        found = self._all if tenant_id is None else self._collection
        with deadline():
            return int(found.count_documents(_matching(tenant_id, user_id, event_type)))

    def delete(self, tenant_id: TenantId, hook_id: ObjectId) -> bool:
        """Remove one; False if the tenant has none such."""
        with deadline():
            return self._collection.delete_one({"tenant": tenant_id, "_id": hook_id}).deleted_count == 1

    def claim_due(self, lease_s: int) -> Webhook | None:
        """Take one whose time has come, for so long, by the database's clock; None if none is due."""
        due = {"dead_at": None, "$expr": {"$lte": ["$next_at", "$$NOW"]}}
        lease = [{"$set": {"next_at": {"$add": ["$$NOW", lease_s * 1000]}}}]
        with deadline():
            found = self._all.find_one_and_update(
                due, lease, sort=[("next_at", 1)], return_document=ReturnDocument.AFTER
            )
        return None if found is None else _webhook(found)

    def advance(self, hook: Webhook, cursors: Mapping[str, str]) -> None:
        """Note up to where the streams were delivered."""
        if cursors:
            fields = {f"cursors.{tenant}": cursor for tenant, cursor in cursors.items()}
            with deadline():
                self._collection.update_one({"tenant": hook.tenant_id, "_id": hook.id}, {"$set": fields})

    def settle(self, hook: Webhook, failures: int, wait_s: float, dead_at: datetime | None) -> None:
        """Say when it is due next, or that it is given up."""
        update = [
            {
                "$set": {
                    "failures": failures,
                    "dead_at": {"$literal": dead_at},
                    "next_at": {"$add": ["$$NOW", int(wait_s * 1000)]},
                }
            }
        ]
        with deadline():
            self._all.update_one({"_id": hook.id}, update)


def _matching(tenant_id: TenantId | None, user_id: UserId | None, event_type: str) -> dict[str, Any]:
    wanted: dict[str, Any] = {} if tenant_id is None else {"tenant": tenant_id}
    if user_id is not None:
        wanted["user"] = user_id
    if event_type:
        wanted["types"] = str(event_type)
    return wanted


def _webhook(found: Document) -> Webhook:
    return Webhook(
        found["_id"],
        TenantId(found["tenant"]),
        UserId(found["user"]) if found["user"] is not None else None,
        tuple(found["types"]),
        found["url"],
        bytes(found["sealed_secret"]),
        found["created_at"],
        found["cursors"],
        found["failures"],
        found["dead_at"],
    )
