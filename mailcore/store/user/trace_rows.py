"""`trace`: what became of messages, for the tenants whose they are; kept for a while on the tenant's home shard.

A row is tenant ‖ time-ordered id (24 bytes). Everything that it may be found by stands in `keys`, hashed to eight bytes
behind the tenant, so that one index serves every search.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from bson import ObjectId
from pymongo import DESCENDING
from pymongo.database import Database
from pymongo.errors import BulkWriteError

from mailcore.model.ids import TenantId
from mailcore.store.guard import Document, deadline
from mailcore.store.keys import owner_range
from mailcore.store.owned import OwnedCollection

KEY_BYTES: Final = 24
NOTED_WITHIN: Final = timedelta(minutes=10)
"""Of what it tells, a row is noted at the latest; then it has its id."""


class TraceRows:
    """The trace of the tenants whose home is this shard."""

    def __init__(self, database: Database[Document]) -> None:
        self._collection = OwnedCollection(database["trace"])

    def add(self, documents: Sequence[Document]) -> None:
        """Store rows; one round trip."""
        with deadline():
            try:
                self._collection.store_many(documents)
            except BulkWriteError:
                pass  # only duplicates get here: sent twice after a lost answer

    def find(
        self,
        tenant_id: TenantId,
        keys: Sequence[bytes],
        limit: int,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        before: bytes = b"",
    ) -> list[Document]:
        """Return a tenant's rows that have every one of these keys, latest first; one round trip.

        Only those of at least `since`, earlier than `until`, and whose id comes before the twelve bytes of another's.
        """
        bounds = owner_range(tenant_id.binary, KEY_BYTES)
        if since is not None:  # a row is given its id when it is noted, never before what it tells
            bounds["$gte"] = tenant_id.binary + ObjectId.from_datetime(since).binary
        last = [tenant_id.binary + before] if before else []
        if until is not None:
            last.append(tenant_id.binary + ObjectId.from_datetime(until + NOTED_WITHIN).binary)
        if last:
            del bounds["$lte"]
            bounds["$lt"] = min(last)
        query: dict[str, Any] = {"_id": bounds}
        if keys:
            query["keys"] = {"$all": list(keys)}
        if since is not None or until is not None:
            ends = {"$gte": since, "$lt": until}
            query["at"] = {name: value for name, value in ends.items() if value is not None}
        with deadline():
            return list(self._collection.find(query).sort("_id", DESCENDING).limit(limit))

    def count(self, tenant_id: TenantId, step: str, since: datetime) -> int:
        """Return how many rows of a step a tenant has since then; one round trip, over the rows of that time."""
        bounds = owner_range(tenant_id.binary, KEY_BYTES)
        bounds["$gte"] = tenant_id.binary + ObjectId.from_datetime(since).binary
        with deadline():
            return self._collection.count_documents({"_id": bounds, "step": step})


def search_key(tenant_id: TenantId, kind: str, value: str) -> bytes:
    """Return what rows with this value are found by."""
    text = f"{kind}\0{value.casefold()}".encode("utf-8", "surrogatepass")
    return tenant_id.binary + hashlib.sha256(text).digest()[:8]
