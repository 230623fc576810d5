"""`suppressions`: addresses to which a tenant's mail is not sent for a while, on the tenant's home shard.

A row is tenant ‖ hash of the address (24 bytes).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from pymongo.database import Database

from mailcore.model.ids import TenantId
from mailcore.store.guard import Document, deadline
from mailcore.store.keys import owner_range
from mailcore.store.owned import OwnedCollection

KEY_BYTES: Final = 24


class Suppressions:
    """The suppression lists of the tenants whose home is this shard."""

    def __init__(self, database: Database[Document]) -> None:
        self._collection = OwnedCollection(database["suppressions"])

    def add(self, tenant_id: TenantId, address: str, reason: str, queue_id: str, kept: timedelta) -> None:
        """Suppress an address from now on for `kept`, by the database's clock."""
        fields = {
            "address": {"$literal": address},
            "reason": {"$literal": reason},
            "queue_id": {"$literal": queue_id},
            "at": "$$NOW",
            "expires_at": {"$add": ["$$NOW", int(kept.total_seconds() * 1000)]},
        }
        with deadline():
            self._collection.update_one({"_id": _key(tenant_id, address)}, [{"$set": fields}], upsert=True)

    def among(self, tenant_id: TenantId, addresses: Sequence[str]) -> list[Document]:
        """Return the rows of those of these addresses that are suppressed; one round trip."""
        keys = [_key(tenant_id, address) for address in addresses]
        still = {"$expr": {"$gt": ["$expires_at", "$$NOW"]}}
        with deadline():
            return list(self._collection.aggregate([{"$match": {"_id": {"$in": keys}}}, {"$match": still}]))

    def list_of(self, tenant_id: TenantId, after: str, limit: int) -> list[Document]:
        """Return a page of a tenant's list, in no meaningful order: what follows the row of `after`."""
        bounds = owner_range(tenant_id.binary, KEY_BYTES)
        if after:
            bounds = {"$gt": _key(tenant_id, after), "$lte": bounds["$lte"]}
        with deadline():
            return list(self._collection.find({"_id": bounds}).sort("_id", 1).limit(limit))

    def remove(self, tenant_id: TenantId, address: str) -> bool:
        """Take an address off the list; False if it is not on it."""
        with deadline():
            return self._collection.delete_one({"_id": _key(tenant_id, address)}).deleted_count == 1


def _key(tenant_id: TenantId, address: str) -> bytes:
    return tenant_id.binary + hashlib.sha256(address.casefold().encode("utf-8", "surrogatepass")).digest()[:12]
