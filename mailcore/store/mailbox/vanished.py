"""Vanished UIDs by MODSEQ, for clients that resynchronise (QRESYNC, RFC 7162 §3.2)."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final

from pymongo import DESCENDING
from pymongo.database import Database
from pymongo.errors import BulkWriteError

from mailcore.model.ids import MailboxId, UserId
from mailcore.model.uid_set import UidSet
from mailcore.store import keys
from mailcore.store.guard import Document, deadline
from mailcore.store.mailbox.packed import pack_uids, seal, unpack_uids, unseal
from mailcore.store.owned import OwnedCollection

KEPT_CHANGES: Final = 1000
"""Changes of a mailbox whose vanished UIDs are kept; below, the complement of the live UIDs answers."""


class Vanished:
    """Vanished UIDs of all mailboxes of a shard, written by the fold."""

    def __init__(self, database: Database[Document]) -> None:
        self._collection = OwnedCollection(database["vanished"])

    def insert(self, user_id: UserId, mailbox_id: MailboxId, changes: Sequence[tuple[int, UidSet]]) -> None:
        """Store which UIDs went with which MODSEQ; what is there already stays."""
        if not changes:
            return
        documents = [
            {"_id": keys.change_key(user_id, mailbox_id, modseq), "uids": seal(pack_uids(uids))}
            for modseq, uids in changes
        ]
        try:
            with deadline():
                self._collection.store_many(documents)
        except BulkWriteError:
            return  # the guard lets only duplicates pass: another fold of the same entries wrote them

    def since(self, user_id: UserId, mailbox_id: MailboxId, modseq: int) -> UidSet:
        """Return the UIDs that went with a higher MODSEQ, as far as the fold has written them."""
        first = keys.change_key(user_id, mailbox_id, modseq, 0xFFFFFFFF)
        query = {"_id": {"$gt": first, "$lte": _last(user_id, mailbox_id)}}
        with deadline():
            sets = [
                unpack_uids(unseal(document["uids"]))
                for document in self._collection.find(query, {"uids": 1, "_id": 0}, batch_size=KEPT_CHANGES * 2)
            ]
        return UidSet.of_ranges(pair for uids in sets for pair in uids.ranges)

    def oldest_kept(self, user_id: UserId, mailbox_id: MailboxId) -> int:
        """Return the MODSEQ up to which changes are more than are kept; 0 if they are not."""
        owner = user_id.binary + mailbox_id.binary
        with deadline():
            found = list(
                self._collection.find({"_id": keys.owner_range(owner, 36)}, {"_id": 1})
                .sort("_id", DESCENDING)
                .skip(KEPT_CHANGES)
                .limit(1)
            )
        return int(struct.unpack_from(">Q", found[0]["_id"], 24)[0]) if found else 0

    def delete_until(self, user_id: UserId, mailbox_id: MailboxId, modseq: int) -> None:
        """Remove what went with this MODSEQ or a lower one."""
        first = keys.change_key(user_id, mailbox_id, 0)
        with deadline():
            self._collection.delete_many(
                {"_id": {"$gte": first, "$lte": keys.change_key(user_id, mailbox_id, modseq, 0xFFFFFFFF)}}
            )


def _last(user_id: UserId, mailbox_id: MailboxId) -> bytes:
    return keys.change_key(user_id, mailbox_id, (1 << 64) - 1, 0xFFFFFFFF)
