"""Rows of a mailbox as columns: one array for each field, never an object for each message."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from mailcore.store.mailbox.packed import Array

COLUMNS: Final = (
    ("uids", np.dtype("<u4"), ()),
    ("flags", np.dtype("<u8"), ()),
    ("modseqs", np.dtype("<u8"), ()),
    ("sizes", np.dtype("<u4"), ()),
    ("internal_dates", np.dtype("<i8"), ()),
    ("saved_dates", np.dtype("<i8"), ()),
    ("header_dates", np.dtype("<i8"), ()),
    ("threads", np.dtype("<u8"), ()),
    ("message_oids", np.dtype("u1"), (12,)),
)
ROW_BYTES: Final = sum(dtype.itemsize * int(np.prod(shape)) for _, dtype, shape in COLUMNS)
UIDS, FLAGS, MODSEQS, SIZES = 0, 1, 2, 3
_FEW: Final = 256


@dataclass(frozen=True, slots=True)
class Columns:
    """The fields of rows in the order of their UIDs, all of one length."""

    uids: Array
    flags: Array
    modseqs: Array
    sizes: Array
    internal_dates: Array
    saved_dates: Array
    header_dates: Array
    threads: Array
    message_oids: Array

    def __len__(self) -> int:
        return len(self.uids)

    def arrays(self) -> tuple[Array, ...]:
        """Return the columns in the order of `COLUMNS`."""
        return (
            self.uids, self.flags, self.modseqs, self.sizes, self.internal_dates, self.saved_dates,
            self.header_dates, self.threads, self.message_oids,
        )  # fmt: skip

    def take(self, rows: Array | slice) -> Columns:
        """Return some of the rows: by slice, indexes or mask."""
        return Columns(*(array[rows] for array in self.arrays()))

    @classmethod
    def concatenate(cls, parts: Sequence[Columns]) -> Columns:
        """Return the rows of several, in order."""
        if not parts:
            return EMPTY
        if len(parts) == 1:
            return parts[0]
        return cls(*(np.concatenate(arrays) for arrays in zip(*(part.arrays() for part in parts), strict=True)))


EMPTY: Final = Columns(*(np.empty((0, *shape), dtype) for _, dtype, shape in COLUMNS))


class GrowingColumn:
    """A column with room behind its end, shared by all views that begin with the same values.

    Only the view that ends where the values end may extend it in place; any other gets a copy.
    """

    __slots__ = ("_shown", "buffer", "used")

    def __init__(self, buffer: Array, used: int) -> None:
        self.buffer = buffer
        self.used = used
        self._shown: Array | None = None

    @classmethod
    def of(cls, values: Array, room: int) -> GrowingColumn:
        """Return a copy of `values` with room for `room` more."""
        buffer = np.empty((len(values) + room, *values.shape[1:]), values.dtype)
        buffer[: len(values)] = values
        return cls(buffer, len(values))

    def first(self, count: int) -> Array:
        """Return the first `count` values, for reading only.

        It is one and the same array while the count is: whoever holds it sees that nothing has changed.
        """
        if self._shown is None or len(self._shown) != count:
            self._shown = self.buffer[:count]
            self._shown.flags.writeable = False
        return self._shown

    def extended(self, count: int, more: Array) -> GrowingColumn:
        """Return a column that has `more` behind its first `count` values."""
        end = count + len(more)
        if self.used != count or end > len(self.buffer):
            grown = GrowingColumn.of(self.buffer[:count], len(more) + max(16, count // 8))
            return grown.extended(count, more)
        self.buffer[count:end] = more
        self.used = end
        return self

    def without(self, count: int, dead: Array) -> GrowingColumn:
        """Return a copy of the first `count` values without those at the ascending indexes `dead`."""
        values = self.buffer[:count]
        if len(dead) > _FEW:
            alive = np.ones(count, np.bool_)
            alive[dead] = False
            if values.ndim == 1:
                return GrowingColumn.of(values[alive], 16)
            whole = values.view(np.dtype((np.void, values.shape[1]))).reshape(-1)
            return GrowingColumn.of(whole[alive].view(values.dtype).reshape(-1, values.shape[1]), 16)
        left = count - len(dead)
        buffer = np.empty((left + 16 + left // 64, *values.shape[1:]), values.dtype)
        start = at = 0
        for gap in (*dead.tolist(), count):
            buffer[at : at + gap - start] = values[start:gap]
            at += gap - start
            start = gap + 1
        return GrowingColumn(buffer, left)


def growing(columns: Columns, room: int = 16) -> tuple[GrowingColumn, ...]:
    """Return columns that can grow."""
    return tuple(GrowingColumn.of(array, room) for array in columns.arrays())


def fixed(parts: Sequence[GrowingColumn], count: int) -> Columns:
    """Return the first `count` rows, for reading only."""
    return Columns(*(part.first(count) for part in parts))
