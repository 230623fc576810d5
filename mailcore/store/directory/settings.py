"""`settings`: what holds for the whole system; secrets among it are sealed."""

from __future__ import annotations

from pymongo import ReturnDocument
from pymongo.database import Database

from mailcore.store.client import Document
from mailcore.store.guard import deadline


class Settings:
    """One document for each setting, by its name."""

    def __init__(self, directory: Database[Document]) -> None:
        self._collection = directory["settings"]

    def find_sealed(self, name: str) -> bytes | None:
        """Return a sealed value, or None."""
        with deadline():
            document = self._collection.find_one({"_id": str(name)})
        return None if document is None else bytes(document["sealed"])

    def insert_sealed_once(self, name: str, sealed: bytes) -> bytes:
        """Store a sealed value unless there is one; return the one that is stored, whoever stored it."""
        with deadline():
            document = self._collection.find_one_and_update(
                {"_id": str(name)},
                {"$setOnInsert": {"sealed": sealed}},
                upsert=True,
                return_document=ReturnDocument.AFTER,
            )
        assert document is not None  # an upsert that returns what it left
        return bytes(document["sealed"])
