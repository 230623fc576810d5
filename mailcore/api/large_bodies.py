"""Bodies of requests that are too large to be held: spooled, and long strings taken out of JSON before it is read."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterator
from io import RawIOBase
from typing import IO, Any, BinaryIO, Final, cast

import orjson
from werkzeug.wrappers import Request

from mailcore.api.errors import ApiError
from mailcore.model.octets import Octets
from mailcore.services.content.spool import Spool, gathered

RECEIVE_BYTES: Final = 64 * 1024
HELD_BYTES: Final = 1 << 20
"""A body of JSON up to this size is read as it is."""
LONG_STRING_BYTES: Final = 64 * 1024
SKELETON_BYTES: Final = 16 << 20
"""So much of a large body may be other than long strings."""
DEEPEST: Final = 100
"""Objects and arrays within one another: far more than any operation takes."""
KEPT_APART: Final = frozenset({"content", "raw"})
"""Fields whose long strings stay where they are: their operations take them piece by piece."""
_ESCAPE_BYTES: Final = 12
"""Of a surrogate pair, the longest of what must not be cut."""
_ENDS: Final = re.compile(rb'["\\]')


def body_of(request: Request, most: int, pause: Callable[[], None]) -> Octets:
    """Return the bytes of a body.

    Raises:
        ApiError: there are more than `most`.
    """
    _check_length(request, most)
    return gathered(received(request.stream, most), most, pause)


def beginning_of(request: Request, size: int) -> bytes:
    """Return up to `size` bytes of a body; whoever reads it reads them again.

    Raises:
        ApiError: it stops in the middle.
    """
    stream = request.stream
    first = b""
    while len(first) < size and (piece := _read(stream, size - len(first))):
        first += piece
    request.stream = cast("IO[bytes]", _PutBack(first, stream))
    return first


class _PutBack(RawIOBase):
    """A body of which the beginning was read already."""

    def __init__(self, first: bytes, rest: BinaryIO | Any) -> None:
        super().__init__()
        self._first = first
        self._rest = rest

    def readable(self) -> bool:
        """Say so."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer with what comes next."""
        piece = self._first[: len(buffer)] or self._rest.read(len(buffer))
        self._first = self._first[len(buffer) :]
        buffer[: len(piece)] = piece
        return len(piece)


def received(stream: BinaryIO | Any, most: int) -> Iterator[bytes]:
    """Yield what comes, as it comes.

    Raises:
        ApiError: more than `most`, or it stops in the middle.
    """
    size = 0
    while piece := _read(stream):
        size += len(piece)
        if size > most:
            raise _too_large(most)
        yield piece


def _read(stream: BinaryIO | Any, most: int = RECEIVE_BYTES) -> bytes:
    try:
        return bytes(stream.read(most))
    except OSError:
        raise ApiError(408, "RequestTimeout", "The body ended before its end") from None


def is_large(request: Request) -> bool:
    """Whether the body is not simply read; one whose length is not said might be anything."""
    return request.content_length is None or request.content_length > HELD_BYTES


def large_json(request: Request, most: int, pause: Callable[[], None]) -> Any:
    """Return what a large JSON body says; long strings of the fields `KEPT_APART` are spools of their UTF-8.

    Raises:
        ApiError: it is too large.
        orjson.JSONDecodeError: it is no JSON.
    """
    _check_length(request, most)
    splitter = _Splitter()
    for piece in received(request.stream, most):
        splitter.feed(piece)
        pause()
    return splitter.result()


class _Splitter:
    """Goes through JSON once, and puts a mark in the place of every long string."""

    def __init__(self) -> None:
        self._skeleton = bytearray()
        self._mark = secrets.token_hex(16)
        """Nobody who writes a body knows it."""
        self._strings: list[Spool] = []
        self._in_string = False
        self._is_escaped = False
        self._string = bytearray()
        self._spool: Spool | None = None

    def feed(self, piece: bytes) -> None:
        """Take the next bytes."""
        at = 0
        while at < len(piece):
            at = self._within(piece, at) if self._in_string else self._outside(piece, at)

    def result(self) -> Any:
        """Return the object; an empty one for nothing.

        Raises:
            orjson.JSONDecodeError: it is none.
        """
        if self._in_string:
            raise orjson.JSONDecodeError("a string does not end", "", 0)
        skeleton = bytes(self._skeleton)
        return self._put_back(orjson.loads(skeleton), "") if skeleton.strip() else {}

    def _outside(self, piece: bytes, at: int) -> int:
        quote = piece.find(b'"', at)
        end = len(piece) if quote < 0 else quote
        self._skeleton += piece[at:end]
        if quote >= 0:
            self._in_string = True
        self._check_room()
        return end + 1

    def _within(self, piece: bytes, at: int) -> int:
        start = at
        while at < len(piece):
            if self._is_escaped:
                self._is_escaped = False
                at += 1
                continue
            found = _ENDS.search(piece, at)
            if found is None:
                at = len(piece)
                break
            at = found.end()
            if found[0] == b'"':
                self._take(piece[start : at - 1])
                self._end_string()
                return at
            self._is_escaped = True
        self._take(piece[start:at])
        return at

    def _take(self, part: bytes) -> None:
        self._string += part
        if len(self._string) > LONG_STRING_BYTES:
            self._spool = self._spool or Spool()
            self._flush(self._spool)

    def _flush(self, spool: Spool) -> None:
        """Write what is complete of the string; an escape or a character that is cut waits for its rest."""
        text = bytes(self._string)
        for kept in range(_ESCAPE_BYTES + 1):
            cut = len(text) - kept
            try:
                spool.write(orjson.loads(b'"' + text[:cut] + b'"').encode())
            except orjson.JSONDecodeError:
                continue
            del self._string[:cut]
            return
        if len(text) > 2 * LONG_STRING_BYTES + RECEIVE_BYTES:
            raise orjson.JSONDecodeError("a string is malformed", "", 0)

    def _end_string(self) -> None:
        self._in_string = False
        if self._spool is None:
            self._skeleton += b'"' + self._string + b'"'
        else:
            self._skeleton += f'"{self._mark}{len(self._strings)}"'.encode()
            self._strings.append(self._spool)
            text = bytes(self._string)
            self._spool.write(orjson.loads(b'"' + text + b'"').encode())
            self._spool = None
        self._string.clear()
        self._check_room()

    def _check_room(self) -> None:
        if len(self._skeleton) > SKELETON_BYTES:
            raise _too_large(SKELETON_BYTES)

    def _put_back(self, found: Any, name: str, depth: int = 0) -> Any:
        if depth > DEEPEST:
            raise orjson.JSONDecodeError("depth limit exceeded", "", 0)
        if isinstance(found, dict):
            return {self._put_back(key, ""): self._put_back(value, key, depth + 1) for key, value in found.items()}
        if isinstance(found, list):
            return [self._put_back(value, name, depth + 1) for value in found]
        if isinstance(found, str) and found.startswith(self._mark):
            spool = self._strings[int(found[len(self._mark) :])]
            return spool if name in KEPT_APART else spool[:].decode()
        return found


def _check_length(request: Request, most: int) -> None:
    if (request.content_length or 0) > most:
        raise _too_large(most)


def _too_large(most: int) -> ApiError:
    return ApiError(413, "MessageTooLarge", f"A request of this kind has at most {most} bytes")
