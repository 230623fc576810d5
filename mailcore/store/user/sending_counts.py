"""`sending_counts`: what became of the mail that users sent, by the hour, on the tenant's home shard.

A row is tenant ‖ hour (4 bytes, hours since 1970) ‖ user (28 bytes). It goes nine days after its last change.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from bson import ObjectId
from pymongo import UpdateOne
from pymongo.database import Database

from mailcore.model.ids import TenantId, UserId
from mailcore.model.reputation import TROUBLE, Counts, Fate
from mailcore.store.guard import Document, deadline
from mailcore.store.owned import OwnedCollection

KEY_BYTES: Final = 28
HOUR_S: Final = 3600
_SUMS: Final[Mapping[str, Any]] = {fate.value: {"$sum": f"${fate.value}"} for fate in Fate}

Row = tuple[TenantId, int, UserId]
"""Tenant, hour, user."""


class SendingCounts:
    """The counts of the tenants whose home is this shard."""

    def __init__(self, database: Database[Document]) -> None:
        self._collection = OwnedCollection(database["sending_counts"])
        self._of_everybody = self._collection.across_owners("who is in trouble is looked for among all tenants")

    def add(self, counted: Mapping[Row, Mapping[Fate, int]]) -> None:
        """Add to rows; one round trip."""
        requests = [
            UpdateOne(
                {"_id": _key(tenant_id, hour) + user_id.binary},
                {
                    "$inc": {fate.value: count for fate, count in counts.items()},
                    "$currentDate": {"at": True} | ({"trouble_at": True} if not TROUBLE.isdisjoint(counts) else {}),
                    "$setOnInsert": {"tenant": tenant_id, "user": user_id, "hour": hour},
                },
                upsert=True,
            )
            for (tenant_id, hour, user_id), counts in counted.items()
        ]
        with deadline():
            self._collection.bulk_write(requests, ordered=False)

    def by_user(self, tenant_id: TenantId, since: datetime) -> dict[UserId, Counts]:
        """Return the sums of each user of a tenant from that hour on; one round trip."""
        return {UserId(one["_id"]): Counts.of(one) for one in self._sums(tenant_id, since, "$user")}

    def by_hour(self, tenant_id: TenantId, since: datetime) -> list[tuple[datetime, Counts]]:
        """Return the sums of a tenant for each hour from that one on in which anything was counted, in order."""
        rows = self._sums(tenant_id, since, "$hour")
        found = [(datetime.fromtimestamp(one["_id"] * HOUR_S, UTC), Counts.of(one)) for one in rows]
        return sorted(found, key=lambda one: one[0])

    def troubled(self, since: datetime, after: TenantId | None, limit: int) -> list[TenantId]:
        """Return a page of the tenants of whose mail anything but success was counted since then; one round trip."""
        match: Document = {"trouble_at": {"$gte": since}}
        if after is not None:
            match["tenant"] = {"$gt": after}
        stages: list[Document] = [
            {"$match": match},
            {"$group": {"_id": "$tenant"}},
            {"$sort": {"_id": 1}},
            {"$limit": limit},
        ]
        with deadline(10.0):
            return [TenantId(one["_id"]) for one in self._of_everybody.aggregate(stages)]

    def of_tenants(self, tenant_ids: Sequence[TenantId], since: datetime) -> dict[tuple[TenantId, UserId], Counts]:
        """Return the sums of each user of several tenants from that hour on; one round trip."""
        if not tenant_ids:
            return {}
        stages: list[Document] = [
            {"$match": {"$or": [{"_id": _from(each, since)} for each in tenant_ids]}},
            {"$group": {"_id": {"tenant": "$tenant", "user": "$user"}, **_SUMS}},
        ]
        with deadline(10.0):
            rows = list(self._of_everybody.aggregate(stages))
        return {(TenantId(one["_id"]["tenant"]), UserId(one["_id"]["user"])): Counts.of(one) for one in rows}

    def _sums(self, tenant_id: TenantId, since: datetime, what: str) -> Iterable[Document]:
        with deadline(10.0):
            stages = [{"$match": {"_id": _from(tenant_id, since)}}, {"$group": {"_id": what, **_SUMS}}]
            return list(self._collection.aggregate(stages))


def hour_of(at: datetime) -> int:
    """Return the number of the hour that an instant lies in."""
    return int(at.timestamp()) // HOUR_S


def _key(tenant_id: ObjectId, hour: int) -> bytes:
    return tenant_id.binary + struct.pack(">I", hour)


def _from(tenant_id: ObjectId, since: datetime) -> dict[str, bytes]:
    rest = KEY_BYTES - len(tenant_id.binary)
    first = _key(tenant_id, hour_of(since)) + b"\0" * 12
    return {"$gte": first, "$lte": tenant_id.binary + b"\xff" * rest}
