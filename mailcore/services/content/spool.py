"""Large data on its way: kept in an unnamed file, so that a process holds a small part of it at any moment."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable
from typing import Final, SupportsIndex, overload

from mailcore.errors import MessageTooLarge
from mailcore.model.octets import Octets

MEMORY_BYTES: Final = 1 << 20
"""Data up to this size is kept in memory."""
WINDOW_BYTES: Final = 512 * 1024
LOOK_BACK_BYTES: Final = 8 * 1024
"""What is looked for often begins a little before what was looked at last."""


class Spool:
    """Reads like `bytes` (`Octets`), out of a file that is gone when nobody refers to it; one thread at a time."""

    __slots__ = ("_file", "_size", "_start", "_window")

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115  it lives as long as this
        self._size = 0
        self._start = 0
        self._window = b""

    def write(self, data: bytes) -> None:
        """Add to the end."""
        view = memoryview(data)
        while view:
            written = os.write(self._file.fileno(), view)
            self._size += written
            view = view[written:]
        self._window = b""

    def __len__(self) -> int:
        return self._size

    @overload
    def __getitem__(self, wanted: SupportsIndex, /) -> int: ...

    @overload
    def __getitem__(self, wanted: slice, /) -> bytes: ...

    def __getitem__(self, wanted: SupportsIndex | slice, /) -> int | bytes:
        if isinstance(wanted, slice):
            start, end, _ = wanted.indices(self._size)
            return self._read(start, end)
        at = range(self._size)[wanted]
        self._look_at(at, 1)
        return self._window[at - self._start]

    def find(self, wanted: bytes, start: int = 0, end: int | None = None, /) -> int:
        """As `bytes.find`."""
        start, end, _ = slice(start, end).indices(self._size)
        while start + len(wanted) <= end:
            self._look_at(start, len(wanted))
            found = self._window.find(wanted, start - self._start, end - self._start)
            if found >= 0:
                return self._start + found
            start = max(start + 1, self._start + len(self._window) - len(wanted) + 1)
        return -1

    def count(self, wanted: bytes, start: int = 0, end: int | None = None, /) -> int:
        """As `bytes.count`, of one byte."""
        start, end, _ = slice(start, end).indices(self._size)
        return sum(self._read(at, min(at + WINDOW_BYTES, end)).count(wanted) for at in range(start, end, WINDOW_BYTES))

    def _read(self, start: int, end: int) -> bytes:
        """Return a range; what is missing of the file is a fault of the disk."""
        if start >= end:
            return b""
        if self._start <= start and end <= self._start + len(self._window):
            return self._window[start - self._start : end - self._start]
        found = os.pread(self._file.fileno(), end - start, start)
        while len(found) < end - start:  # a signal came in between, or the disk is at fault
            piece = os.pread(self._file.fileno(), end - start - len(found), start + len(found))
            if not piece:
                raise OSError("a spooled file has become shorter")
            found += piece
        return found

    def _look_at(self, start: int, size: int) -> None:
        """Have a window that holds what begins at `start`."""
        if self._start <= start and min(start + size, self._size) <= self._start + len(self._window):
            return
        self._window = b""
        self._start = max(0, start - LOOK_BACK_BYTES)
        self._window = self._read(self._start, min(self._start + max(WINDOW_BYTES, 2 * size), self._size))


def gathered(pieces: Iterable[bytes], most: int, pause: Callable[[], None] = lambda: None) -> Octets:
    """Return all pieces as one: in memory if they are few, else in a file.

    Args:
        pieces: in order.
        most: bytes that there may be.
        pause: lets others run; called now and then.

    Raises:
        MessageTooLarge: there are more.
    """
    held: list[bytes] = []
    size = 0
    spool: Spool | None = None
    for piece in pieces:
        size += len(piece)
        if size > most:
            raise MessageTooLarge(f"more than {most} bytes")
        if spool is None and size > MEMORY_BYTES:
            spool = Spool()
            spool.write(b"".join(held))
            held.clear()
        if spool is None:
            held.append(piece)
        else:
            spool.write(piece)
            pause()
    return b"".join(held) if spool is None else spool
