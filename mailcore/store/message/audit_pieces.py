"""`audit_pieces`: whole copies of messages, which share nothing with the user's own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from bson import ObjectId
from pymongo.database import Database

from mailcore.model.ids import UserId
from mailcore.store.guard import Document, deadline
from mailcore.store.mailbox.packed import seal, unseal
from mailcore.store.owned import OwnedCollection

PAGE: Final = 8
"""Pieces in memory, each of a mebibyte or two."""
OID_AT: Final = 24
_FIRST: Final = b"\x00" * 4


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of a message; the first one says when it arrived."""

    arrived_at: datetime | None
    data: bytes


class AuditPieces:
    """Keys are user ‖ audit ‖ message ‖ number of the piece; a first piece says that all are there."""

    def __init__(self, database: Database[Document]) -> None:
        self._collection = OwnedCollection(database["audit_pieces"])

    def put(
        self,
        user_id: UserId,
        audit_id: ObjectId,
        message_oid: bytes,
        arrived_at: datetime,
        pieces: Iterable[bytes],
        expires_at: datetime,
    ) -> None:
        """Copy a message, its first piece last; what is there already stays."""
        start = user_id.binary + audit_id.binary + message_oid
        first: bytes | None = None
        for number, piece in enumerate(pieces):
            if number == 0:
                first = piece
            else:
                self._insert(start + number.to_bytes(4), {"data": seal(piece), "expires_at": expires_at})
        self._insert(start + _FIRST, {"data": seal(first or b""), "expires_at": expires_at, "arrived_at": arrived_at})

    def copied(self, user_id: UserId, audit_id: ObjectId) -> set[bytes]:
        """Return which messages are copied."""
        query = self._range(user_id, audit_id) | {"arrived_at": {"$exists": True}}
        with deadline(60):
            return {bytes(one["_id"])[OID_AT : OID_AT + 12] for one in self._collection.find(query, {"_id": 1})}

    def read(self, user_id: UserId, audit_id: ObjectId) -> Iterator[Piece]:
        """Yield the pieces of all messages in order, a few in memory at a time; what is half copied is left out."""
        query = self._range(user_id, audit_id)
        has_first = b""
        while True:
            with deadline(30):
                page = list(self._collection.find(query).sort("_id", 1).limit(PAGE))
            for document in page:
                key = bytes(document["_id"])
                if key.endswith(_FIRST):
                    has_first = key[:-4]
                if key[:-4] == has_first:
                    yield Piece(document.get("arrived_at"), unseal(document["data"]))
            if len(page) < PAGE:
                return
            query = {"_id": {"$gt": bytes(page[-1]["_id"]), "$lte": query["_id"]["$lte"]}}

    def _insert(self, key: bytes, content: Document) -> None:
        with deadline():
            self._collection.update_one({"_id": key}, {"$setOnInsert": content}, upsert=True)

    def _range(self, user_id: UserId, audit_id: ObjectId) -> Document:
        start = user_id.binary + audit_id.binary
        return {"_id": {"$gte": start + b"\x00" * 16, "$lte": start + b"\xff" * 16}}
