"""`files`: data that a user put aside to send, one document each; the content is a blob, named as messages do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from bson import ObjectId
from pymongo.database import Database

from mailcore.message.split import Cut
from mailcore.model.file import StoredFile
from mailcore.model.ids import UserId
from mailcore.store.guard import Document, deadline
from mailcore.store.keys import OWNER_BYTES, message_key, owner_range
from mailcore.store.message.skeleton import Splice, pack_splices, unpack_splices
from mailcore.store.owned import OwnedCollection

KEY_BYTES: Final = 24


class Files:
    """Files of all users of a shard."""

    def __init__(self, database: Database[Document]) -> None:
        self._collection = OwnedCollection(database["files"])

    def insert(self, user_id: UserId, file: StoredFile) -> None:
        """Store a file whose content is secured (majority)."""
        document = {
            "_id": file_key(user_id, file.id),
            "filename": file.filename,
            "content_type": file.content_type,
            "content_id": file.content_id,
            "size": file.size_bytes,
            "md5": file.md5,
            "created_at": file.created_at,
            "attempt": file.attempt,
            "splices": pack_splices([Splice(Cut(-1, 0, file.size_bytes), file.size_bytes, file.address)]),
        }
        with deadline():
            self._collection.insert_one(document)

    def find(self, user_id: UserId, file_ids: Sequence[ObjectId]) -> dict[ObjectId, StoredFile]:
        """Return those of these files that the user has, in one round trip."""
        if not file_ids:
            return {}
        keys = [file_key(user_id, file_id) for file_id in file_ids]
        with deadline():
            found = self._collection.find_all({"_id": {"$in": keys}}, most=len(keys))
        return {file.id: file for file in map(_file, found)}

    def list_of_user(self, user_id: UserId, most: int) -> list[StoredFile]:
        """Return a user's files, oldest first."""
        with deadline():
            query = {"_id": owner_range(user_id.binary, KEY_BYTES)}
            return [_file(found) for found in self._collection.find(query).sort("_id", 1).limit(most)]

    def use(self, user_id: UserId) -> tuple[int, int]:
        """Return how many files a user has, and their bytes together."""
        pipeline: list[dict[str, Any]] = [
            {"$match": {"_id": owner_range(user_id.binary, KEY_BYTES)}},
            {"$group": {"_id": None, "count": {"$sum": 1}, "size": {"$sum": "$size"}}},
        ]
        with deadline():
            groups = list(self._collection.aggregate(pipeline))
        return (int(groups[0]["count"]), int(groups[0]["size"])) if groups else (0, 0)

    def delete(self, user_id: UserId, file_id: ObjectId) -> StoredFile | None:
        """Remove a file and return it as it was; None if the user has none of this id."""
        with deadline():
            found = self._collection.find_one_and_delete({"_id": file_key(user_id, file_id)})
        return None if found is None else _file(found)

    def attempts(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """Return which attempt stored each of these files (`_id`s of any users)."""
        if not keys:
            return {}
        with deadline(10.0):
            found = self._collection.find({"_id": {"$in": list(keys)}}, {"attempt": 1}, batch_size=len(keys) + 1)
            return {document["_id"]: document["attempt"] for document in found}


def file_key(user_id: UserId, file_id: ObjectId) -> bytes:
    """Return user ‖ file (24 bytes)."""
    return message_key(user_id, file_id.binary)


def _file(document: Document) -> StoredFile:
    return StoredFile(
        id=ObjectId(bytes(document["_id"][OWNER_BYTES:])),
        filename=document["filename"],
        content_type=document["content_type"],
        content_id=document["content_id"],
        size_bytes=document["size"],
        md5=document["md5"],
        created_at=document["created_at"],
        address=unpack_splices(document["splices"])[0].address,
        attempt=bytes(document["attempt"]),
    )
