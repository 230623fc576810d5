"""Blocks of what many messages of a mailbox have in common: in memory, in the store, or made from the messages."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Generic, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from mailcore.errors import StoreDamaged, Unavailable
from mailcore.model.ids import MailboxId, UserId
from mailcore.services.process.offload import Offload
from mailcore.services.search.text_blocks import RANGE_UIDS, range_key
from mailcore.store.mailbox.blocks import BlockKind
from mailcore.store.mailbox.view import MailboxView
from mailcore.store.placement import Placement

log = logging.getLogger(__name__)

Rows = npt.NDArray[np.int64]
Uids = npt.NDArray[np.uint32]

UNPACKED: Final = 64
"""So many messages of a range may be missing in its stored block before that is written anew."""
BLOCKS_PER_READ: Final = 16
MEMORY_BYTES: Final = 64 << 20


class Block(Protocol):
    """What is kept of the messages of one range of UIDs."""

    uids: Uids

    @property
    def size_bytes(self) -> int:
        """About how much memory it takes."""

    def pack(self) -> bytes:
        """Return the stored form."""


B = TypeVar("B", bound=Block)


@dataclass(frozen=True, slots=True)
class Making(Generic[B]):
    """How blocks of one kind come about.

    Attributes:
        empty: makes a block of no message.
        unpack: reads the stored form, or raises StoreDamaged.
        made: makes a block of rows from their messages.
        joined: makes one of two that have no message in common.
    """

    kind: BlockKind
    empty: Callable[[], B]
    unpack: Callable[[bytes], B]
    made: Callable[[UserId, MailboxView, Rows], B]
    joined: Callable[[B, B], B]


class RangeBlocks(Generic[B]):
    """Blocks of one kind of all mailboxes that were asked for lately."""

    def __init__(self, placement: Placement, offload: Offload, making: Making[B]) -> None:
        self._placement = placement
        self._offload = offload
        self._making = making
        self._kept: OrderedDict[tuple[MailboxId, int], B] = OrderedDict()
        self._size = 0

    def blocks(self, user_id: UserId, view: MailboxView, rows: Rows) -> Iterator[tuple[Rows, B, Rows]]:
        """Yield for each range of UIDs its rows, their block, and where in that they are.

        `rows` ascend. One round trip for each 16 blocks of 1024 UIDs that are not in memory, and one for
        each 500 messages in no block yet.

        Raises:
            StoreUnavailable: what is not in memory cannot be read now.
        """
        numbers = (view.uids[rows] // RANGE_UIDS).astype(np.int64)
        starts = np.flatnonzero(np.diff(numbers, prepend=-1))
        bounds = [*starts.tolist(), len(rows)]
        wanted = [int(numbers[start]) for start in starts]
        ahead: dict[int, B] = {}
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

    def _stored(self, user_id: UserId, view: MailboxView, numbers: list[int]) -> dict[int, B]:
        """Return the blocks of ranges, empty ones for those never stored."""
        blocks = self._placement.home(user_id).shard.blocks
        stored = blocks.get_many(user_id, view.mailbox_id, list(map(range_key, numbers)), self._making.kind)
        found = {}
        for number in numbers:
            found[number] = self._making.empty()
            try:
                if range_key(number) in stored:
                    found[number] = self._making.unpack(stored[range_key(number)])
            except StoreDamaged:
                log.warning("block.damaged", extra={"mailbox_id": str(view.mailbox_id), "range": number})
        return found

    def _completed(self, user_id: UserId, view: MailboxView, number: int, block: B) -> B:
        """Return the block with all messages of its range; store it if it lacked many."""
        low, high = np.searchsorted(view.uids, [number * RANGE_UIDS, (number + 1) * RANGE_UIDS]).tolist()
        uids = view.uids[low:high]
        missing = np.flatnonzero(~np.isin(uids, block.uids, assume_unique=True)) + low
        if not len(missing):
            return block
        block = self._making.joined(block, self._making.made(user_id, view, missing))
        if len(missing) > UNPACKED:
            try:
                self._placement.home(user_id).shard.blocks.put(
                    user_id, view.mailbox_id, range_key(number), self._making.kind, block.pack()
                )
            except Unavailable as error:  # a cache: it is made again
                log.info("block.not_stored", extra={"reason": type(error).__name__})
        return block

    def _keep(self, mailbox_id: MailboxId, number: int, block: B) -> None:
        """Keep a block in memory, and let go of those that were not asked for the longest."""
        before = self._kept.pop((mailbox_id, number), None)
        if before is not None:
            self._size -= before.size_bytes
        self._kept[mailbox_id, number] = block
        self._size += block.size_bytes
        while self._size > MEMORY_BYTES and len(self._kept) > 1:
            self._size -= self._kept.popitem(last=False)[1].size_bytes
