"""Blob content in chunks: on the cold set, or on the hot set while the cold one is silent or full.

A generation (the bytes of one upload) lies whole on one set; its first four bytes are the second of
its making, which only sweeps of abandoned uploads look at.
"""

from __future__ import annotations

import logging
import os
import struct
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import TracebackType
from typing import Any

from bson import ObjectId
from pymongo.database import Database
from pymongo.errors import BulkWriteError

from mailcore.errors import StoreFull, StoreUnavailable
from mailcore.message.split import CHUNK_BYTES
from mailcore.model.octets import Sliced
from mailcore.store.guard import deadline
from mailcore.store.keys import blob_key, chunk_key, owner_range
from mailcore.store.owned import OwnedCollection

log = logging.getLogger(__name__)

Document = dict[str, Any]

CHUNK_KEY_BYTES = 56
READ_BYTES = 3 << 20
"""So much is read by one call to the database; a reader holds it twice while the answer is taken apart."""
WRITE_BYTES = 2 << 20
"""So much is written by one call; a writer holds it three times while it is put into a message."""

HOT_DEADLINE_S = 5.0
COLD_DEADLINE_S = 2.0
COLD_PAUSE_S = 10.0
"""After a failure the cold set is left alone for so long; then one call tries it again."""


class Tier(StrEnum):
    """Which set holds a generation."""

    HOT = "hot"
    COLD = "cold"


class ChunkMissing(Exception):
    """A chunk is not where its header said: the header has changed meanwhile, or content is lost."""


@dataclass(frozen=True, slots=True)
class Upload:
    """The bytes of a blob under the generation they are stored with."""

    address: bytes
    generation: bytes
    data: Sliced


def new_generation(now: float | None = None) -> bytes:
    """Return a name for one upload: its second, and four random bytes."""
    return struct.pack(">I", int(time.time() if now is None else now)) + os.urandom(4)


def generation_time(generation: bytes) -> int:
    """Return the second in which the generation was made."""
    return int(struct.unpack_from(">I", generation)[0])


