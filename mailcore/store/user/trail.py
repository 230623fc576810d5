"""The trail: events of one database, announced before the change they tell of and numbered after it.

Three kinds of document share the collection `events`. A change of mail has the key user ‖ mailbox ‖
MODSEQ; a fold or the sequencer writes it, whoever is first. A change of anything else has the key
owner ‖ ObjectId. Either gets `tenant` and `number` from the sequencer: a unique index on the two is
what keeps two sequencers from giving one number twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from bson import ObjectId
from pymongo import DESCENDING, UpdateOne
from pymongo.database import Database
from pymongo.errors import BulkWriteError

from mailcore.model.event import Outcome
from mailcore.model.ids import TenantId, UserId
from mailcore.store.guard import Document, deadline
from mailcore.store.keys import OWNER_BYTES
from mailcore.store.owned import OwnedCollection

RECORD_KEY_BYTES: Final = 24
CHANGE_KEY_BYTES: Final = 36
UNSETTLED_AFTER_S: Final = 600
"""A change announced so long ago and never settled is told as one of unknown outcome."""
_NUMBERED: Final = {"$exists": True}
_NOT_NUMBERED: Final = {"$exists": False}


class AlreadyNumbered(Exception):
    """Another sequencer gave the event, or the number, away: this one's knowledge is outdated."""


@dataclass(frozen=True, slots=True)
class Numbering:
    """One event that gets its number, and what is stored with it if nobody stored it yet."""

    key: bytes
    tenant_id: TenantId
    number: int
    content: Document


class Trail:
    """Events of a shard, or of the directory."""

    def __init__(self, database: Database[Document]) -> None:
        self._collection = OwnedCollection(database["events"], ("_id", "tenant"))
        self._all = self._collection.across_owners("the sequencer numbers the events of every owner")

    # -- changes that are not of mail -------------------------------------------------------

    def announce(self, key: bytes, content: Document) -> None:
        """Store (majority) what is about to be changed; the database's clock gives the time."""
        update = {
            "$setOnInsert": content | {"outcome": Outcome.PENDING.value},
            "$currentDate": {"recorded_at": True, "waiting_since": True},
        }
        with deadline():
            self._collection.update_one({"_id": key}, update, upsert=True)

    def settle(self, key: bytes, outcome: Outcome, content: Document) -> bool:
        """Say how a change ended; False if it was told as unknown meanwhile."""
        query = {"_id": key, "outcome": Outcome.PENDING.value}
        with deadline():
            result = self._collection.update_one(query, {"$set": content | {"outcome": outcome.value}})
        return result.matched_count == 1

    def withdraw(self, key: bytes) -> bool:
        """Forget a change that was refused: nothing happened."""
        with deadline():
            result = self._collection.delete_one({"_id": key, "outcome": Outcome.PENDING.value})
        return result.deleted_count == 1

    def list_settled(self, limit: int) -> list[Document]:
        """Return changes without number that are settled, or were announced long ago, oldest first."""
        long_ago = {"$subtract": ["$$NOW", UNSETTLED_AFTER_S * 1000]}
        query = {
            "waiting_since": _NUMBERED,
            "$or": [
                {"outcome": {"$ne": Outcome.PENDING.value}},
                {"$expr": {"$lt": ["$waiting_since", long_ago]}},
            ],
        }
        with deadline():
            return list(self._all.find(query).sort("waiting_since", 1).limit(limit))

    # -- numbers ----------------------------------------------------------------------------

    def give_numbers(self, numberings: Sequence[Numbering]) -> None:
        """Store events with their numbers, in order, up to the first that somebody else has stored.

        Raises:
            AlreadyNumbered: one of them has a number, or the number an event; none after it was stored.
        """
        requests = [
            UpdateOne(
                {"_id": one.key, "number": _NOT_NUMBERED},
                {
                    "$set": one.content | {"tenant": one.tenant_id.binary, "number": one.number},
                    "$unset": {"waiting_since": ""},
                },
                upsert=True,
            )
            for one in numberings
        ]
        try:
            with deadline(30):
                self._collection.bulk_write(requests, ordered=True)
        except BulkWriteError as error:  # the guard lets only duplicates pass
            raise AlreadyNumbered from error

    def highest_number(self, tenant_id: TenantId) -> int:
        """Return the last number given to an event of a tenant that is still kept, 0 if none is."""
        query = {"tenant": tenant_id.binary, "number": {"$gt": 0}}
        with deadline():
            found = list(self._collection.find(query, {"number": 1}).sort("number", DESCENDING).limit(1))
        return int(found[0]["number"]) if found else 0

    def highest_modseq(self, mailbox_key: bytes) -> int:
        """Return the last numbered change of a mailbox that is still kept, 0 if none is."""
        bounds = {"$gte": mailbox_key + b"\x00" * 12, "$lte": mailbox_key + b"\xff" * 12}
        query = {"_id": bounds, "number": _NUMBERED}
        with deadline():
            found = list(self._collection.find(query, {"_id": 1}).sort("_id", DESCENDING).limit(1))
        return int.from_bytes(found[0]["_id"][24:32]) if found else 0

    def mailboxes_waiting(self) -> set[bytes]:
        """Return the mailboxes with changes that a fold wrote and nobody numbered; reads the whole collection."""
        query = {"number": _NOT_NUMBERED, "entry": {"$exists": True}}
        with deadline(600):
            return {bytes(document["_id"])[:24] for document in self._all.find(query, {"_id": 1})}

    # -- reading ----------------------------------------------------------------------------

    def after(self, tenant_id: TenantId, number: int, limit: int, *, only_records: bool = False) -> list[Document]:
        """Return a tenant's events after a number, in order; `only_records` leaves changes of mail out."""
        query: dict[str, Any] = {"tenant": tenant_id.binary, "number": {"$gt": number}}
        if only_records:
            query["outcome"] = {"$exists": True}
        with deadline(10):
            return list(self._collection.find(query).sort("number", 1).limit(limit))

    def of_user(self, tenant_id: TenantId, user_id: UserId, after: int, upto: int, limit: int) -> list[Document]:
        """Return the events of one of a tenant's users with numbers after one and up to another, in order."""
        query = {
            "tenant": tenant_id.binary,
            "number": {"$gt": after, "$lte": upto},
            "$or": [_range(user_id, CHANGE_KEY_BYTES), _range(user_id, RECORD_KEY_BYTES)],
        }
        with deadline(10):
            return list(self._collection.find(query).sort("number", 1).limit(limit).hint("number"))


def _range(user_id: UserId, size: int) -> dict[str, Any]:
    """Return a condition for a user's keys of one length: longer ones come after all shorter ones."""
    rest = size - OWNER_BYTES
    return {"_id": {"$gte": user_id.binary + b"\x00" * rest, "$lte": user_id.binary + b"\xff" * rest}}


def record_key(owner: ObjectId) -> bytes:
    """Return a new key for a change that is not of mail: owner ‖ ObjectId (24 bytes)."""
    return owner.binary + ObjectId().binary


def owner_of(key: bytes) -> ObjectId:
    """Return whom a key begins with."""
    return ObjectId(key[:OWNER_BYTES])


def instant(document: Document) -> datetime:
    """Return when an event happened, for information."""
    at: datetime = document.get("recorded_at") or document["at"]
    return at
