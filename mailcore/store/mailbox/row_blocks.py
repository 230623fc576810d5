"""Row blocks: payloads of log entries that do not fit into the log, written before the entry that names them."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from pymongo.database import Database

from mailcore.model.ids import MailboxId, UserId
from mailcore.store import keys
from mailcore.store.guard import Document, deadline
from mailcore.store.mailbox.log_entry import BLOCK_BYTES, LogEntry
from mailcore.store.mailbox.packed import seal, unseal
from mailcore.store.owned import OwnedCollection

KEY_BYTES: Final = 32
PIECE_BYTES: Final = 4 << 20


class RowBlocks:
    """Row blocks of all mailboxes of a shard."""

    def __init__(self, database: Database[Document]) -> None:
        self._collection = OwnedCollection(database["row_blocks"])

    def insert(self, user_id: UserId, mailbox_id: MailboxId, entry: LogEntry) -> LogEntry:
        """Store an entry's payload (majority), in pieces where it is very large; return the entry that names it."""
        named = replace(entry, payload=b"", block=secrets.token_bytes(BLOCK_BYTES - 2) + b"\x00\x00")
        now = datetime.now(UTC)
        for number, block in enumerate(pieces_of(named)):
            data = seal(entry.payload[number * PIECE_BYTES : (number + 1) * PIECE_BYTES])
            with deadline():
                self._collection.insert_one(
                    {"_id": keys.segment_key(user_id, mailbox_id, block), "created_at": now, "data": data}
                )
        return named

    def resolve(self, user_id: UserId, mailbox_id: MailboxId, entries: Sequence[LogEntry]) -> list[LogEntry]:
        """Return the entries with their payloads; no round trip if all have them, else usually one.

        Raises:
            LookupError: a block is gone, because the entry was folded long ago.
        """
        blocks = [block for entry in entries for block in pieces_of(entry)]
        if not blocks:
            return list(entries)
        wanted = [keys.segment_key(user_id, mailbox_id, block) for block in blocks]
        with deadline(30):
            blocks_found = self._collection.find_all({"_id": {"$in": wanted}}, {"data": 1}, most=len(wanted))
        found = {bytes(document["_id"])[24:]: document["data"] for document in blocks_found}
        if len(found) != len(blocks):
            raise LookupError(next(block for block in blocks if block not in found).hex())
        return [
            entry.with_payload(b"".join(unseal(found[block]) for block in pieces_of(entry)))
            if entry.block is not None
            else entry
            for entry in entries
        ]

    def delete(self, user_id: UserId, mailbox_id: MailboxId, blocks: Sequence[bytes]) -> None:
        """Remove blocks, all pieces given."""
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


def pieces_of(entry: LogEntry) -> list[bytes]:
    """Return the ids of all pieces of an entry's block: the block's id with the number of the piece at its end."""
    if entry.block is None:
        return []
    count = max(1, -(-entry.payload_bytes // PIECE_BYTES))
    return [entry.block[:-2] + number.to_bytes(2, "big") for number in range(count)]