def chunk_count(size: int, chunk_bytes: int = CHUNK_BYTES) -> int:
    """Return how many chunks `size` bytes take; an empty blob has one empty chunk."""
    return max(1, -(-size // chunk_bytes))


class Breaker:
    """Keeps calls from a set that just failed, so that its silence costs one wait and not one each."""

    def __init__(self, pause_s: float = COLD_PAUSE_S) -> None:
        self._pause_s = pause_s
        self._retry_at = 0.0

    @property
    def is_closed(self) -> bool:
        """Whether the last call worked."""
        return self._retry_at == 0.0

    def admits(self) -> bool:
        """Whether a call may go through; after the pause one may, and is the test for all."""
        if self._retry_at == 0.0:
            return True
        now = time.monotonic()
        if now < self._retry_at:
            return False
        self._retry_at = now + self._pause_s
        return True

    def worked(self) -> None:
        """Let everybody through again."""
        self._retry_at = 0.0

    def failed(self) -> None:
        """Begin a pause."""
        self._retry_at = time.monotonic() + self._pause_s


class Chunks:
    """The collections `chunks` of a shard's two sets."""

    def __init__(
        self,
        hot: Database[Document],
        cold: Database[Document],
        cold_deadline_s: float = COLD_DEADLINE_S,
        cold_pause_s: float = COLD_PAUSE_S,
    ) -> None:
        self._sets = {Tier.HOT: OwnedCollection(hot["chunks"]), Tier.COLD: OwnedCollection(cold["chunks"])}
        self._deadlines = {Tier.HOT: HOT_DEADLINE_S, Tier.COLD: cold_deadline_s}
        self.cold_breaker = Breaker(cold_pause_s)

    def insert(self, tenant_id: ObjectId, uploads: Sequence[Upload], tier: Tier) -> None:
        """Store generations whole (majority): one call for each 2 MiB.

        Raises:
            StoreUnavailable: no answer in time; some chunks may be there, a sweep removes them.
            StoreFull: no room.
        """
        batch: list[Document] = []
        batch_bytes = 0
        for upload in uploads:
            for number in range(chunk_count(len(upload.data))):
                piece = upload.data[number * CHUNK_BYTES : (number + 1) * CHUNK_BYTES]
                if batch and batch_bytes + len(piece) > WRITE_BYTES:
                    self._insert_batch(batch, tier)
                    batch, batch_bytes = [], 0
                key = chunk_key(tenant_id, upload.address, upload.generation, number)
                batch.append({"_id": key, "data": piece})
                batch_bytes += len(piece)
        if batch:
            self._insert_batch(batch, tier)

    def fetch(self, keys: Sequence[bytes], tier: Tier) -> dict[bytes, bytes]:
        """Return the chunks of these keys that exist; the caller keeps to 3 MiB a call.

        Raises:
            StoreUnavailable: no answer in time, or the cold set is being left alone.
        """

        def read() -> dict[bytes, bytes]:
            found = self._sets[tier].find_all({"_id": {"$in": list(keys)}}, most=len(keys))
            return {document["_id"]: document["data"] for document in found}

        with self._call(tier):
            return read()

    def delete(
        self, tenant_id: ObjectId, address: bytes, generation: bytes, tier: Tier, patience_s: float | None = None
    ) -> int:
        """Remove a generation and return how many chunks it had.

        Args:
            tenant_id: whose content.
            address: of the content.
            generation: which upload of it.
            tier: where it lies.
            patience_s: how long the set may take, for callers that nobody waits for.

        Raises:
            StoreUnavailable: no answer in time; a sweep removes what is left.
        """
        key_range = owner_range(blob_key(tenant_id, address) + generation, CHUNK_KEY_BYTES)
        with self._call(tier, patience_s):
            return self._sets[tier].delete_many({"_id": key_range}).deleted_count

    def size_bytes(self, tenant_id: ObjectId, tier: Tier) -> int:
        """Return how many bytes of content a tenant has on a set."""
        pipeline: list[dict[str, Any]] = [
            {"$match": {"_id": owner_range(tenant_id.binary, CHUNK_KEY_BYTES)}},
            {"$group": {"_id": None, "total": {"$sum": {"$binarySize": "$data"}}}},
        ]
        with deadline(60.0):
            groups = list(self._sets[tier].aggregate(pipeline))
        return int(groups[0]["total"]) if groups else 0

    def generations(
        self, tier: Tier, after: bytes = b"", limit: int = 10_000
    ) -> Iterator[tuple[ObjectId, bytes, bytes]]:
        """Yield tenant, address, generation of everything on a set in key order, behind the key `after`.

        Reads the `_id` index only. For the sweep, which concerns every tenant.
        """
        start = after.ljust(CHUNK_KEY_BYTES, b"\x00") if after else b"\x00" * CHUNK_KEY_BYTES
        last = b""
        while True:
            with deadline(30.0):
                page = list(
                    self._sets[tier]
                    .across_owners("the sweep looks for chunks that no header names")
                    .find({"_id": {"$gt": start}}, {"_id": 1}, sort=[("_id", 1)], limit=limit, batch_size=limit)
                )
            for document in page:
                key: bytes = document["_id"]
                if key[:52] != last:
                    last = key[:52]
                    yield ObjectId(key[:12]), key[12:44], key[44:52]
            if len(page) < limit:
                return
            start = page[-1]["_id"]

    def _insert_batch(self, batch: list[Document], tier: Tier) -> None:
        with self._call(tier):
            try:
                self._sets[tier].store_many(batch)
            except BulkWriteError:
                pass  # only duplicates get here: sent again after a lost answer, the same bytes under the same key

    def _call(self, tier: Tier, seconds: float | None = None) -> _TierCall:
        return _TierCall(seconds or self._deadlines[tier], self.cold_breaker if tier is Tier.COLD else None)


class _TierCall:
    """A deadline, and for the cold set its breaker."""

    __slots__ = ("_breaker", "_deadline")

    def __init__(self, seconds: float, breaker: Breaker | None) -> None:
        self._deadline = deadline(seconds)
        self._breaker = breaker

    def __enter__(self) -> None:
        if self._breaker is not None and not self._breaker.admits():
            raise StoreUnavailable("cold set left alone")
        self._deadline.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._deadline.__exit__(kind, error, trace)
        except (StoreUnavailable, StoreFull) as failure:
            self._note(failure)
            raise
        if isinstance(error, (StoreUnavailable, StoreFull)):  # translated below already
            self._note(error)
        elif error is None and self._breaker is not None and not self._breaker.is_closed:
            self._breaker.worked()
            log.info("chunks.cold.back")

    def _note(self, failure: Exception) -> None:
        if self._breaker is not None:
            if self._breaker.is_closed:
                log.warning("chunks.cold.away", extra={"reason": type(failure).__name__})
            self._breaker.failed()
