"""Stored messages: one document each, found by user and message id and nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from bson import ObjectId
from pymongo.database import Database
from pymongo.errors import BulkWriteError, DuplicateKeyError

from mailcore.store.direct import Ahead
from mailcore.store.guard import deadline
from mailcore.store.keys import OWNER_BYTES, message_key, owner_range
from mailcore.store.owned import OwnedCollection

Document = dict[str, Any]

MESSAGE_KEY_BYTES = 24
WRITE_BATCH_BYTES = 8 << 20
"""So much travels in one insert."""
ITEM_FIELDS = {"envelope": 1, "body_structure": 1, "light_headers": 1, "size": 1, "preview": 1, "items": 1}
"""What FETCH needs without the text of the message."""


class Messages:
    """The collection `messages` of a shard."""

    def __init__(self, database: Database[Document]) -> None:
        self._collection = OwnedCollection(database["messages"])

    def insert(self, documents: Sequence[Document]) -> set[bytes]:
        """Store messages (majority); one round trip for each 8 MiB, whatever users they belong to.

        Returns:
            The `_id`s that were there before, and are untouched.

        Raises:
            StoreUnavailable, StoreFull: what is stored nonetheless is garbage for the sweep.
        """
        present: set[bytes] = set()
        batch: list[Document] = []
        batch_bytes = 0
        for document in documents:
            size = len(document["skeleton"]) + len(document.get("body_structure", b"")) + 2048
            if batch and batch_bytes + size > WRITE_BATCH_BYTES:
                present |= self._insert_batch(batch)
                batch, batch_bytes = [], 0
            batch.append(document)
            batch_bytes += size
        if batch:
            present |= self._insert_batch(batch)
        return present

    def insert_ahead(self, document: Document) -> Ahead | None:
        """Store one message on the primary alone; the commit that names it next proves it to be the majority's.

        Returns:
            What to give to that commit; None if it is to be stored by `insert`, as after any fault.
        """
        with deadline(5.0):
            return self._collection.store_ahead(document)

    def find(
        self, user_id: ObjectId, message_oids: Sequence[bytes], fields: dict[str, int] | None = None
    ) -> dict[bytes, Document]:
        """Return the documents of a user's messages by message id, in one round trip; what is not there is left out."""
        keys = [message_key(user_id, oid) for oid in message_oids]
        if not keys:
            return {}
        with deadline(5.0):
            if len(keys) == 1:
                document = self._collection.find_one({"_id": keys[0]}, fields)
                return {} if document is None else {document["_id"][OWNER_BYTES:]: document}
            found = self._collection.find_all({"_id": {"$in": keys}}, fields, most=len(keys))
        return {document["_id"][OWNER_BYTES:]: document for document in found}

    def attempts(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """Return which attempt stored each of these messages (`_id`s of any users) that has references."""
        if not keys:
            return {}
        with deadline(10.0):
            found = self._collection.find({"_id": {"$in": list(keys)}}, {"attempt": 1}, batch_size=len(keys) + 1)
            return {document["_id"]: document["attempt"] for document in found if "attempt" in document}

    def stored_ids(self, user_id: ObjectId, limit: int = 10_000) -> Iterator[tuple[bytes, datetime]]:
        """Yield message id and time of storing of everything a user has stored, in key order."""
        key_range = owner_range(user_id.binary, MESSAGE_KEY_BYTES)
        while True:
            with deadline(30.0):
                page = list(self._collection.find({"_id": key_range}, {"stored_at": 1}, sort=[("_id", 1)], limit=limit))
            for document in page:
                yield document["_id"][OWNER_BYTES:], document["stored_at"]
            if len(page) < limit:
                return
            key_range = {"$gt": page[-1]["_id"], "$lte": key_range["$lte"]}

    def delete(self, user_id: ObjectId, message_oids: Sequence[bytes], stored_before: datetime) -> None:
        """Remove messages that were stored before an instant; a later one is another delivery under the same id."""
        keys = [message_key(user_id, oid) for oid in message_oids]
        with deadline(10.0):
            self._collection.delete_many({"_id": {"$in": keys}, "stored_at": {"$lte": stored_before}})

    def users(self) -> Iterator[ObjectId]:
        """Yield every user that has messages here: one look-up in the index for each."""
        collection = self._collection.across_owners("a sweep begins with the list of users")
        after = b"\x00" * MESSAGE_KEY_BYTES
        while True:
            with deadline(5.0):
                found = collection.find_one({"_id": {"$gt": after}}, {"_id": 1}, sort=[("_id", 1)])
            if found is None:
                return
            owner: bytes = found["_id"][:OWNER_BYTES]
            yield ObjectId(owner)
            after = owner + b"\xff" * (MESSAGE_KEY_BYTES - OWNER_BYTES)

    def _insert_batch(self, batch: list[Document]) -> set[bytes]:
        with deadline(5.0):
            try:
                if len(batch) == 1:
                    self._collection.store_one(batch[0])
                else:
                    self._collection.store_many(batch)
            except DuplicateKeyError:
                return {batch[0]["_id"]}
            except BulkWriteError as error:  # only duplicates get here
                return {batch[fault["index"]]["_id"] for fault in error.details["writeErrors"]}
        return set()
