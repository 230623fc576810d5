"""The collector's side of the blob protocol, and the sweeps of what crashed uploads left.

Mark by compare-and-set, then look for references again; only if there is none are header and chunks
removed, and only while mark and generation are still the collector's own. `upload` is the other side.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from bson import ObjectId
from pymongo.client_session import ClientSession

from mailcore import fault
from mailcore.errors import StoreUnavailable
from mailcore.store.message.blob_refs import BATCH, BlobRef, BlobRefs, OwnerKind
from mailcore.store.message.blobs import BlobHeader, Blobs
from mailcore.store.message.chunks import Chunks, Tier, generation_time
from mailcore.store.message.messages import Messages
from mailcore.store.user.files import Files
from mailcore.store.user.outbound import OutboundEntries

log = logging.getLogger(__name__)

PATIENCE_S = 30.0
"""So long a set may take to remove chunks: nobody waits for it."""
CRASHED_AFTER_S = 24 * 3600
"""No upload takes so long (sessions end after ten minutes); what is older and unowned was abandoned."""


@dataclass
class CollectionCounts:
    """What one run removed."""

    blobs: int = 0
    unmarked: int = 0
    references: int = 0
    generations: int = 0


def second_look(refs: BlobRefs, tenant_id: ObjectId, address: bytes, session: ClientSession) -> bool:
    """Whether a reference is there after the mark was acknowledged; read after it in the same session."""
    return refs.exists(tenant_id, address, session)


class BlobCollector:
    """Removes content that nobody refers to."""

    def __init__(
        self,
        blobs: Blobs,
        refs: BlobRefs,
        chunks: Chunks,
        messages: Messages,
        outbound: OutboundEntries,
        files: Files,
    ) -> None:
        self._blobs = blobs
        self._refs = refs
        self._chunks = chunks
        self._attempts: dict[OwnerKind, Callable[[Sequence[bytes]], dict[bytes, bytes]]] = {
            OwnerKind.MESSAGE: messages.attempts,
            OwnerKind.OUTBOUND: outbound.attempts,
            OwnerKind.FILE: files.attempts,
        }
        self.counts = CollectionCounts()

    def collect(self, tenant_id: ObjectId, addresses: Iterable[bytes]) -> None:
        """Remove those of these blobs that have no reference. Safe at any time, next to any delivery.

        Raises:
            StoreUnavailable: some may be left marked; a delivery replaces such a header, a sweep finishes it.
        """
        with self._blobs.client.start_session(causal_consistency=True) as session:
            for address in addresses:
                self._collect_one(tenant_id, address, None, session)

    def sweep_headers(self, tenant_id: ObjectId, pause: Callable[[], None]) -> None:
        """Collect every blob of a tenant that has no reference: both collections are read in key order, once."""
        refs = (address for address, _ in groupby(ref.address for ref in self._refs.of_tenant(tenant_id)))
        referenced = next(refs, None)
        with self._blobs.client.start_session(causal_consistency=True) as session:
            for header in self._blobs.of_tenant(tenant_id):
                while referenced is not None and referenced < header.address:
                    referenced = next(refs, None)
                    pause()
                if referenced != header.address or header.deleting is not None:
                    self._collect_one(tenant_id, header.address, header, session)

    def sweep_references(self, pause: Callable[[], None], older_than_s: int = CRASHED_AFTER_S) -> None:
        """Remove references whose message or queue entry is not there, and collect their blobs.

        Only those older than any delivery can last: a younger one may be about to get its message.
        """
        before = time.time() - older_than_s
        start = b""
        while True:
            page = self._refs.pages(start)
            for kind, attempts in self._attempts.items():
                aged = [ref for ref in page if ref.owner.kind is kind and generation_time(ref.owner.attempt) <= before]
                present = attempts([ref.owner.owner for ref in aged])
                self._remove([ref for ref in aged if present.get(ref.owner.owner) != ref.owner.attempt])
            pause()
            if len(page) < BATCH:
                return
            last = page[-1]
            start = last.owner.key(last.tenant_id, last.address)

    def sweep_chunks(self, tier: Tier, pause: Callable[[], None], older_than_s: int = CRASHED_AFTER_S) -> None:
        """Remove generations that no header names and that are older than any upload can last."""
        before = time.time() - older_than_s
        for tenant_id, generations in _batches_by_tenant(self._chunks.generations(tier)):
            aged = [
                (address, generation) for address, generation in generations if generation_time(generation) <= before
            ]
            if not aged:
                continue
            headers = self._blobs.find(tenant_id, list({address for address, _ in aged}))
            for address, generation in aged:
                header = headers.get(address)
                if header is None or header.generation != generation or header.tier is not tier:
                    self._chunks.delete(tenant_id, address, generation, tier, PATIENCE_S)
                    self.counts.generations += 1
            pause()

    def _remove(self, stale: list[BlobRef]) -> None:
        self._refs.delete([ref.owner.key(ref.tenant_id, ref.address) for ref in stale])
        self.counts.references += len(stale)
        for tenant_id, refs in groupby(stale, key=lambda ref: ref.tenant_id):
            self.collect(tenant_id, {ref.address for ref in refs})

    def _collect_one(
        self, tenant_id: ObjectId, address: bytes, seen: BlobHeader | None, session: ClientSession
    ) -> None:
        token = os.urandom(8)
        if seen is not None and seen.deleting is not None:
            marked = self._blobs.take_over_mark(seen, token, session)
        elif self._refs.exists(tenant_id, address, session):
            return
        else:
            fault.hit("gc.before_mark")
            marked = self._blobs.mark(tenant_id, address, token, session)
        if marked is None:
            return
        fault.hit("gc.after_mark")
        if second_look(self._refs, tenant_id, address, session):
            self._blobs.unmark(tenant_id, address, token)
            self.counts.unmarked += 1
            return
        if not self._blobs.delete_marked(marked, token):
            return
        self.counts.blobs += 1
        try:
            self._chunks.delete(tenant_id, address, marked.generation, marked.tier, PATIENCE_S)
        except StoreUnavailable:
            log.info("collection.chunks.left", extra={"tenant_id": str(tenant_id)})  # swept when the set is back


def _batches_by_tenant(
    generations: Iterator[tuple[ObjectId, bytes, bytes]], limit: int = 500
) -> Iterator[tuple[ObjectId, list[tuple[bytes, bytes]]]]:
    for tenant_id, group in groupby(generations, key=lambda item: item[0]):
        batch: list[tuple[bytes, bytes]] = []
        for _, address, generation in group:
            batch.append((address, generation))
            if len(batch) == limit:
                yield tenant_id, batch
                batch = []
        if batch:
            yield tenant_id, batch
