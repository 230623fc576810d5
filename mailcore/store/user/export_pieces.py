"""`export_pieces`: files with all mail of a user, cut into pieces; on the cold set, and gone when they expire."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from bson import ObjectId
from pymongo.database import Database
from pymongo.errors import DuplicateKeyError

from mailcore.errors import StoreDamaged
from mailcore.model.ids import UserId
from mailcore.model.mail_export import MailExport
from mailcore.store.guard import Document, deadline
from mailcore.store.keys import owner_range
from mailcore.store.mailbox.packed import seal, unseal
from mailcore.store.owned import OwnedCollection

PAGE: Final = 4
"""Pieces in memory, each of a mebibyte or two."""
KEY_BYTES: Final = 32
_OFFSET_AT: Final = 24


class ExportPieces:
    """Keys are user ‖ export ‖ offset of the piece in the file (8 bytes): a range of the file is a range of keys."""

    def __init__(self, cold: Database[Document]) -> None:
        self._collection = OwnedCollection(cold["export_pieces"])

    def put(self, export: MailExport, offset: int, data: bytes, expires_at: datetime) -> bool:
        """Store a piece; False: somebody else stored one there."""
        key = piece_key(export.user_id, export.id, offset)
        document = {"_id": key, "data": seal(data), "expires_at": expires_at, "claim": export.claim}
        try:
            with deadline(30.0):
                self._collection.insert_one(document)
        except DuplicateKeyError:
            return False
        return True

    def read(self, user_id: UserId, export_id: ObjectId, start: int, end: int) -> Iterator[bytes]:
        """Yield a file from `start` to `end`, a few pieces in memory at a time; one round trip for each four.

        Raises:
            StoreDamaged: a piece is missing.
        """
        at = start
        key = self._first(user_id, export_id, start)
        while at < end:
            query = {"_id": {"$gte": key, "$lte": piece_key(user_id, export_id, end - 1)}}
            with deadline(30.0):
                page = list(self._collection.find(query).sort("_id", 1).limit(PAGE))
            for document in page:
                offset = int.from_bytes(document["_id"][_OFFSET_AT:])
                data = unseal(document["data"])
                if not offset <= at < offset + len(data):
                    raise StoreDamaged("a piece of an export is missing", at)
                yield data[at - offset : end - offset]
                at = min(offset + len(data), end)
            if not page:
                raise StoreDamaged("a piece of an export is missing", at)
            key = piece_key(user_id, export_id, at)

    def take_back(self, export: MailExport) -> None:
        """Remove what the holder of this claim stored behind what is noted to be written."""
        first, last = (piece_key(export.user_id, export.id, offset) for offset in (export.size_bytes, (1 << 64) - 1))
        with deadline(600.0):
            self._collection.delete_many({"_id": {"$gte": first, "$lte": last}, "claim": export.claim})

    def delete(self, user_id: UserId, export_id: ObjectId, start: int = 0) -> None:
        """Remove a file, or what of it is after `start`."""
        last = piece_key(user_id, export_id, (1 << 64) - 1)
        with deadline(600.0):
            self._collection.delete_many({"_id": {"$gte": piece_key(user_id, export_id, start), "$lte": last}})

    def delete_all(self, user_id: UserId) -> int:
        """Remove every file of a user; return how many pieces went."""
        with deadline(600.0):
            found = self._collection.delete_many({"_id": owner_range(user_id.binary, KEY_BYTES)})
        return int(found.deleted_count)

    def _first(self, user_id: UserId, export_id: ObjectId, start: int) -> bytes:
        """Return the key of the piece in which an offset lies."""
        query = {"_id": {"$gte": piece_key(user_id, export_id, 0), "$lte": piece_key(user_id, export_id, start)}}
        with deadline():
            found = list(self._collection.find(query, {"_id": 1}).sort("_id", -1).limit(1))
        if not found:
            raise StoreDamaged("a piece of an export is missing", start)
        return bytes(found[0]["_id"])


def piece_key(user_id: UserId, export_id: ObjectId, offset: int) -> bytes:
    """Return user ‖ export ‖ offset (32 bytes)."""
    return user_id.binary + export_id.binary + offset.to_bytes(8)
