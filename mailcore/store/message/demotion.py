"""Content that waits on the hot set goes to the cold one: copy, verify, switch, then remove."""

from __future__ import annotations

import hmac
import logging
from collections.abc import Callable
from datetime import UTC, datetime

from mailcore import fault
from mailcore.errors import StoreFull, StoreUnavailable
from mailcore.store.keys import chunk_key
from mailcore.store.message.blobs import BlobHeader, Blobs
from mailcore.store.message.chunks import WRITE_BYTES, Chunks, Tier, Upload, new_generation

log = logging.getLogger(__name__)


def read_content(chunks: Chunks, header: BlobHeader) -> bytes | None:
    """Return the whole content a header names; None if a chunk is missing."""
    keys = [
        chunk_key(header.tenant_id, header.address, header.generation, number) for number in range(header.chunk_count)
    ]
    per_call = max(1, WRITE_BYTES // header.chunk_bytes)
    pieces: list[bytes] = []
    for start in range(0, len(keys), per_call):
        wanted = keys[start : start + per_call]
        found = chunks.fetch(wanted, header.tier)
        if len(found) < len(wanted):
            return None
        pieces.extend(found[key] for key in wanted)
    return b"".join(pieces)


class Demoter:
    """Moves due content; twice at once is harmless: one switch wins, the other removes its copy."""

    def __init__(self, blobs: Blobs, chunks: Chunks) -> None:
        self._blobs = blobs
        self._chunks = chunks

    def run(self, pause: Callable[[], None], limit: int = 1000) -> int:
        """Move what is due and return how many blobs went; stops at the first sign that the cold set is away."""
        moved = 0
        for header in self._blobs.due_for_demotion(datetime.now(UTC), limit):
            if header.deleting is not None:
                continue
            try:
                moved += self._demote(header)
            except (StoreUnavailable, StoreFull) as error:
                log.info("demotion.stopped", extra={"reason": type(error).__name__})
                break
            pause()
        return moved

    def _demote(self, header: BlobHeader) -> bool:
        data = read_content(self._chunks, header)
        if data is None or len(data) != header.size:
            return False  # changed meanwhile, or damaged: the scrub reports that
        generation = new_generation()
        self._chunks.insert(header.tenant_id, [Upload(header.address, generation, data)], Tier.COLD)
        fault.hit("tier.after_copy")
        copied = BlobHeader(header.tenant_id, header.address, header.size, generation, Tier.COLD)
        copy = read_content(self._chunks, copied)
        if copy is None or not hmac.compare_digest(copy, data):
            log.error("demotion.copy_differs", extra={"tenant_id": str(header.tenant_id)})
            self._chunks.delete(header.tenant_id, header.address, generation, Tier.COLD)
            return False
        if not self._blobs.switch(header, generation, Tier.COLD):
            self._chunks.delete(header.tenant_id, header.address, generation, Tier.COLD)
            return False
        fault.hit("tier.after_switch")
        self._chunks.delete(header.tenant_id, header.address, header.generation, Tier.HOT)
        return True
