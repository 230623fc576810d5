"""`complaints`: which of a tenant's messages somebody complained of, on the tenant's home shard.

A row is tenant ‖ hash of queue id and recipient (24 bytes): the same complaint again is the same row.
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from typing import Final

from pymongo.database import Database
from pymongo.errors import DuplicateKeyError

from mailcore.model.ids import TenantId, UserId
from mailcore.store.guard import Document, deadline
from mailcore.store.keys import owner_range
from mailcore.store.owned import OwnedCollection

KEY_BYTES: Final = 24


class Complaints:
    """The complaints of the tenants whose home is this shard."""

    def __init__(self, database: Database[Document]) -> None:
        self._collection = OwnedCollection(database["complaints"])

    def is_known(self, tenant_id: TenantId, queue_id: str, recipient: str) -> bool:
        """Whether this complaint was counted before; one round trip."""
        with deadline():
            return self._collection.find_one({"_id": _key(tenant_id, queue_id, recipient)}, {"_id": 1}) is not None

    def add(
        self, tenant_id: TenantId, user_id: UserId, queue_id: str, recipient: str, at: datetime, kept: timedelta
    ) -> None:
        """Count a complaint, once however often it is told; one round trip."""
        document = {
            "_id": _key(tenant_id, queue_id, recipient),
            "user": user_id,
            "queue_id": queue_id,
            "at": at,
            "expires_at": at + kept,
        }
        with deadline():
            try:
                self._collection.insert_one(document)
            except DuplicateKeyError:
                pass

    def count(self, tenant_id: TenantId, since: datetime) -> int:
        """Return how many of a tenant's messages somebody complained of since then."""
        query = {"_id": owner_range(tenant_id.binary, KEY_BYTES), "at": {"$gte": since}}
        with deadline():
            return self._collection.count_documents(query)


def _key(tenant_id: TenantId, queue_id: str, recipient: str) -> bytes:
    what = f"{queue_id}\0{recipient.casefold()}".encode("utf-8", "surrogatepass")
    return tenant_id.binary + hashlib.sha256(what).digest()[:12]
