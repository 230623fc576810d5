"""Summary blocks: of each message of a range of UIDs the JSON that lists show of it; a cache like text blocks.

Format 1, sealed: count; per message UID (4) and length (4); then the JSON objects one behind another.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from mailcore.errors import StoreDamaged
from mailcore.store.mailbox.packed import seal, unseal

MAX_BYTES: Final = 1800 << 10
"""A stored block is below 2 MB even where nothing of it compresses; what is beyond is made again each time."""
_COUNT: Final = struct.Struct("<I")
_ROW_BYTES: Final = 8

Uids = npt.NDArray[np.uint32]


class SummaryBlock:
    """Summaries in the order of their UIDs."""

    __slots__ = ("size_bytes", "summaries", "uids")

    def __init__(self, uids: Uids, summaries: Sequence[bytes]) -> None:
        self.uids = uids
        self.summaries = summaries
        self.size_bytes = 1024 + sum(map(len, summaries)) + 64 * len(summaries)

    @classmethod
    def of(cls, entries: Iterable[tuple[int, bytes]]) -> SummaryBlock:
        """Build from entries in any order."""
        ordered = sorted(entries)
        return cls(np.array([uid for uid, _ in ordered], np.uint32), [text for _, text in ordered])

    def joined(self, other: SummaryBlock) -> SummaryBlock:
        """Return a block of the messages of both; none is in both."""
        mine = zip(self.uids.tolist(), self.summaries, strict=True)
        return SummaryBlock.of([*mine, *zip(other.uids.tolist(), other.summaries, strict=True)])

    def pack(self) -> bytes:
        """Return the stored form, without the last messages where all would be too many."""
        lengths = np.array([len(text) for text in self.summaries], np.uint32)
        count = int(np.searchsorted(np.cumsum(lengths, dtype=np.int64), MAX_BYTES, "right"))
        return seal(
            b"".join(
                (
                    _COUNT.pack(count),
                    self.uids[:count].astype("<u4").tobytes(),
                    lengths[:count].astype("<u4").tobytes(),
                    *self.summaries[:count],
                )
            )
        )

    @classmethod
    def unpack(cls, stored: bytes) -> SummaryBlock:
        """Return the block that `pack` wrote.

        Raises:
            StoreDamaged: another version, or damaged.
        """
        data = unseal(stored)
        count = _COUNT.unpack_from(data)[0] if len(data) >= _COUNT.size else -1
        start = _COUNT.size + count * _ROW_BYTES
        if count < 0 or len(data) < start:
            raise StoreDamaged("summary block")
        uids = np.frombuffer(data, "<u4", count, _COUNT.size)
        ends = start + np.cumsum(np.frombuffer(data, "<u4", count, _COUNT.size + count * 4), dtype=np.int64)
        if count and int(ends[-1]) != len(data):
            raise StoreDamaged("summary block")
        bounds = [start, *ends.tolist()]
        return cls(uids, [data[bounds[index] : bounds[index + 1]] for index in range(count)])
