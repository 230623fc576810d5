"""`api_requests`: requests that carry an Idempotency-Key, with what was answered; gone after a day."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from bson import ObjectId
from pymongo.database import Database
from pymongo.errors import DuplicateKeyError

from mailcore.store.client import Document
from mailcore.store.guard import deadline


@dataclass(frozen=True, slots=True)
class ApiRequest:
    """One request under a key.

    Attributes:
        digest: of everything that was asked; another request under the same key has another.
        answer: sealed; None while the request is under way, or where its process died.
    """

    digest: bytes
    began_at: datetime
    answer: bytes | None


class ApiRequests:
    """Keys are hashes made with the caller's token, so nobody finds the request of another."""

    def __init__(self, directory: Database[Document]) -> None:
        self._collection = directory["api_requests"]

    def begin(self, key: bytes, digest: bytes, token_id: ObjectId, at: datetime, expires_at: datetime) -> bool:
        """Note that a request is under way; False if its key was used before."""
        document = {
            "_id": bytes(key), "token": token_id, "digest": bytes(digest), "began_at": at, "expires_at": expires_at,
        }  # fmt: skip
        try:
            with deadline():
                self._collection.insert_one(document)
        except DuplicateKeyError:
            return False
        return True

    def find(self, key: bytes) -> ApiRequest | None:
        """Return the request of a key."""
        with deadline():
            found = self._collection.find_one({"_id": bytes(key)})
        if found is None:
            return None
        answer = found.get("answer")
        return ApiRequest(bytes(found["digest"]), found["began_at"], None if answer is None else bytes(answer))

    def take_over(self, key: bytes, began_at: datetime, at: datetime) -> bool:
        """Begin again what a process that died had begun then; False if somebody else was faster."""
        with deadline():
            changed = self._collection.update_one(
                {"_id": bytes(key), "began_at": began_at, "answer": None}, {"$set": {"began_at": at}}
            )
        return changed.modified_count == 1

    def finish(self, key: bytes, answer: bytes) -> None:
        """Keep what was answered."""
        with deadline():
            self._collection.update_one({"_id": bytes(key)}, {"$set": {"answer": bytes(answer)}})

    def withdraw(self, key: bytes) -> None:
        """Forget a request that changed nothing."""
        with deadline():
            self._collection.delete_one({"_id": bytes(key)})
