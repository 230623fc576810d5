"""`tenants.use`: what the mail of all users of a tenant took when it was summed up, and what was promised since.

`bytes` and `at` are of the last sum. `taken` is what may not be promised again: the sum, and what was taken since that
began to read. `taken_before` is `taken` when the running sum began.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from bson import ObjectId
from pymongo import UpdateOne
from pymongo.database import Database

from mailcore.model.ids import TenantId
from mailcore.store.client import Document
from mailcore.store.guard import deadline
from mailcore.store.owned import OwnedCollection

PAGE = 1000


class PoolUse:
    """Part of each tenant's document; changed by single updates, so that any number of processes may take room."""

    def __init__(self, directory: Database[Document]) -> None:
        self._collection = OwnedCollection(directory["tenants"], "_id", ObjectId)

    def take(self, tenant_id: TenantId, quota_bytes: int, size_bytes: int) -> bool:
        """Promise so many bytes of a pool, unless that passes it; a round trip, two the first time of all."""
        query = {"_id": tenant_id, "use.taken": {"$lte": quota_bytes - size_bytes}}
        taken = {"$inc": {"use.taken": size_bytes}}
        with deadline():
            if self._collection.update_one(query, taken).modified_count:
                return True
            found = self._collection.find_one({"_id": tenant_id}, {"use": 1})
            use = (found or {}).get("use") or {}
            if found is None or "taken" in use:
                return False
            never = {"_id": tenant_id, "use.taken": {"$exists": False}}
            self._collection.update_one(never, {"$set": {"use.taken": use.get("bytes", 0)}})
            return self._collection.update_one(query, taken).modified_count == 1

    def begin_sum(self) -> None:
        """Note what is promised so far: a sum that reads from now on has it, but for what is on its way."""
        collection = self._collection.across_owners("what the mail of every tenant takes is summed up at once")
        with deadline(30):
            collection.update_many({"use.taken": {"$gt": 0}}, [{"$set": {"use.taken_before": "$use.taken"}}])

    def note(self, used_bytes: Mapping[TenantId, int], at: datetime) -> None:
        """Note what the mail of each of these tenants takes; what was promised since `begin_sum` stays promised.

        A round trip for each thousand.
        """
        collection = self._collection.across_owners("what the mail of every tenant takes is summed up at once")
        requests = [UpdateOne({"_id": tenant_id}, [_summed(size, at)]) for tenant_id, size in used_bytes.items()]
        for first in range(0, len(requests), PAGE):
            with deadline(30):
                collection.bulk_write(requests[first : first + PAGE], ordered=False)


def _summed(size_bytes: int, at: datetime) -> Document:
    since = {"$subtract": [{"$ifNull": ["$use.taken", 0]}, {"$ifNull": ["$use.taken_before", 0]}]}
    taken = {"$add": [size_bytes, {"$max": [0, since]}]}
    return {"$set": {"use": {"bytes": size_bytes, "at": at, "taken": taken, "taken_before": 0}}}
