"""`audits`: whose mail is copied, from when to when, until when; the copies are on the user's shard."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from bson import ObjectId
from pymongo import ReturnDocument
from pymongo.database import Database

from mailcore.model.audit_case import AuditCase, AuditStatus
from mailcore.model.ids import TenantId, UserId
from mailcore.store.client import Document
from mailcore.store.guard import deadline
from mailcore.store.owned import OwnedCollection

_LONG_AGO: Final = datetime(1970, 1, 1, tzinfo=UTC)


class AuditCases:
    """One document for each audit, gone when it expires."""

    def __init__(self, directory: Database[Document]) -> None:
        self._collection = OwnedCollection(directory["audits"], "tenant", ObjectId)
        self._all = self._collection.across_owners("an id says whose it is, and a worker serves all")

    def insert(self, case: AuditCase) -> None:
        """Store a new one, due at once."""
        with deadline():
            self._collection.insert_one(
                {
                    "_id": case.id,
                    "tenant": case.tenant_id,
                    "user": case.user_id,
                    "shard": case.shard,
                    "start": case.start,
                    "end": case.end,
                    "expires_at": case.expires_at,
                    "notes": case.notes,
                    "meta": case.meta,
                    "status": case.status.value,
                    "copied": 0,
                    "failed": 0,
                    "last_message_at": None,
                    "next_at": _LONG_AGO,
                }
            )

    def find_id(self, case_id: ObjectId) -> AuditCase | None:
        """Return one by its id, whosever it is."""
        with deadline():
            found = self._all.find_one({"_id": ObjectId(case_id)})
        return None if found is None else _case(found)

    def claim_due(self, lease_s: int) -> AuditCase | None:
        """Take one of which something may be to copy, for so long, by the database's clock."""
        due = {"status": {"$ne": AuditStatus.IMPORTED.value}, "$expr": {"$lte": ["$next_at", "$$NOW"]}}
        lease = [{"$set": {"next_at": {"$add": ["$$NOW", lease_s * 1000]}}}]
        with deadline():
            found = self._all.find_one_and_update(due, lease, return_document=ReturnDocument.AFTER)
        return None if found is None else _case(found)

    def settle(
        self,
        case: AuditCase,
        status: AuditStatus,
        copied: int,
        failed: int,
        last_message_at: datetime | None,
        wait_s: int,
    ) -> None:
        """Note what is copied, and when to look again."""
        fields = {
            "status": status.value,
            "copied": copied,
            "failed": failed,
            "last_message_at": last_message_at,
            "next_at": {"$add": ["$$NOW", wait_s * 1000]},
        }
        with deadline():
            self._all.update_one({"_id": case.id}, [{"$set": fields}])


def _case(found: Document) -> AuditCase:
    return AuditCase(
        found["_id"],
        TenantId(found["tenant"]),
        UserId(found["user"]),
        found["shard"],
        found["start"],
        found["end"],
        found["expires_at"],
        found["notes"],
        found["meta"],
        AuditStatus(found["status"]),
        found["copied"],
        found["failed"],
        found["last_message_at"],
    )
