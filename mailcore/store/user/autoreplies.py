"""`autoreplies`: what a user has answered, and who was answered when; on the user's shard.

The key of the settings is user ‖ 16 zero bytes. What is remembered is user ‖ 16 bytes of a hash, and goes by itself
when its time is over.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, fields
from datetime import datetime
from typing import Any, Final

from pymongo.database import Database
from pymongo.errors import DuplicateKeyError

from mailcore.model.autoreply import Autoreply
from mailcore.model.ids import UserId
from mailcore.store.guard import Document, deadline
from mailcore.store.owned import OwnedCollection

_HASH_BYTES: Final = 16
_SETTINGS: Final = bytes(_HASH_BYTES)
_FIELDS: Final = frozenset(each.name for each in fields(Autoreply))


class Autoreplies:
    """Automatic replies of all users of a shard."""

    def __init__(self, database: Database[Document]) -> None:
        self._collection = OwnedCollection(database["autoreplies"])

    # -- what is answered -----------------------------------------------------------------------

    def find(self, user_id: UserId) -> Autoreply | None:
        """Return what the user has answered, None if nothing was ever set up."""
        with deadline():
            found = self._collection.find_one({"_id": user_id.binary + _SETTINGS})
        if found is None:
            return None
        return Autoreply(**{name: value for name, value in found.items() if name in _FIELDS})

    def replace(self, user_id: UserId, autoreply: Autoreply) -> None:
        """Store what the user has answered from now on."""
        with deadline():
            self._collection.update_one({"_id": user_id.binary + _SETTINGS}, {"$set": asdict(autoreply)}, upsert=True)

    def delete(self, user_id: UserId) -> bool:
        """Forget what the user has answered; False if nothing was set up."""
        with deadline():
            return self._collection.delete_one({"_id": user_id.binary + _SETTINGS}).deleted_count == 1

    # -- what was done once ---------------------------------------------------------------------

    def claim(self, user_id: UserId, what: str, cause: bytes, moment: datetime, until: datetime) -> bool:
        """Take something that is done once until a time; False if it was done for another cause not long ago.

        The same cause may claim it again, for a repeat of what was cut off. One round trip: of those who come
        at once, on whatever server, one has it.
        """
        free: dict[str, Any] = {"$or": [{"until": {"$lte": moment}}, {"cause": cause}]}
        update = {"$set": {"until": until, "expires_at": until, "cause": cause}}
        try:
            with deadline():
                self._collection.update_one({"_id": memory_key(user_id, what)} | free, update, upsert=True)
        except DuplicateKeyError:
            return False
        return True

    def is_claimed(self, user_id: UserId, what: str, cause: bytes, moment: datetime) -> bool:
        """Return whether something was done not long ago, for another cause."""
        with deadline():
            found = self._collection.find_one({"_id": memory_key(user_id, what)}, {"until": 1, "cause": 1})
        return found is not None and found["until"] > moment and bytes(found["cause"]) != cause

    def remembered(self, user_id: UserId) -> int:
        """Return how much is remembered of a user."""
        bounds = {"$gt": user_id.binary + _SETTINGS, "$lte": user_id.binary + b"\xff" * _HASH_BYTES}
        with deadline():
            return self._collection.count_documents({"_id": bounds})


def memory_key(user_id: UserId, what: str) -> bytes:
    """Return the key of what is remembered."""
    return user_id.binary + hashlib.sha256(what.encode("utf-8", "surrogatepass")).digest()[:_HASH_BYTES]
