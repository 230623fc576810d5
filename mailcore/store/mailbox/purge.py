"""Purge: what is known of expunged messages, until retention lets them be destroyed or somebody restores them.

One document holds up to 1024 rows that one change expunged, packed like a segment: expunging
100,000 messages costs a hundred documents. A purge row is a candidate only; the collector
destroys a message when no mailbox refers to it any more.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import numpy as np
from bson import ObjectId
from pymongo import ASCENDING
from pymongo.database import Database
from pymongo.errors import BulkWriteError

from mailcore.model.changes import Cause
from mailcore.model.ids import MailboxId, MessageOid, UserId
from mailcore.store import keys
from mailcore.store.guard import Document, deadline
from mailcore.store.mailbox.columns import Columns
from mailcore.store.mailbox.packed import Array
from mailcore.store.mailbox.segments import SegmentRef, pack_flags_part, pack_rows_part, unpack_segment
from mailcore.store.mailbox.view import flag_names
from mailcore.store.owned import OwnedCollection

KEY_BYTES: Final = 36
PURGE_ROWS: Final = 1024
_PUT_BACK: Final = 1 << 30
"""In a block's number: its rows had been taken out to be destroyed, and were put back."""
_RESTORED: Final = 1 << 31
"""In a block's number: its rows are in a mailbox again, and named here only until they are due."""


@dataclass(frozen=True, slots=True)
class PurgeBlock:
    """Rows that one change expunged, with all that restoring them needs."""

    user_id: UserId
    mailbox_id: MailboxId
    modseq: int
    """Of the change that expunged them."""
    number: int
    """Place of the block's first row among the rows of the change."""
    path: str
    """Name of the mailbox when they were folded away."""
    uid_validity: int
    keywords: tuple[str, ...]
    cause: Cause
    expunged_at: datetime
    """By the database's clock."""
    rows: Columns
    """UIDs, flags and dates as they were when expunged."""
    revision: int = 0

    @property
    def key(self) -> bytes:
        """The document's key."""
        return keys.change_key(self.user_id, self.mailbox_id, self.modseq, self.number)

    @property
    def is_restored(self) -> bool:
        """Whether the rows were restored."""
        return self.number >= _RESTORED

    def flag_names(self, row: int) -> tuple[str, ...]:
        """Return the flags a row had, by name."""
        return flag_names(int(self.rows.flags[row]), self.keywords)

    def message_oid(self, row: int) -> MessageOid:
        """Return which message a row pointed at."""
        return MessageOid(self.rows.message_oids[row].tobytes())


class Purge:
    """Purge blocks of all users of a shard."""

    def __init__(self, database: Database[Document]) -> None:
        self._collection = OwnedCollection(database["purge"])

    def insert(self, user_id: UserId, blocks: Sequence[PurgeBlock]) -> None:
        """Store blocks; what is there already stays."""
        documents = [_document(block) for block in blocks if block.user_id == user_id]
        if not documents:
            return
        try:
            with deadline(30):
                self._collection.store_many(documents)
        except BulkWriteError:
            return  # the guard lets only duplicates pass: another fold of the same entries wrote them

    def of_user(self, user_id: UserId, since: datetime | None = None) -> Iterator[PurgeBlock]:
        """Return every block of a user, or those expunged at or after `since`, in key order."""
        query: dict[str, Any] = {"_id": keys.owner_range(user_id.binary, KEY_BYTES)}
        if since is not None:
            query["expunged_at"] = {"$gte": since}
        with deadline(60):
            for document in self._collection.find(query, batch_size=100):
                yield _block(document)

    def get(self, user_id: UserId, key: bytes) -> PurgeBlock | None:
        """Return one block of a user."""
        if not key.startswith(user_id.binary) or len(key) != KEY_BYTES:
            return None
        with deadline():
            found = self._collection.find_one({"_id": key})
        return _block(found) if found is not None else None

    def users_due(self, before: datetime, limit: int = 1000) -> list[UserId]:
        """Return users who have blocks expunged before an instant, those of the oldest first."""
        collection = self._collection.across_owners("the collector looks for work among all users")
        users: dict[UserId, None] = {}
        with deadline(30):
            for document in (
                collection.find({"expunged_at": {"$lt": before}}, {"_id": 1})
                .sort("expunged_at", ASCENDING)
                .limit(limit)
            ):
                users[UserId(ObjectId(bytes(document["_id"])[:12]))] = None
        return list(users)

    def keep_rows(self, block: PurgeBlock, keep: Array) -> bool:
        """Keep only some rows of a block (mask or indexes); none removes it.

        Returns False if somebody else changed it meanwhile: read it again.
        """
        rows = block.rows.take(keep)
        query = {"_id": block.key, "revision": block.revision}
        with deadline():
            if not len(rows):
                return bool(self._collection.delete_one(query).deleted_count)
            change = {"$set": _packed(rows), "$inc": {"revision": 1}}
            return bool(self._collection.update_one(query, change).matched_count)

    def touch(self, user_id: UserId, key: bytes) -> bool:
        """Make a block young again: what it names is about to be restored."""
        if not key.startswith(user_id.binary):
            return False
        with deadline():
            result = self._collection.update_one(
                {"_id": key}, {"$currentDate": {"expunged_at": True}, "$inc": {"revision": 1}}
            )
        return bool(result.matched_count)


def restored_number(block: PurgeBlock) -> int:
    """Return the number of the block that holds a block's rows once they are restored: no other has it."""
    return _RESTORED | _low_uid(block.rows)


def put_back_number(rows: Columns) -> int:
    """Return the number of the block that holds rows of a change once they are put back: no other has it."""
    return _PUT_BACK | _low_uid(rows)


def _low_uid(rows: Columns) -> int:
    """Return the bits of the first UID that go into a number; UIDs that high do not occur."""
    return int(rows.uids[0]) & (_PUT_BACK - 1)


def blocks_of(block: PurgeBlock, rows: Columns) -> Iterator[PurgeBlock]:
    """Return blocks like `block` that hold `rows`, each at most PURGE_ROWS."""
    for start in range(0, len(rows), PURGE_ROWS):
        yield PurgeBlock(
            block.user_id, block.mailbox_id, block.modseq, start, block.path, block.uid_validity, block.keywords,
            block.cause, block.expunged_at, rows.take(slice(start, start + PURGE_ROWS)),
        )  # fmt: skip


def _packed(rows: Columns) -> dict[str, Any]:
    return {
        "count": len(rows),
        "size_bytes": int(rows.sizes.sum(dtype=np.uint64)),
        "rows": pack_rows_part(rows),
        "flags": pack_flags_part(rows),
    }


def _document(block: PurgeBlock) -> Document:
    return {
        "_id": block.key,
        "path": block.path,
        "uid_validity": block.uid_validity,
        "keywords": list(block.keywords),
        "cause": block.cause.value,
        "expunged_at": block.expunged_at,
        "revision": block.revision,
    } | _packed(block.rows)


def _block(document: Document) -> PurgeBlock:
    key = bytes(document["_id"])
    modseq, number = struct.unpack_from(">QI", key, 24)
    ref = SegmentRef(b"", b"", document["count"], 0, 0)
    return PurgeBlock(
        UserId(ObjectId(key[:12])),
        MailboxId(ObjectId(key[12:24])),
        modseq,
        number,
        document["path"],
        document["uid_validity"],
        tuple(document["keywords"]),
        Cause(document["cause"]),
        document["expunged_at"],
        unpack_segment(ref, document["rows"], document["flags"]),
        document["revision"],
    )
