"""`tallies`: what each process has counted for a tenant within an hour, on the tenant's home shard, for some days.

A row is tenant ‖ hour (16 bytes). Each process writes its own whole count under a tag of its own: to write it again
changes nothing, and nobody adds to what another has.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from bson import ObjectId
from pymongo import ASCENDING, UpdateOne
from pymongo.database import Database

from mailcore.model.ids import TenantId
from mailcore.model.tally import Counts, start_of
from mailcore.store.guard import Document, deadline
from mailcore.store.keys import OWNER_BYTES
from mailcore.store.owned import OwnedCollection

PAGE: Final = 1000
SCAN_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Tally:
    """What one process counted for a tenant in an hour."""

    tenant_id: TenantId
    hour: int
    tag: str
    """Letters and digits; whose count it is."""
    counts: Counts


@dataclass(frozen=True, slots=True)
class Changed:
    """An hour of a tenant in which something was counted; `at` by the database's clock."""

    tenant_id: TenantId
    hour: int
    at: datetime


class TallyRows:
    """The counts of the tenants whose home is this shard."""

    def __init__(self, database: Database[Document]) -> None:
        self._collection = OwnedCollection(database["tallies"])
        self._of_everybody = self._collection.across_owners("sums are made of every tenant's counts")

    def put(self, tallies: Sequence[Tally], kept_for: timedelta) -> None:
        """Write counts in the place of what the same tags had; one round trip."""
        requests = [
            UpdateOne(
                {"_id": _key(each.tenant_id, each.hour)},
                {
                    "$set": {
                        f"by.{each.tag}": dict(each.counts),
                        "expires_at": start_of(each.hour) + kept_for,
                    },
                    "$currentDate": {"changed_at": True},
                },
                upsert=True,
            )
            for each in tallies
        ]
        with deadline():
            self._collection.bulk_write(requests, ordered=False)

    def changed_since(self, since: datetime) -> Iterator[list[Changed]]:
        """Yield the hours that were counted in since then, whoever's, in the order of their last change, by pages."""
        query: Document = {"changed_at": {"$gte": since}}
        while True:
            with deadline(SCAN_S):
                found = self._of_everybody.find(query, {"changed_at": 1})
                page = list(found.sort([("changed_at", ASCENDING), ("_id", ASCENDING)]).limit(PAGE))
            if page:
                yield [_changed(each) for each in page]
            if len(page) < PAGE:
                return
            last = page[-1]
            later = {"changed_at": {"$gt": last["changed_at"]}}
            query = {"$or": [later, {"changed_at": last["changed_at"], "_id": {"$gt": last["_id"]}}]}

    def of_hours(self, tenant_id: TenantId, first: int, last: int) -> dict[int, Counter[str]]:
        """Return what all processes counted for a tenant in these hours, each that has something; one round trip."""
        query = {"_id": {"$gte": _key(tenant_id, first), "$lte": _key(tenant_id, last)}}
        summed: dict[int, Counter[str]] = {}
        with deadline():
            for document in self._collection.find(query):
                counts = summed.setdefault(_hour(document), Counter())
                for counted in document["by"].values():
                    counts.update(counted)
        return summed


def _key(tenant_id: TenantId, hour: int) -> bytes:
    return tenant_id.binary + struct.pack(">I", hour)


def _hour(document: Document) -> int:
    return int.from_bytes(bytes(document["_id"])[OWNER_BYTES:])


def _changed(document: dict[str, Any]) -> Changed:
    key = bytes(document["_id"])
    return Changed(TenantId(ObjectId(key[:OWNER_BYTES])), _hour(document), document["changed_at"])
