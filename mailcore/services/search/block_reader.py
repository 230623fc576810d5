"""Reads the texts of a mailbox a range of UIDs at a time: from memory, from stored blocks, or from the messages."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from mailcore.errors import MessageNotFound, StoreDamaged, Unavailable
from mailcore.message.headers import find_all
from mailcore.message.text import normalize
from mailcore.model.ids import MailboxId
from mailcore.services.content.content import BODIES_PER_READ, ContentStore
from mailcore.services.process.offload import Offload
from mailcore.services.search.text_blocks import (
    OPAQUE_FIELDS,
    RANGE_UIDS,
    BlockText,
    TextBlock,
    block_text,
    merge,
    range_key,
)
from mailcore.store.mailbox.blocks import BlockKind
from mailcore.store.mailbox.view import MailboxView
from mailcore.store.placement import Home

log = logging.getLogger(__name__)

Rows = npt.NDArray[np.int64]

BLOCKS_PER_READ: Final = 4
FEW: Final = 16
"""So few messages are read one by one rather than with their block."""
UNPACKED: Final = 64
"""So many messages of a range may be missing in its block before it is written anew."""
UNPACKED_BYTES: Final = 64 << 20
"""So much text stays in the memory of a process."""


class UnpackedBlocks:
    """Blocks that were read lately, as many as UNPACKED_BYTES hold; what one lacks is read besides."""

    def __init__(self) -> None:
        self._blocks: OrderedDict[tuple[MailboxId, int], TextBlock] = OrderedDict()
        self._size = 0

    def get(self, mailbox_id: MailboxId, number: int) -> TextBlock | None:
        """Return a block that is still here."""
        block = self._blocks.get((mailbox_id, number))
        if block is not None:
            self._blocks.move_to_end((mailbox_id, number))
        return block

    def put(self, mailbox_id: MailboxId, number: int, block: TextBlock) -> None:
        """Keep a block, and let go of those that were not asked for the longest."""
        before = self._blocks.pop((mailbox_id, number), None)
        if before is not None:
            self._size -= before.size_bytes
        self._blocks[mailbox_id, number] = block
        self._size += block.size_bytes
        while self._size > UNPACKED_BYTES:
            self._size -= self._blocks.popitem(last=False)[1].size_bytes


class BlockReader:
    """Texts of a mailbox, a range of UIDs at a time; keeps the last one and what was read ahead."""

    def __init__(
        self,
        home: Home,
        view: MailboxView,
        content: ContentStore,
        offload: Offload,
        unpacked: UnpackedBlocks,
        ranges: Sequence[int],
    ) -> None:
        self._home = home
        self._view = view
        self._content = content
        self._offload = offload
        self._unpacked = unpacked
        self._ranges = list(ranges)
        self._ahead: dict[int, bytes] = {}
        self._number = -1
        self._blocks: list[TextBlock] = []
        self._tried = np.empty(0, np.uint32)

    # -- questions ------------------------------------------------------------------------------

    def in_field(self, rows: Rows, name: str, needle: bytes) -> Rows:
        """Return the rows with a field of that name that contains the needle."""
        field = name.lower().encode("utf-8", "replace")
        if field in OPAQUE_FIELDS:
            return self._in_opaque_field(rows, field, needle)
        return self._ask(rows, lambda block: block.field_contains(field, needle))

    def in_header(self, rows: Rows, needle: bytes) -> Rows:
        """Return the rows whose header contains the needle."""
        return self._ask(rows, lambda block: block.header_contains(needle))

    def in_body(self, rows: Rows, needle: bytes) -> Rows:
        """Return the rows whose body contains the needle; bodies too long for a block are read whole."""
        hits = self._ask(rows, lambda block: block.body_contains(needle))
        if not any(block.cut.any() for block in self._blocks):
            return hits
        rest = np.setdiff1d(rows, hits, assume_unique=True)
        more = [row for row in self._ask(rest, lambda block: block.cut).tolist() if needle in self._whole_body(row)]
        return np.sort(np.concatenate((hits, np.array(more, np.int64))))

    def _ask(self, rows: Rows, question: Callable[[TextBlock], npt.NDArray[np.bool_]]) -> Rows:
        """Return the rows for which a block says yes."""
        if not len(rows):
            return rows
        self._load(rows)
        self._offload.pause()
        uids = self._view.uids[rows]
        hit = np.zeros(len(rows), np.bool_)
        for block in self._blocks:
            hit |= np.isin(uids, block.uids[question(block)], assume_unique=True)
        return rows[hit]

    def _whole_body(self, row: int) -> bytes:
        try:
            text = self._content.whole_text(self._home.user_id, self._view.message_oid(row))
        except MessageNotFound:
            return b""
        self._offload.pause()
        return normalize(text).encode("utf-8", "replace")

    def _in_opaque_field(self, rows: Rows, field: bytes, needle: bytes) -> Rows:
        """Look into fields that blocks leave out, in the messages themselves: 50 at a time are in memory."""
        hits: list[int] = []
        for start in range(0, len(rows), BODIES_PER_READ):
            hits += self._with_opaque_field(rows[start : start + BODIES_PER_READ].tolist(), field, needle)
        return np.array(hits, np.int64)

    def _with_opaque_field(self, rows: Sequence[int], field: bytes, needle: bytes) -> list[int]:
        texts = self._content.texts(self._home.user_id, [self._view.message_oid(row) for row in rows])
        hits = []
        for row in rows:
            searchable = texts.get(self._view.message_oid(row))
            if searchable is not None and any(
                needle in normalize(value.decode("utf-8", "replace")).encode("utf-8", "replace")
                for value in find_all(searchable.header, field)
            ):
                hits.append(row)
        return hits

    # -- reading --------------------------------------------------------------------------------

    def _load(self, rows: Rows) -> None:
        """Have the texts of `rows`, which are all of one range, in `_blocks`."""
        number = int(self._view.uids[rows[0]]) // RANGE_UIDS
        if number != self._number:
            self._number = number
            block = self._unpacked.get(self._view.mailbox_id, number) or self._stored(number)
            self._blocks = [block] if block is not None else []
            self._tried = np.empty(0, np.uint32)
        wanted = self._missing(rows)
        if not len(wanted):
            return
        low, high = np.searchsorted(self._view.uids, [number * RANGE_UIDS, (number + 1) * RANGE_UIDS])
        missing = self._missing(np.arange(int(low), int(high), dtype=np.int64))
        if len(wanted) <= FEW or len(missing) <= UNPACKED:
            self._blocks.append(self._read(wanted))
            return
        self._blocks.append(self._read(missing))
        self._write(number, self._view.uids[int(low) : int(high)])

    def _missing(self, rows: Rows) -> Rows:
        known = self._tried
        uids = self._view.uids[rows]
        for block in self._blocks:
            known = np.union1d(known, block.uids)
        return rows[~np.isin(uids, known, assume_unique=True)]

    def _stored(self, number: int) -> TextBlock | None:
        """Return the stored block of a range; reads the next ones along."""
        if number not in self._ahead:
            place = self._ranges.index(number)
            wanted = self._ranges[place : place + BLOCKS_PER_READ]
            found = self._home.shard.blocks.get_many(
                self._home.user_id,
                self._view.mailbox_id,
                [range_key(wanted_number) for wanted_number in wanted],
                BlockKind.TEXT,
            )
            self._ahead = {wanted_number: found.get(range_key(wanted_number), b"") for wanted_number in wanted}
        stored = self._ahead.pop(number)
        if not stored:
            return None
        try:
            block = TextBlock.unpack(stored)
        except StoreDamaged:
            log.warning("search.block.damaged", extra={"mailbox_id": str(self._view.mailbox_id), "range": number})
            return None
        self._unpacked.put(self._view.mailbox_id, number, block)
        return block

    def _read(self, rows: Rows) -> TextBlock:
        """Return the texts of rows from their messages; a message that is gone matches nothing."""
        oids = [self._view.message_oid(row) for row in rows.tolist()]
        texts: dict[bytes, BlockText] = {}
        for start in range(0, len(oids), BODIES_PER_READ):
            batch = oids[start : start + BODIES_PER_READ]
            for oid, searchable in self._content.texts(self._home.user_id, batch).items():
                texts[oid] = block_text(searchable)
            self._offload.pause()
        uids = self._view.uids[rows]
        self._tried = np.union1d(self._tried, uids)
        return TextBlock.of((uid, texts[oid]) for uid, oid in zip(uids.tolist(), oids, strict=True) if oid in texts)

    def _write(self, number: int, live: npt.NDArray[np.uint32]) -> None:
        """Store the block of a range for later searches; a cache, so failing is no fault."""
        block = merge(self._blocks, live)
        if len(self._blocks) > 1 and len(block.uids) <= len(self._blocks[0].uids):
            return  # full: what does not fit is read each time
        self._unpacked.put(self._view.mailbox_id, number, block)
        try:
            self._home.shard.blocks.put(
                self._home.user_id, self._view.mailbox_id, range_key(number), BlockKind.TEXT, block.pack()
            )
        except Unavailable as error:
            log.info("search.block.not_stored", extra={"reason": type(error).__name__})
