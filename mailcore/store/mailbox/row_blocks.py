"""Row blocks: payloads of log entries that do not fit into the log, written before the entry that names them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from pymongo.database import Database

from mailcore.model.ids import MailboxId, UserId
from mailcore.store import keys
from mailcore.store.guard import Document, OwnedCollection, deadline
from mailcore.store.mailbox.log_entry import LogEntry
from mailcore.store.mailbox.packed import seal, unseal

KEY_BYTES: Final = 32


class RowBlocks:
    """Row blocks of all mailboxes of a shard."""

    def __init__(self, database: Database[Document]) -> None:
        self._collection = OwnedCollection(database["row_blocks"])

    def insert(self, user_id: UserId, mailbox_id: MailboxId, block: bytes, payload: bytes) -> None:
        """Store a payload under an id of its own (majority)."""
        with deadline():
            self._collection.insert_one(
                {
                    "_id": keys.segment_key(user_id, mailbox_id, block),
                    "created_at": datetime.now(UTC),
                    "data": seal(payload),
                }
            )

    def resolve(self, user_id: UserId, mailbox_id: MailboxId, entries: Sequence[LogEntry]) -> list[LogEntry]:
        """Return the entries with their payloads; no round trip if all have them, else one.

        Raises:
            LookupError: a block is gone, because the entry was folded long ago.
        """
        blocks = [entry.block for entry in entries if entry.block is not None]
        if not blocks:
            return list(entries)
        wanted = [keys.segment_key(user_id, mailbox_id, block) for block in blocks]
        with deadline():
            cursor = self._collection.find({"_id": {"$in": wanted}}, {"data": 1}, batch_size=len(wanted) + 1)
            found = {bytes(document["_id"])[24:]: document["data"] for document in cursor}
        resolved = []
        for entry in entries:
            if entry.block is None:
                resolved.append(entry)
            elif entry.block in found:
                resolved.append(entry.with_payload(unseal(found[entry.block])))
            else:
                raise LookupError(entry.block.hex())
        return resolved

    def delete(self, user_id: UserId, mailbox_id: MailboxId, blocks: Sequence[bytes]) -> None:
        """Remove blocks."""
        if blocks:
            wanted = [keys.segment_key(user_id, mailbox_id, block) for block in blocks]
            with deadline():
                self._collection.delete_many({"_id": {"$in": wanted}})

    def list_blocks(self, user_id: UserId, mailbox_id: MailboxId) -> list[tuple[bytes, datetime]]:
        """Return the id and age of every block of a mailbox: for fsck."""
        owner = user_id.binary + mailbox_id.binary
        with deadline(30):
            return [
                (bytes(document["_id"])[24:], document["created_at"])
                for document in self._collection.find(
                    {"_id": keys.owner_range(owner, KEY_BYTES)}, {"created_at": 1}, batch_size=10_000
                )
            ]
