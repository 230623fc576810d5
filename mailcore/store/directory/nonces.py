"""`nonces`: what may be used once and not for long; kept as hashes, judged by the database's clock."""

from __future__ import annotations

import hashlib
from typing import Any

from bson import ObjectId
from pymongo import ReturnDocument
from pymongo.database import Database

from mailcore.model.ids import UserId
from mailcore.model.secret import Secret
from mailcore.store.client import Document
from mailcore.store.guard import deadline
from mailcore.store.owned import OwnedCollection


class Nonces:
    """One document for each nonce; it belongs to a user and to one purpose."""

    def __init__(self, directory: Database[Document]) -> None:
        self._collection = OwnedCollection(directory["nonces"], "user", ObjectId)

    def insert(self, user_id: UserId, purpose: str, nonce: Secret, seconds: int, content: dict[str, Any]) -> None:
        """Store a nonce that is good for `seconds`; one round trip."""
        expires_at = {"$add": ["$$NOW", seconds * 1000]}
        fields = {"purpose": purpose, "content": {"$literal": content}, "expires_at": expires_at}
        with deadline():
            self._collection.update_one({"_id": _key(nonce), "user": user_id}, [{"$set": fields}], upsert=True)

    def find(self, user_id: UserId, purpose: str, nonce: Secret) -> dict[str, Any] | None:
        """Return what was stored with a nonce that is still good, or None; one round trip."""
        stages = [{"$match": _query(user_id, purpose, nonce)}, *_STILL_GOOD]
        with deadline():
            return _content(next(iter(self._collection.aggregate(stages)), None))

    def consume(self, user_id: UserId, purpose: str, nonce: Secret) -> dict[str, Any] | None:
        """Return what was stored with a nonce and make it worthless; None if it is so already; one round trip.

        Of any number of callers on any number of nodes, one gets it.
        """
        used = [{"$set": {"is_good": {"$gt": ["$expires_at", "$$NOW"]}, "expires_at": "$$NOW", "purpose": ""}}]
        with deadline():
            document = self._collection.find_one_and_update(
                _query(user_id, purpose, nonce), used, return_document=ReturnDocument.AFTER
            )
        return _content(document) if document is not None and document["is_good"] else None

    def delete_of_user(self, user_id: UserId) -> None:
        """Make every nonce of a user worthless."""
        with deadline():
            self._collection.delete_many({"user": user_id})


_STILL_GOOD = [{"$match": {"$expr": {"$gt": ["$expires_at", "$$NOW"]}}}]


def _query(user_id: UserId, purpose: str, nonce: Secret) -> dict[str, Any]:
    return {"_id": _key(nonce), "user": user_id, "purpose": purpose}


def _key(nonce: Secret) -> bytes:
    return hashlib.sha256(nonce.reveal()).digest()


def _content(document: Document | None) -> dict[str, Any] | None:
    return None if document is None else dict(document["content"])
