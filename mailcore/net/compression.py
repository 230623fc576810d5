"""A compressed byte stream (RFC 1951, as RFC 4978 uses it), with bounds on what input may become and on memory.

Output has no state: each write is deflated by itself up to a sync flush, so a waiting connection
holds no compressor, and nothing in one response can be guessed from the length of another. Input
needs the last 32 KiB it stood for; while nothing is half said only those are kept, packed.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Final

PIECE_BYTES: Final = 64 * 1024
"""Input is handed on in pieces of at most this."""
FREE_BYTES: Final = 4 << 20
MAX_RATIO: Final = 100
"""Beyond FREE_BYTES input may stand for so many times its own size; mail hardly ever exceeds 20."""
WINDOW_BYTES: Final = 32 * 1024
_SMALL_BYTES: Final = 4096
_PACK_BYTES: Final = 1024
_FLUSHED: Final = b"\x00\x00\xff\xff"
"""What a sync flush ends in: the next block begins on a byte."""


class StreamRefused(Exception):
    """Input is no deflate stream, ends one, or expands too much."""


def deflate(data: bytes) -> bytes:
    """Return `data` compressed so that the other side can read all of it now."""
    small = len(data) <= _SMALL_BYTES
    compressor = zlib.compressobj(1, zlib.DEFLATED, -12 if small else -15, 5 if small else 8)
    return compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH)


class Inflater:
    """What one connection sends, inflated."""

    __slots__ = ("_history", "_inflated", "_packed", "_received", "_state", "_tail")

    def __init__(self) -> None:
        self._state: zlib._Decompress | None = None
        self._history = b""
        self._packed = False
        self._tail = b""
        self._received = 0
        self._inflated = 0

    @property
    def is_at_rest(self) -> bool:
        """Whether only the history is held."""
        return self._state is None

    def inflate(self, data: bytes) -> Iterator[bytes]:
        """Yield what `data` stands for, as far as it can be told now.

        Raises:
            StreamRefused: it is not to be read any further.
        """
        state = self._awake()
        self._received += len(data)
        self._tail = (self._tail + data)[-len(_FLUSHED) :]
        more = True
        while more:
            try:
                piece = state.decompress(data, PIECE_BYTES)
            except zlib.error as error:
                raise StreamRefused(str(error)) from None
            data = state.unconsumed_tail
            more = bool(data) or len(piece) == PIECE_BYTES
            self._inflated += len(piece)
            if self._inflated > FREE_BYTES + MAX_RATIO * self._received:
                raise StreamRefused("expands too much")
            self._history = (self._history + piece)[-WINDOW_BYTES:]
            if piece:
                yield piece
            if state.eof:
                raise StreamRefused("ended by the client")

    def rest(self) -> None:
        """Let go of the inflater if its input ends in a sync flush; call only while nothing is half said."""
        if self._state is not None and self._tail == _FLUSHED:
            self._state = None
            if len(self._history) > _PACK_BYTES:
                self._history, self._packed = zlib.compress(self._history, 1), True

    def _awake(self) -> zlib._Decompress:
        if self._state is None:
            if self._packed:
                self._history, self._packed = zlib.decompress(self._history), False
            self._state = zlib.decompressobj(-15, self._history) if self._history else zlib.decompressobj(-15)
        return self._state
