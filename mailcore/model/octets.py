"""Bytes of a message as those see them who look through it: in memory, or in a file where they are many."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Protocol, SupportsIndex, overload

PIECE_BYTES: Final = 1 << 20
"""So much of what does not lie in memory is looked at at once."""


class Sliced(Protocol):
    """Of what a range can be had."""

    def __len__(self) -> int: ...

    def __getitem__(self, wanted: slice, /) -> bytes: ...


class Octets(Protocol):
    """What `bytes` can do, as far as reading a message needs it."""

    def __len__(self) -> int: ...

    @overload
    def __getitem__(self, wanted: SupportsIndex, /) -> int: ...

    @overload
    def __getitem__(self, wanted: slice, /) -> bytes: ...

    def find(self, wanted: bytes, start: int = ..., end: int = ..., /) -> int:
        """Return the offset of the first occurrence that lies within a range, -1 if there is none."""
        ...

    def count(self, wanted: bytes, start: int = ..., end: int = ..., /) -> int:
        """Return how often something of one byte occurs within a range."""
        ...


def pieces(data: Sliced | Octets) -> Iterator[bytes]:
    """Yield all of it in order: what is in memory at once, anything else piece by piece."""
    if isinstance(data, bytes):
        yield data
        return
    for start in range(0, len(data), PIECE_BYTES):
        yield data[start : start + PIECE_BYTES]
