"""`mail_exports`: the file with all mail that a user asked for last, one document each; its pieces are on the shard."""

from __future__ import annotations

from datetime import datetime

from bson import ObjectId
from pymongo import ReturnDocument
from pymongo.database import Database
from pymongo.errors import DuplicateKeyError

from mailcore.model.ids import MailboxId, TenantId, UserId
from mailcore.model.mail_export import ExportedMailbox, ExportState, MailExport, Place
from mailcore.store.client import Document
from mailcore.store.guard import deadline
from mailcore.store.keys import user_key
from mailcore.store.owned import OwnedCollection


class MailExports:
    """Keys are users: another request takes the place of the last."""

    def __init__(self, directory: Database[Document]) -> None:
        self._collection = OwnedCollection(directory["mail_exports"])
        self._all = self._collection.across_owners("a worker serves all")

    def begin(self, export: MailExport) -> bool:
        """Put a new one in the place of one that is over; False: one is being made."""
        document = {
            "_id": user_key(export.user_id),
            "tenant": export.tenant_id,
            "export": export.id,
            "state": export.state.value,
            "asked_at": export.asked_at,
            "expires_at": export.expires_at,
            "next_at": export.asked_at,
            **_progress(export),
            "expected": 0,
            "mailboxes": [],
            "tries": 0,
            "claim": None,
        }
        idle = {"_id": user_key(export.user_id), "state": {"$ne": ExportState.MAKING.value}}
        try:
            with deadline():
                self._collection.replace_one(idle, document, upsert=True)
        except DuplicateKeyError:
            return False
        return True

    def find(self, user_id: UserId) -> MailExport | None:
        """Return a user's latest, expired or not."""
        with deadline():
            found = self._collection.find_one({"_id": user_key(user_id)})
        return None if found is None else _export(found)

    def claim_due(self, lease_s: int) -> MailExport | None:
        """Take one with which something is to do, for so long, by the database's clock."""
        due = {"$expr": {"$lte": ["$next_at", "$$NOW"]}}
        taken = {
            "next_at": {"$add": ["$$NOW", lease_s * 1000]},
            "claim": ObjectId(),
            "tries": {"$add": ["$tries", 1]},
        }
        with deadline():
            found = self._all.find_one_and_update(due, [{"$set": taken}], return_document=ReturnDocument.AFTER)
        return None if found is None else _export(found)

    def plan(self, export: MailExport) -> bool:
        """Note what will be written; False: another has claimed it."""
        mailboxes = [{"id": one.id, "folder": one.folder, "uid_next": one.uid_next} for one in export.mailboxes]
        with deadline():
            changes = {"$set": {"mailboxes": mailboxes, "expected": export.expected_bytes}}
            return self._collection.update_one(_claimed(export), changes).matched_count == 1

    def advance(self, export: MailExport, lease_s: int) -> bool:
        """Note how much is written, and go on holding it; False: another has claimed it."""
        changes = {**_progress(export), "tries": 0, "next_at": {"$add": ["$$NOW", lease_s * 1000]}}
        with deadline():
            return self._collection.update_one(_claimed(export), [{"$set": changes}]).matched_count == 1

    def settle(self, export: MailExport, next_at: datetime) -> bool:
        """Let go of it in the state it is in, until there is something to do again; False: another has claimed it."""
        changes = {
            **_progress(export),
            "state": export.state.value,
            "expires_at": export.expires_at,
            "next_at": next_at,
            "claim": None,
        }
        with deadline():
            return self._collection.update_one(_claimed(export), {"$set": changes}).matched_count == 1

    def delete(self, export: MailExport) -> bool:
        """Forget it, unless another has taken its place."""
        with deadline():
            query = {"_id": user_key(export.user_id), "export": export.id}
            return self._collection.delete_one(query).deleted_count == 1

    def delete_of_user(self, user_id: UserId) -> None:
        """Forget a user's, whatever it is."""
        with deadline():
            self._collection.delete_one({"_id": user_key(user_id)})


def _claimed(export: MailExport) -> Document:
    return {"_id": user_key(export.user_id), "export": export.id, "claim": export.claim}


def _progress(export: MailExport) -> Document:
    return {
        "place": [export.place.mailbox, export.place.uid],
        "size": export.size_bytes,
        "messages": export.messages,
        "damaged": export.damaged,
    }


def _export(found: Document) -> MailExport:
    return MailExport(
        user_id=UserId(ObjectId(bytes(found["_id"]))),
        tenant_id=TenantId(found["tenant"]),
        id=found["export"],
        state=ExportState(found["state"]),
        asked_at=found["asked_at"],
        expires_at=found["expires_at"],
        expected_bytes=found["expected"],
        mailboxes=tuple(
            ExportedMailbox(MailboxId(one["id"]), one["folder"], one["uid_next"]) for one in found["mailboxes"]
        ),
        place=Place(*found["place"]),
        size_bytes=found["size"],
        messages=found["messages"],
        damaged=found["damaged"],
        tries=found["tries"],
        claim=found["claim"],
    )
