"""Change events: the entries a fold drops from a log, kept for the sequencer of the tenant's event stream."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from pymongo.database import Database
from pymongo.errors import BulkWriteError

from mailcore.model.ids import MailboxId, UserId
from mailcore.store import keys
from mailcore.store.guard import Document, deadline
from mailcore.store.owned import OwnedCollection

KEY_BYTES: Final = 36


@dataclass(frozen=True, slots=True)
class ChangeEvent:
    """One entry of a mailbox's log, with the UID its first row got (UIDNEXT if it added none)."""

    modseq: int
    entry: bytes
    first_uid: int


class ChangeEvents:
    """Events of all mailboxes of a shard under user ‖ mailbox ‖ MODSEQ: in log order, each once."""

    def __init__(self, database: Database[Document]) -> None:
        self._collection = OwnedCollection(database["events"])

    def insert(self, user_id: UserId, mailbox_id: MailboxId, events: Sequence[ChangeEvent], at: datetime) -> None:
        """Store events; what is there already stays."""
        if not events:
            return
        documents = [
            {
                "_id": keys.change_key(user_id, mailbox_id, event.modseq),
                "at": at,
                "entry": event.entry,
                "first_uid": event.first_uid,
            }
            for event in events
        ]
        try:
            with deadline():
                self._collection.store_many(documents)
        except BulkWriteError:
            return  # the guard lets only duplicates pass

    def of_mailbox(self, user_id: UserId, mailbox_id: MailboxId, after: int = 0) -> Iterator[ChangeEvent]:
        """Return the events of a mailbox after a MODSEQ, in order."""
        query = {
            "_id": {
                "$gt": keys.change_key(user_id, mailbox_id, after, 0xFFFFFFFF),
                "$lte": keys.change_key(user_id, mailbox_id, (1 << 64) - 1, 0xFFFFFFFF),
            }
        }
        with deadline(60):
            for document in self._collection.find(query, {"at": 0}, batch_size=1000).sort("_id"):
                modseq = struct.unpack_from(">Q", document["_id"], 24)[0]
                yield ChangeEvent(modseq, bytes(document["entry"]), document["first_uid"])
