"""Reads what SORT and THREAD compare, for many rows of a mailbox at once."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

from mailcore.errors import StoreDamaged, Unavailable
from mailcore.message.sorting import sort_and_thread_fields
from mailcore.model.ids import MailboxId, UserId
from mailcore.services.content import ContentStore
from mailcore.services.offload import Offload
from mailcore.services.sort_blocks import SortBlock
from mailcore.services.text_blocks import RANGE_UIDS, range_key
from mailcore.store.mailbox.blocks import BlockKind
from mailcore.store.mailbox.view import MailboxView
from mailcore.store.placement import Placement

log = logging.getLogger(__name__)

Rows = npt.NDArray[np.int64]

UNPACKED: Final = 64
"""So many messages of a range may be missing in its stored block before that is written anew."""
BLOCKS_PER_READ: Final = 16
MEMORY_BYTES: Final = 64 << 20
ITEMS_BETWEEN_PAUSES: Final = 100


class SortColumns:
    """Sort blocks of mailboxes: from memory, from the store, or made from the messages' headers."""

    def __init__(self, placement: Placement, content: ContentStore, offload: Offload) -> None:
        self._placement = placement
        self._content = content
        self._offload = offload
        self._kept: OrderedDict[tuple[MailboxId, int], SortBlock] = OrderedDict()
        self._size = 0

    def blocks(self, user_id: UserId, view: MailboxView, rows: Rows) -> Iterator[tuple[Rows, SortBlock, Rows]]:
        """Yield for each range of UIDs its rows, their block, and where in that they are.

        `rows` ascend. A message that is gone counts as one without fields. One round trip for each
        16 blocks of 1024 UIDs that are not in memory, and one for each 500 messages in no block yet.

        Raises:
            StoreUnavailable: what is not in memory cannot be read now.
        """
        numbers = (view.uids[rows] // RANGE_UIDS).astype(np.int64)
        starts = np.flatnonzero(np.diff(numbers, prepend=-1))
        bounds = [*starts.tolist(), len(rows)]
        wanted = [int(numbers[start]) for start in starts]
        ahead: dict[int, SortBlock] = {}
        for place, number in enumerate(wanted):
            part = rows[bounds[place] : bounds[place + 1]]
            block = self._kept.get((view.mailbox_id, number))
            if block is None and number not in ahead:
                ahead.update(self._stored(user_id, view, wanted[place : place + BLOCKS_PER_READ]))
            block = block or ahead.pop(number)
            block = self._completed(user_id, view, number, block)
            self._keep(view.mailbox_id, number, block)
            yield part, block, np.searchsorted(block.uids, view.uids[part])
            self._offload.pause()

    def _stored(self, user_id: UserId, view: MailboxView, numbers: list[int]) -> dict[int, SortBlock]:
        """Return the blocks of ranges, empty ones for those never stored."""
        blocks = self._placement.home(user_id).shard.blocks
        stored = blocks.get_many(user_id, view.mailbox_id, list(map(range_key, numbers)), BlockKind.LISTING)
        found = {}
        for number in numbers:
            found[number] = SortBlock.of([])
            try:
                if range_key(number) in stored:
                    found[number] = SortBlock.unpack(stored[range_key(number)])
            except StoreDamaged:
                log.warning("sort.block.damaged", extra={"mailbox_id": str(view.mailbox_id), "range": number})
        return found

    def _completed(self, user_id: UserId, view: MailboxView, number: int, block: SortBlock) -> SortBlock:
        """Return the block with all messages of its range; store it if it lacked many."""
        low, high = np.searchsorted(view.uids, [number * RANGE_UIDS, (number + 1) * RANGE_UIDS]).tolist()
        uids = view.uids[low:high]
        missing = np.flatnonzero(~np.isin(uids, block.uids, assume_unique=True)) + low
        if not len(missing):
            return block
        block = block.joined(self._made(user_id, view, missing))
        if len(missing) > UNPACKED:
            try:
                self._placement.home(user_id).shard.blocks.put(
                    user_id, view.mailbox_id, range_key(number), BlockKind.LISTING, block.pack()
                )
            except Unavailable as error:  # a cache: it is made again
                log.info("sort.block.not_stored", extra={"reason": type(error).__name__})
        return block

    def _made(self, user_id: UserId, view: MailboxView, rows: Rows) -> SortBlock:
        """Return a block of rows from the headers of their messages."""
        oids = [view.message_oid(row) for row in rows.tolist()]
        items = self._content.items(user_id, oids)
        large = [oid for oid in oids if oid in items and items[oid].light_headers is None]
        whole = self._content.texts(user_id, large) if large else {}
        entries = []
        for index, (uid, oid) in enumerate(zip(view.uids[rows].tolist(), oids, strict=True)):
            header = items[oid].light_headers if oid in items else b""
            if header is None:
                header = whole[oid].header if oid in whole else b""
            entries.append((uid, *sort_and_thread_fields(header)))
            if index % ITEMS_BETWEEN_PAUSES == 0:
                self._offload.pause()
        return SortBlock.of(entries)

    def _keep(self, mailbox_id: MailboxId, number: int, block: SortBlock) -> None:
        """Keep a block in memory, and let go of those that were not asked for the longest."""
        before = self._kept.pop((mailbox_id, number), None)
        if before is not None:
            self._size -= before.size_bytes
        self._kept[mailbox_id, number] = block
        self._size += block.size_bytes
        while self._size > MEMORY_BYTES and len(self._kept) > 1:
            self._size -= self._kept.popitem(last=False)[1].size_bytes
