"""Blob headers: where the content of an address lies, and whether a collector has marked it."""

from __future__ import annotations

import hmac
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from bson import ObjectId
from pymongo import ReturnDocument, UpdateOne
from pymongo.client_session import ClientSession
from pymongo.database import Database
from pymongo.errors import BulkWriteError

from mailcore.message.split import CHUNK_BYTES
from mailcore.model.octets import Sliced, pieces
from mailcore.store.guard import deadline
from mailcore.store.keys import blob_key, owner_range
from mailcore.store.message.chunks import Tier, chunk_count, generation_time
from mailcore.store.owned import OwnedCollection

Document = dict[str, Any]

BLOB_KEY_BYTES = 44
FORMAT = b"\x01\x00\x00"
"""Version 1, codec 0 (as is), key id 0 (not encrypted)."""
UNMARKED = {"deleting": {"$exists": False}}
_WAITING = {"tier": str(Tier.HOT), "demote_at": {"$exists": True}}
"""Content on the hot set that is to leave it some day; its generation tells when it came."""


def blob_address(tenant_key: bytes, data: Sliced) -> bytes:
    """Return the address of content within a tenant: nobody without the key can tell or find it."""
    if isinstance(data, bytes):
        return hmac.digest(tenant_key, data, "sha256")
    digest = hmac.new(tenant_key, digestmod="sha256")
    for piece in pieces(data):
        digest.update(piece)
    return digest.digest()


@dataclass(frozen=True, slots=True)
class BlobHeader:
    """Where the content of an address is.

    Attributes:
        generation: names the upload whose chunks are the content.
        demote_at: when content on the hot set is due for the cold one; None stays where it is.
        deleting: the token of the collector that marked it; such a header is not to be relied on.
    """

    tenant_id: ObjectId
    address: bytes
    size: int
    generation: bytes
    tier: Tier
    demote_at: datetime | None = None
    chunk_bytes: int = CHUNK_BYTES
    deleting: bytes | None = None

    @property
    def chunk_count(self) -> int:
        """How many chunks the content takes."""
        return chunk_count(self.size, self.chunk_bytes)

    @classmethod
    def from_document(cls, document: Document) -> BlobHeader:
        """Read a stored header."""
        key: bytes = document["_id"]
        return cls(
            tenant_id=ObjectId(key[:12]),
            address=key[12:],
            size=document["size"],
            generation=document["generation"],
            tier=Tier(document["tier"]),
            demote_at=document.get("demote_at"),
            chunk_bytes=document["chunk_bytes"],
            deleting=document.get("deleting"),
        )

    def to_document(self) -> Document:
        """Return the document to store; it is pinned by being written."""
        document: Document = {
            "_id": blob_key(self.tenant_id, self.address),
            "format": FORMAT,
            "size": self.size,
            "chunk_bytes": self.chunk_bytes,
            "generation": self.generation,
            "tier": str(self.tier),
            "pins": 1,
            "pinned_at": datetime.now(UTC),
        }
        if self.demote_at is not None:
            document["demote_at"] = self.demote_at
        return document


