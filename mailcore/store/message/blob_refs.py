"""Who needs a blob: one small document for each owner, never a counter.

A reference names the attempt that wrote it, so a repeat of the same delivery has references of its
own, and removing a message removes exactly those that the message names.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from bson import ObjectId
from pymongo.client_session import ClientSession
from pymongo.database import Database
from pymongo.errors import BulkWriteError

from mailcore.store.guard import deadline
from mailcore.store.keys import blob_key, blob_ref_key, owner_range
from mailcore.store.owned import OwnedCollection

Document = dict[str, Any]

REF_KEY_BYTES = 77
BATCH = 1000


class OwnerKind(IntEnum):
    """What sort of thing holds a reference."""

    MESSAGE = 1
    OUTBOUND = 2
    FILE = 3
    AUDIT = 4
    EXPORT = 5


@dataclass(frozen=True, slots=True)
class RefOwner:
    """Holder of references.

    Attributes:
        owner: user ‖ message, or for other kinds tenant or user ‖ their id (24 bytes).
        attempt: 8 bytes as `new_generation` makes them; their time is the reference's age.
    """

    kind: OwnerKind
    owner: bytes
    attempt: bytes

    def key(self, tenant_id: ObjectId, address: bytes) -> bytes:
        """Return the `_id` of this owner's reference to a blob."""
        return blob_ref_key(tenant_id, address, self.kind, self.owner, self.attempt)


@dataclass(frozen=True, slots=True)
class BlobRef:
    """A reference as stored."""

    tenant_id: ObjectId
    address: bytes
    owner: RefOwner

    @classmethod
    def from_key(cls, key: bytes) -> BlobRef:
        """Read the parts of an `_id`."""
        owner = RefOwner(OwnerKind(key[44]), key[45:69], key[69:77])
        return cls(ObjectId(key[:12]), key[12:44], owner)


class BlobRefs:
    """The collection `blob_refs`, on the same set as `blobs`."""

    def __init__(self, database: Database[Document]) -> None:
        self._collection = OwnedCollection(database["blob_refs"])

    def insert(self, keys: Sequence[bytes]) -> None:
        """Write references by `_id` (majority); those that exist stay. One call for each 1000."""
        documents = [{"_id": key} for key in dict.fromkeys(keys)]
        for start in range(0, len(documents), BATCH):
            with deadline(5.0):
                try:
                    self._collection.store_many(documents[start : start + BATCH])
                except BulkWriteError:
                    pass  # only duplicates get here

    def exists(self, tenant_id: ObjectId, address: bytes, session: ClientSession | None = None) -> bool:
        """Whether anybody needs the blob, as of the session's last write."""
        key_range = owner_range(blob_key(tenant_id, address), REF_KEY_BYTES)
        with deadline(5.0):
            return self._collection.find_one({"_id": key_range}, {"_id": 1}, session=session) is not None

    def delete(self, keys: Sequence[bytes]) -> None:
        """Remove references by `_id`; one call for each 1000."""
        for start in range(0, len(keys), BATCH):
            with deadline(5.0):
                self._collection.delete_many({"_id": {"$in": list(keys[start : start + BATCH])}})

    def of_tenant(self, tenant_id: ObjectId) -> Iterator[BlobRef]:
        """Yield a tenant's references in key order; reads the `_id` index only."""
        return self._pages(owner_range(tenant_id.binary, REF_KEY_BYTES))

    def pages(self, start: bytes, limit: int = BATCH) -> list[BlobRef]:
        """Return references of every tenant behind the key `start`, for the sweep."""
        with deadline(30.0):
            found = list(
                self._collection.across_owners("the sweep looks for references without their owner").find(
                    {"_id": {"$gt": start or b"\x00" * REF_KEY_BYTES}}, {"_id": 1}, sort=[("_id", 1)], limit=limit
                )
            )
        return [BlobRef.from_key(document["_id"]) for document in found]

    def _pages(self, key_range: dict[str, bytes]) -> Iterator[BlobRef]:
        while True:
            with deadline(30.0):
                page = list(self._collection.find({"_id": key_range}, {"_id": 1}, sort=[("_id", 1)], limit=BATCH * 10))
            for document in page:
                yield BlobRef.from_key(document["_id"])
            if len(page) < BATCH * 10:
                return
            key_range = {"$gt": page[-1]["_id"], "$lte": key_range["$lte"]}
