"""`rollups`: sums of what was counted for a tenant, by hour and by day, and what its mail takes, by day.

A row is tenant ‖ kind ‖ hour (17 bytes) on the tenant's home shard; of a day the hour it begins with. Up to where
counts were summed up on this shard stands in a row of the platform. The platform's own numbers lie in the directory.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import Enum
from typing import Final

from pymongo import ASCENDING, UpdateOne
from pymongo.database import Database

from mailcore.model.event import PLATFORM
from mailcore.model.ids import TenantId
from mailcore.model.tally import Counts, Stored, Sum, hour_of, start_of
from mailcore.store.guard import Document, deadline
from mailcore.store.keys import OWNER_BYTES
from mailcore.store.owned import OwnedCollection

_MARK: Final = b"m"


class Span(Enum):
    """What a sum is of."""

    HOUR = b"h"
    DAY = b"d"
    COUNTERS = b"c"
    """Of the platform: how far counters were when they were last looked at."""


_STORED: Final = b"s"


class Rollups:
    """The sums of the tenants whose home is this shard."""

    def __init__(self, database: Database[Document]) -> None:
        self._collection = OwnedCollection(database["rollups"])

    def put(self, tenant_id: TenantId, span: Span, sums: Sequence[tuple[int, Counts]], kept_for: timedelta) -> None:
        """Write sums, by the hour they begin with, in the place of what was there; one round trip."""
        requests = [
            UpdateOne(
                {"_id": _key(tenant_id, span.value, hour)},
                {"$set": {"counts": dict(counts), "expires_at": start_of(hour) + kept_for}},
                upsert=True,
            )
            for hour, counts in sums
        ]
        with deadline():
            self._collection.bulk_write(requests, ordered=False)

    def find(self, tenant_id: TenantId, span: Span, since: datetime) -> list[Sum]:
        """Return a tenant's sums since then, in the order of time; those of nothing are not there. One round trip."""
        with deadline():
            found = self._collection.find({"_id": _range(tenant_id, span.value, hour_of(since))})
            return [Sum(start_of(_hour(each)), each["counts"]) for each in found.sort("_id", ASCENDING)]

    def total(self, tenants: Sequence[TenantId], span: Span, hour: int) -> Counts:
        """Return the sum of these tenants' sums of one hour or day; one round trip."""
        summed: Counter[str] = Counter()
        with deadline():
            keys = [_key(tenant_id, span.value, hour) for tenant_id in tenants]
            for document in self._collection.find({"_id": {"$in": keys}}, {"counts": 1}):
                summed.update(document["counts"])
        return summed

    def put_stored(self, tenant_id: TenantId, stored: Stored, kept_for: timedelta) -> None:
        """Note what a tenant's mail takes, the last word of its day; one round trip."""
        fields = {
            "hot_bytes": stored.hot_bytes,
            "cold_bytes": stored.cold_bytes,
            "waiting": list(stored.waiting),
            "at": stored.at,
            "expires_at": stored.day + kept_for,
        }
        with deadline():
            self._collection.update_one(
                {"_id": _key(tenant_id, _STORED, hour_of(stored.day))}, {"$set": fields}, upsert=True
            )

    def find_stored(self, tenant_id: TenantId, since: datetime) -> list[Stored]:
        """Return what a tenant's mail took on each day since then that it was measured on; one round trip."""
        with deadline():
            found = self._collection.find({"_id": _range(tenant_id, _STORED, hour_of(since))})
            return [
                Stored(start_of(_hour(each)), each["hot_bytes"], each["cold_bytes"], tuple(each["waiting"]), each["at"])
                for each in found.sort("_id", ASCENDING)
            ]

    def mark(self) -> datetime | None:
        """Return up to which change counts are summed up; None: never were."""
        with deadline():
            found = self._collection.find_one({"_id": _key(PLATFORM, _MARK, 0)})
        return None if found is None else found["at"]

    def set_mark(self, at: datetime) -> None:
        """Note up to which change counts are summed up; it never goes back."""
        with deadline():
            self._collection.update_one({"_id": _key(PLATFORM, _MARK, 0)}, {"$max": {"at": at}}, upsert=True)


def _key(tenant_id: TenantId, kind: bytes, hour: int) -> bytes:
    return tenant_id.binary + kind + struct.pack(">I", hour)


def _range(tenant_id: TenantId, kind: bytes, first: int) -> dict[str, bytes]:
    return {"$gte": _key(tenant_id, kind, max(first, 0)), "$lte": _key(tenant_id, kind, 0xFFFFFFFF)}


def _hour(document: Document) -> int:
    return int.from_bytes(bytes(document["_id"])[OWNER_BYTES + 1 :])
