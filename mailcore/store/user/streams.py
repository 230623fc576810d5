"""`streams`: how far the sequencer of a database has come, and which process is it.

One document for each tenant holds the last number given, one for each mailbox the last MODSEQ numbered, one
the lease. What they say may lag behind the events by one batch of a process that died: the numbers on the
events themselves count.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from bson import ObjectId
from pymongo import ReturnDocument, UpdateOne
from pymongo.database import Database

from mailcore.model.ids import TenantId
from mailcore.store.guard import Document, deadline
from mailcore.store.owned import OwnedCollection

LEASE_S: Final = 20
_LEASE_KEY: Final = b"lease"
_LONG_AGO: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to number the events of a database for a while."""

    resume_token: Document | None
    """Where the change stream was read to."""


class Streams:
    """The sequencer's state of one database."""

    def __init__(self, database: Database[Document]) -> None:
        self._collection = OwnedCollection(database["streams"])
        self._all = self._collection.across_owners("the lease belongs to no owner")

    # -- lease ------------------------------------------------------------------------------

    def take_lease(self, holder: ObjectId, resume_token: Document | None = None) -> Lease | None:
        """Take or prolong the lease by the database's clock; None while somebody else has it.

        With `resume_token` also note how far the change stream was read.
        """
        fields: dict[str, Any] = {"holder": holder, "until": {"$add": ["$$NOW", LEASE_S * 1000]}}
        if resume_token is not None:
            fields["token"] = {"$literal": resume_token}
        free = {"$or": [{"holder": holder}, {"$expr": {"$lt": ["$until", "$$NOW"]}}]}
        with deadline():
            self._all.update_one({"_id": _LEASE_KEY}, {"$setOnInsert": {"until": _LONG_AGO}}, upsert=True)
            found = self._all.find_one_and_update(
                {"_id": _LEASE_KEY} | free, [{"$set": fields}], return_document=ReturnDocument.AFTER
            )
        if found is None:
            return None
        return Lease(found.get("token"))

    def give_up_lease(self, holder: ObjectId) -> None:
        """Let another process go on at once."""
        with deadline():
            self._all.update_one({"_id": _LEASE_KEY, "holder": holder}, [{"$set": {"until": "$$NOW"}}])

    def forget_token(self) -> None:
        """Have the next holder look at every mailbox: the change stream cannot be resumed."""
        with deadline():
            self._all.update_one({"_id": _LEASE_KEY}, {"$unset": {"token": ""}})

    # -- progress ---------------------------------------------------------------------------

    def cursors(self, mailbox_keys: Sequence[bytes]) -> dict[bytes, int]:
        """Return the last MODSEQ noted as numbered, by mailbox; those never seen are missing."""
        if not mailbox_keys:
            return {}
        with deadline():
            found = list(self._collection.find({"_id": {"$in": list(mailbox_keys)}}))
        return {bytes(document["_id"]): document["modseq"] for document in found}

    def number(self, tenant_id: TenantId) -> int:
        """Return the last number noted as given to an event of a tenant."""
        with deadline():
            found = self._collection.find_one({"_id": tenant_id.binary})
        return int(found["number"]) if found is not None else 0

    def advance(self, cursors: Mapping[bytes, int], numbers: Mapping[TenantId, int]) -> None:
        """Note how far numbers were given; nothing ever goes back."""
        requests = [
            UpdateOne({"_id": key}, {"$max": {"modseq": modseq}}, upsert=True) for key, modseq in cursors.items()
        ] + [
            UpdateOne({"_id": tenant_id.binary}, {"$max": {"number": number}}, upsert=True)
            for tenant_id, number in numbers.items()
        ]
        if requests:
            with deadline(30):
                self._collection.bulk_write(requests, ordered=False)
