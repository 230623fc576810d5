"""Notes: what is kept of one copy of a message beside its flags: metadata and expiry (found through HAS_NOTE)."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from bson import ObjectId
from pymongo import ReplaceOne
from pymongo.database import Database

from mailcore.model.ids import MailboxId, UserId
from mailcore.store import keys
from mailcore.store.guard import Document, deadline
from mailcore.store.owned import OwnedCollection

KEY_BYTES: Final = 28


@dataclass(frozen=True, slots=True)
class Note:
    """What belongs to one copy of a message."""

    meta_data: bytes = b""
    """JSON as the API was given it."""
    expires_at: datetime | None = None
    composed: bytes = b""
    """JSON of what a message that was composed here refers to: see `services/outbound/composed.py`."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing is kept."""
        return self.meta_data in {b"", b"{}"} and self.expires_at is None and not self.composed


class Notes:
    """Notes of all mailboxes of a shard, one document for each copy that has one."""

    def __init__(self, database: Database[Document]) -> None:
        self._collection = OwnedCollection(database["notes"])

    def put(self, user_id: UserId, mailbox_id: MailboxId, notes: Mapping[int, Note]) -> None:
        """Store notes by UID, in place of those that are there."""
        if not notes:
            return
        requests = []
        for uid, note in notes.items():
            key = keys.copy_key(user_id, mailbox_id, uid)
            document = {"_id": key, "meta_data": note.meta_data, "expires_at": note.expires_at}
            if note.composed:
                document["composed"] = note.composed
            requests.append(ReplaceOne({"_id": key}, document, upsert=True))
        with deadline():
            self._collection.bulk_write(requests, ordered=False)

    def get(self, user_id: UserId, mailbox_id: MailboxId, uids: Sequence[int]) -> dict[int, Note]:
        """Return the notes there are, by UID."""
        if not uids:
            return {}
        wanted = [keys.copy_key(user_id, mailbox_id, uid) for uid in uids]
        with deadline():
            found = self._collection.find_all({"_id": {"$in": wanted}}, most=len(wanted))
        return {
            struct.unpack_from(">I", document["_id"], 24)[0]: Note(
                bytes(document["meta_data"]), document["expires_at"], bytes(document.get("composed", b""))
            )
            for document in found
        }

    def due(self, before: datetime, limit: int) -> dict[UserId, dict[MailboxId, list[int]]]:
        """Return the copies of every user of the shard that expire before an instant, as many as `limit`."""
        collection = self._collection.across_owners("what is expired is looked for among all users")
        found: dict[UserId, dict[MailboxId, list[int]]] = {}
        with deadline(60):
            for note in collection.find({"expires_at": {"$lte": before}}, {"_id": 1}).limit(limit):
                key = bytes(note["_id"])
                user_id, mailbox_id = UserId(ObjectId(key[:12])), MailboxId(ObjectId(key[12:24]))
                (uid,) = struct.unpack_from(">I", key, 24)
                found.setdefault(user_id, {}).setdefault(mailbox_id, []).append(uid)
        return found

    def copy(self, user_id: UserId, source: MailboxId, target: MailboxId, uids: Mapping[int, int]) -> None:
        """Give copies the notes of their originals; `uids` maps source UID to target UID."""
        notes = self.get(user_id, source, list(uids))
        self.put(user_id, target, {uids[uid]: note for uid, note in notes.items()})

    def delete(self, user_id: UserId, mailbox_id: MailboxId, uids: Sequence[int]) -> None:
        """Remove the notes of copies that are gone."""
        if uids:
            wanted = [keys.copy_key(user_id, mailbox_id, uid) for uid in uids]
            with deadline():
                self._collection.delete_many({"_id": {"$in": wanted}})
