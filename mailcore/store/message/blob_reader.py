"""Reading ranges of blobs: headers remembered, chunks fetched by few calls of at most 3 MiB."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bson import ObjectId

from mailcore.errors import StoreDamaged, StoreUnavailable
from mailcore.store.keys import chunk_key
from mailcore.store.message.blobs import BlobHeader, Blobs
from mailcore.store.message.chunks import READ_BYTES, ChunkMissing, Chunks, Tier

log = logging.getLogger(__name__)

REMEMBERED_HEADERS = 4096


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes `start` to `end` of a blob's content."""

    address: bytes
    start: int
    end: int


class BlobReader:
    """Reads the blobs of one shard.

    A header that it remembers may be outdated: a chunk that is missing under it has it read again, as content may
    have moved or come anew meanwhile.
    """

    def __init__(self, blobs: Blobs, chunks: Chunks) -> None:
        self._blobs = blobs
        self._chunks = chunks
        self._headers: OrderedDict[tuple[ObjectId, bytes], BlobHeader] = OrderedDict()

    def read(self, tenant_id: ObjectId, spans: Sequence[Span]) -> Iterator[tuple[int, bytes]]:
        """Yield the content of the spans in order, in pieces: index of the span, bytes.

        One round trip for the headers that are not remembered, one for each 3 MiB of chunks.

        Raises:
            StoreUnavailable: a set does not answer.
            StoreDamaged: content is missing, which is logged as an error.
        """
        headers = self._known(tenant_id, {span.address for span in spans})
        batch: list[tuple[int, int]] = []
        batch_bytes = 0
        batch_tier: Tier | None = None
        for index, span in enumerate(spans):
            if span.end <= span.start:
                continue
            header = headers[span.address]
            for number in range(span.start // header.chunk_bytes, -(-span.end // header.chunk_bytes)):
                chunk_size = min(header.chunk_bytes, header.size - number * header.chunk_bytes)
                if batch and (batch_bytes + chunk_size > READ_BYTES or header.tier is not batch_tier):
                    yield from self._fetch(tenant_id, spans, batch, headers)
                    batch, batch_bytes = [], 0
                batch.append((index, number))
                batch_bytes += chunk_size
                batch_tier = header.tier
        if batch:
            yield from self._fetch(tenant_id, spans, batch, headers)

    def _fetch(
        self,
        tenant_id: ObjectId,
        spans: Sequence[Span],
        batch: Sequence[tuple[int, int]],
        headers: dict[bytes, BlobHeader],
    ) -> Iterator[tuple[int, bytes]]:
        try:
            chunks = self._chunks_of(tenant_id, spans, batch, headers)
        except ChunkMissing:
            addresses = {spans[index].address for index, _ in batch}
            for address in addresses:
                self._headers.pop((tenant_id, address), None)
            fresh = self._known(tenant_id, addresses)
            if any(fresh[address].chunk_bytes != headers[address].chunk_bytes for address in addresses):
                raise StoreUnavailable("content was laid out anew") from None
            headers.update(fresh)
            try:
                chunks = self._chunks_of(tenant_id, spans, batch, headers)
            except ChunkMissing as error:
                log.exception("blob.chunk_missing", extra={"tenant_id": str(tenant_id)})
                raise StoreDamaged("chunk missing") from error
        for (index, number), data in zip(batch, chunks, strict=True):
            span = spans[index]
            offset = number * headers[span.address].chunk_bytes
            start, end = max(0, span.start - offset), min(len(data), span.end - offset)
            yield index, data if start == 0 and end == len(data) else data[start:end]

    def _chunks_of(
        self,
        tenant_id: ObjectId,
        spans: Sequence[Span],
        batch: Sequence[tuple[int, int]],
        headers: dict[bytes, BlobHeader],
    ) -> list[bytes]:
        """The chunks of a batch in order. Raises: ChunkMissing."""
        keys: list[bytes] = []
        tiers: dict[Tier, list[bytes]] = {}
        for index, number in batch:
            header = headers[spans[index].address]
            key = chunk_key(tenant_id, header.address, header.generation, number)
            keys.append(key)
            tiers.setdefault(header.tier, []).append(key)
        found: dict[bytes, bytes] = {}
        for tier, wanted in tiers.items():
            found |= self._chunks.fetch(wanted, tier)
        if any(key not in found for key in keys):
            raise ChunkMissing
        return [found[key] for key in keys]

    def _known(self, tenant_id: ObjectId, addresses: set[bytes]) -> dict[bytes, BlobHeader]:
        headers: dict[bytes, BlobHeader] = {}
        unknown: list[bytes] = []
        for address in addresses:
            header = self._headers.get((tenant_id, address))
            if header is None:
                unknown.append(address)
            else:
                headers[address] = header
        if unknown:
            found = self._blobs.find(tenant_id, unknown)
            if len(found) < len(unknown):
                log.error("blob.header_missing", extra={"tenant_id": str(tenant_id)})
                raise StoreDamaged("blob missing")
            for address, header in found.items():
                headers[address] = self._headers[tenant_id, address] = header
            while len(self._headers) > REMEMBERED_HEADERS:
                self._headers.popitem(last=False)
        return headers
