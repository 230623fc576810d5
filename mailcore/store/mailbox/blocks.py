"""Blocks: caches of what the messages of one segment hold, for search and listing; may be deleted at any time."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import Final

from pymongo.database import Database

from mailcore.model.ids import MailboxId, UserId
from mailcore.store import keys
from mailcore.store.guard import Document, deadline
from mailcore.store.owned import OwnedCollection

KEY_BYTES: Final = 33


class BlockKind(IntEnum):
    """What a block holds."""

    TEXT = 1
    LISTING = 2
    """What SORT and THREAD compare."""
    SUMMARY = 3
    """What the API lists."""


class Blocks:
    """Blocks of all mailboxes of a shard.

    A block belongs to the `rows_id` of a segment, whose messages never change; it is stored as
    it is given (callers seal it) and must stay below 2 MB.
    """

    def __init__(self, database: Database[Document]) -> None:
        self._collection = OwnedCollection(database["blocks"])

    def get(self, user_id: UserId, mailbox_id: MailboxId, segment: bytes, kind: BlockKind) -> bytes | None:
        """Return one block, None if it was never made or is gone."""
        return self.get_many(user_id, mailbox_id, [segment], kind).get(segment)

    def get_many(
        self, user_id: UserId, mailbox_id: MailboxId, segments: Sequence[bytes], kind: BlockKind
    ) -> dict[bytes, bytes]:
        """Return the blocks there are of several segments: one round trip."""
        if not segments:
            return {}
        wanted = [_key(user_id, mailbox_id, segment, kind) for segment in segments]
        with deadline():
            found = self._collection.find_all({"_id": {"$in": wanted}}, most=len(wanted))
        return {bytes(document["_id"])[24:32]: bytes(document["data"]) for document in found}

    def put(self, user_id: UserId, mailbox_id: MailboxId, segment: bytes, kind: BlockKind, data: bytes) -> None:
        """Store a block, in place of the one that is there."""
        key = _key(user_id, mailbox_id, segment, kind)
        with deadline():
            self._collection.replace_one({"_id": key}, {"_id": key, "data": data}, upsert=True)

    def delete(self, user_id: UserId, mailbox_id: MailboxId, segments: Sequence[bytes]) -> None:
        """Remove every block of segments that are gone."""
        if segments:
            wanted = [_key(user_id, mailbox_id, segment, kind) for segment in segments for kind in BlockKind]
            with deadline():
                self._collection.delete_many({"_id": {"$in": wanted}})


def _key(user_id: UserId, mailbox_id: MailboxId, segment: bytes, kind: BlockKind) -> bytes:
    return keys.segment_key(user_id, mailbox_id, segment) + bytes((kind,))
