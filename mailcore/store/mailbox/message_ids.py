"""Message ids of answers: which thread a message belongs to whose own id does not name it.

Serves an answer that has In-Reply-To but no References: its parent's own id leads to the thread.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from pymongo.database import Database
from pymongo.errors import BulkWriteError

from mailcore.model.ids import ThreadId, UserId
from mailcore.store.guard import Document, deadline
from mailcore.store.owned import OwnedCollection

KEY_BYTES: Final = 20


class MessageIds:
    """user ‖ hash of a Message-ID -> thread, filled by the fold."""

    def __init__(self, database: Database[Document]) -> None:
        self._collection = OwnedCollection(database["message_ids"])

    def insert(self, user_id: UserId, threads: Mapping[int, int]) -> None:
        """Store threads by the hash of the message's own id; the first one stored stays."""
        if not threads:
            return
        documents = [
            {"_id": _key(user_id, own), "thread": thread.to_bytes(8, "big")} for own, thread in threads.items()
        ]
        try:
            with deadline():
                self._collection.store_many(documents)
        except BulkWriteError:
            return  # the guard lets only duplicates pass

    def find_threads(self, user_id: UserId, hashes: Sequence[int]) -> dict[int, ThreadId]:
        """Return the threads that are known, by the hash of a Message-ID: one round trip."""
        if not hashes:
            return {}
        wanted = [_key(user_id, own) for own in hashes]
        with deadline():
            found = self._collection.find_all({"_id": {"$in": wanted}}, most=len(wanted))
        return {
            int.from_bytes(document["_id"][12:], "big"): ThreadId(int.from_bytes(document["thread"], "big"))
            for document in found
        }


def _key(user_id: UserId, own: int) -> bytes:
    return user_id.binary + own.to_bytes(8, "big")