class Blobs:
    """The collection `blobs`, on the hot set. Every change is one guarded update of one header."""

    def __init__(self, database: Database[Document]) -> None:
        self._collection = OwnedCollection(database["blobs"])
        self.client = database.client

    def pin(self, tenant_id: ObjectId, addresses: Sequence[bytes]) -> int:
        """Pin those headers that exist unmarked, some perhaps twice, in one call; return how many did."""
        with deadline(5.0):
            return self._collection.update_each(_pins(tenant_id, addresses))

    def unmarked(self, tenant_id: ObjectId, addresses: Sequence[bytes]) -> list[bytes]:
        """Pin once more, and return which of these have a header that stands unmarked after that: two calls.

        What a session reads after its own pin is as new as every write acknowledged before, so a header
        that it sees unmarked is as good as pinned: a later mark is followed by a look at the references.
        """
        keys = [blob_key(tenant_id, address) for address in addresses]
        pins = [UpdateOne(query, update) for query, update in _pins(tenant_id, addresses)]
        with deadline(5.0), self.client.start_session(causal_consistency=True) as session:
            self._collection.bulk_write(pins, ordered=False, session=session)
            found = list(self._collection.find({"_id": {"$in": keys}}, session=session, batch_size=len(keys) + 1))
        return [document["_id"][12:] for document in found if document.get("deleting") is None]

    def find(self, tenant_id: ObjectId, addresses: Sequence[bytes]) -> dict[bytes, BlobHeader]:
        """Return the headers of these addresses, marked ones too, in one call."""
        keys = [blob_key(tenant_id, address) for address in addresses]
        with deadline(5.0):
            found = self._collection.find_all({"_id": {"$in": keys}}, most=len(keys))
        return {document["_id"][12:]: BlobHeader.from_document(document) for document in found}

    def insert(self, headers: Sequence[BlobHeader]) -> set[bytes]:
        """Store headers in one call and return the addresses that had one already.

        Not the short way: a header of our own, stored by a lost sending, would pass for another's.
        """
        documents = [header.to_document() for header in headers]
        with deadline(5.0):
            try:
                self._collection.insert_many(documents, ordered=False)
            except BulkWriteError as error:  # only duplicates get here
                return {headers[fault["index"]].address for fault in error.details["writeErrors"]}
        return set()

    def replace_marked(self, header: BlobHeader) -> BlobHeader | None:
        """Put `header` in the place of a marked one, which is returned; None if there is no marked one."""
        query = {"_id": blob_key(header.tenant_id, header.address), "deleting": {"$exists": True}}
        with deadline(5.0):
            old = self._collection.find_one_and_replace(query, header.to_document())
        return None if old is None else BlobHeader.from_document(old)

    def mark(self, tenant_id: ObjectId, address: bytes, token: bytes, session: ClientSession) -> BlobHeader | None:
        """Mark an unmarked header for deletion and return it; None if it is gone or marked by somebody."""
        return self._change({"_id": blob_key(tenant_id, address), **UNMARKED}, {"$set": {"deleting": token}}, session)

    def take_over_mark(self, marked: BlobHeader, token: bytes, session: ClientSession) -> BlobHeader | None:
        """Put an own token in the place of one whose collector died; None if anything has changed."""
        query = {"_id": blob_key(marked.tenant_id, marked.address), "deleting": marked.deleting}
        return self._change(query, {"$set": {"deleting": token}}, session)

    def unmark(self, tenant_id: ObjectId, address: bytes, token: bytes) -> None:
        """Take an own mark back; nothing happens if a delivery has replaced the header."""
        self._change({"_id": blob_key(tenant_id, address), "deleting": token}, {"$unset": {"deleting": ""}}, None)

    def delete_marked(self, header: BlobHeader, token: bytes) -> bool:
        """Remove a header if mark and generation are still the collector's own."""
        query = {
            "_id": blob_key(header.tenant_id, header.address),
            "deleting": token,
            "generation": header.generation,
        }
        with deadline(5.0):
            return self._collection.delete_one(query).deleted_count == 1

    def switch(self, header: BlobHeader, generation: bytes, tier: Tier) -> bool:
        """Point an unmarked header at another generation if it still names the one of `header`."""
        query = {"_id": blob_key(header.tenant_id, header.address), "generation": header.generation, **UNMARKED}
        place = {"generation": generation, "tier": str(tier), "chunk_bytes": CHUNK_BYTES}
        change = {"$set": place, "$unset": {"demote_at": ""}}
        return self._change(query, change, None) is not None

    def due_for_demotion(self, now: datetime, limit: int) -> list[BlobHeader]:
        """Return headers whose content is due to leave the hot set, the longest due first; of every tenant."""
        collection = self._collection.across_owners("demotion concerns every tenant")
        with deadline(10.0):
            found = list(collection.find({"demote_at": {"$lte": now}}, sort=[("demote_at", 1)], limit=limit))
        return [BlobHeader.from_document(document) for document in found]

    def of_tenant(self, tenant_id: ObjectId, limit: int = 1000) -> Iterator[BlobHeader]:
        """Yield a tenant's headers in the order of their addresses."""
        key_range = owner_range(tenant_id.binary, BLOB_KEY_BYTES)
        while True:
            with deadline(30.0):
                page = list(self._collection.find({"_id": key_range}, sort=[("_id", 1)], limit=limit))
            for document in page:
                yield BlobHeader.from_document(document)
            if len(page) < limit:
                return
            key_range = {"$gt": page[-1]["_id"], "$lte": key_range["$lte"]}

    def waiting(self, tenant_id: ObjectId, ages: Sequence[timedelta], now: datetime) -> list[int]:
        """Return the bytes on the hot set that may leave it, by how long ago they came; one round trip.

        Args:
            tenant_id: whose.
            ages: in rising order, the first 0; the last number is of what is as old as the last, or older.
            now: from when ages are counted.
        """
        edges = [bytes(8), *(_came_after(now - age) for age in reversed(ages[1:])), b"\xff" * 8]
        buckets = {"groupBy": "$generation", "boundaries": edges, "output": {"bytes": {"$sum": "$size"}}}
        query = {"_id": owner_range(tenant_id.binary, BLOB_KEY_BYTES), **_WAITING}
        with deadline(30.0):
            found = {
                one["_id"]: one["bytes"]
                for one in self._collection.aggregate([{"$match": query}, {"$bucket": buckets}])
            }
        return [int(found.get(edge, 0)) for edge in reversed(edges[:-1])]

    def redate(self, tenant_id: ObjectId, cold_after: timedelta) -> int:
        """Let what waits on the hot set leave it so long after it came, and return how many blobs that is about."""
        query: Document = {"_id": owner_range(tenant_id.binary, BLOB_KEY_BYTES), **_WAITING}
        count = 0
        while True:
            with deadline(30.0):
                page = list(self._collection.find(query, {"generation": 1}, sort=[("_id", 1)], limit=1000))
                if page:
                    self._collection.bulk_write([_redating(document, cold_after) for document in page], ordered=False)
            count += len(page)
            if len(page) < 1000:
                return count
            query["_id"] = {"$gt": page[-1]["_id"], "$lte": query["_id"]["$lte"]}

    def tenants(self) -> Iterator[ObjectId]:
        """Yield every tenant that has blobs here: one look-up in the index for each."""
        collection = self._collection.across_owners("a sweep begins with the list of tenants")
        after = b"\x00" * BLOB_KEY_BYTES
        while True:
            with deadline(5.0):
                found = collection.find_one({"_id": {"$gt": after}}, {"_id": 1}, sort=[("_id", 1)])
            if found is None:
                return
            owner: bytes = found["_id"][:12]
            yield ObjectId(owner)
            after = owner + b"\xff" * (BLOB_KEY_BYTES - 12)

    def _change(self, query: Document, change: Document, session: ClientSession | None) -> BlobHeader | None:
        with deadline(5.0):
            after = self._collection.find_one_and_update(
                query, change, return_document=ReturnDocument.AFTER, session=session
            )
        return None if after is None else BlobHeader.from_document(after)


def _came_after(at: datetime) -> bytes:
    """Return the lowest generation of the second after an instant."""
    return struct.pack(">I", max(0, int(at.timestamp()) + 1)) + bytes(4)


def _redating(document: Document, cold_after: timedelta) -> UpdateOne:
    came_at = datetime.fromtimestamp(generation_time(document["generation"]), UTC)
    query = {"_id": document["_id"], "generation": document["generation"], "demote_at": {"$exists": True}}
    return UpdateOne(query, {"$set": {"demote_at": came_at + cold_after}})


def _pins(tenant_id: ObjectId, addresses: Sequence[bytes]) -> list[tuple[Document, Document]]:
    pinned: Document = {"$inc": {"pins": 1}, "$set": {"pinned_at": datetime.now(UTC)}}
    return [({"_id": blob_key(tenant_id, address), **UNMARKED}, pinned) for address in addresses]
