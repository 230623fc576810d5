"""The content of a message from the wire: DATA (RFC 5321 §4.5.2) and BDAT (RFC 3030 §2).

Only CRLF "." CRLF ends DATA, however the input is cut. Bytes are gathered once and looked through
with searches of whole buffers; a message over the limit is read on and thrown away.
"""

from __future__ import annotations

import numpy as np

_END = b"\r\n.\r\n"
_KEEP = len(_END) - 1
_BLOCK = 64 * 1024
"""So much is looked at in one piece: it stays in the processor's cache."""


class DataReader:
    """Reads one message up to its final dot.

    The buffer begins with a CRLF of its own: the first line begins after a line end like any other.
    """

    __slots__ = ("_buffer", "_limit", "_most", "has_bare_line_end", "is_too_large")

    def __init__(self, limit: int) -> None:
        """Take messages of up to `limit` octets, dots and line ends as they will be stored."""
        self._buffer = bytearray(b"\r\n")
        self._limit = limit
        # A line of one dot, stuffed, is 4 octets for 3: what is longer than this is too large in any case.
        self._most = limit + limit // 3 + len(_END)
        self.is_too_large = False
        self.has_bare_line_end = False

    def feed(self, data: bytes) -> bytes | None:
        """Take input. None: the end has not come; else the input that follows the final dot."""
        buffer = self._buffer
        before = len(buffer)
        buffer += data
        start = max(before - _KEEP, 0)
        # a single octet is looked for many times faster, and base64 has no dots
        end = buffer.find(_END, start) if buffer.find(b".", start) >= 0 else -1
        if end < 0:
            if self.is_too_large or len(buffer) > self._most:
                self.is_too_large = True
                del buffer[: len(buffer) - _KEEP]
            return None
        consumed = end + len(_END) - before
        del buffer[end + 2 :]
        return data[consumed:]

    def message(self) -> bytes | None:
        """Return the message without stuffed dots, every line end made CRLF; None if it is too large.

        A bare CR or LF is a line end for readers of the message, but never was one for the dots.
        """
        buffer, self._buffer = self._buffer, bytearray()
        if self.is_too_large:
            return None
        if _has_stuffed_dot(buffer):
            buffer = buffer.replace(b"\r\n.", b"\r\n")
        if _has_bare_line_end(buffer):
            self.has_bare_line_end = True
            # Not the CRLF in front, which is no part of the message.
            del buffer[:2]
            buffer = buffer.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")
            message = bytes(buffer)
        else:
            message = bytes(memoryview(buffer)[2:])
        if len(message) > self._limit:
            self.is_too_large = True
            return None
        return message


def _has_stuffed_dot(buffer: bytearray) -> bool:
    """Whether any line after the CRLF in front begins with a dot; lines that end in a bare LF count too."""
    return any(
        buffer.find(b".", at, at + _BLOCK) >= 0 and buffer.find(b"\n.", at - 1, at + _BLOCK) >= 0
        for at in range(1, len(buffer), _BLOCK)
    )


def _has_bare_line_end(buffer: bytearray) -> bool:
    """Whether there is a CR or LF without the other, in a buffer that begins with CRLF."""
    octets = np.frombuffer(buffer, np.uint8)
    for at in range(1, len(octets), _BLOCK):
        behind = octets[at - 1 : min(at + _BLOCK, len(octets)) - 1]
        if ((octets[at : at + _BLOCK] == 0x0A) != (behind == 0x0D)).any():
            return True
    return buffer.endswith(b"\r")


class ChunkReader:
    """Gathers the BDAT chunks of one message; every octet is kept as it is."""

    __slots__ = ("_buffer", "_limit", "_wanted", "is_last", "is_too_large")

    def __init__(self, limit: int) -> None:
        """Take messages of up to `limit` octets."""
        self._buffer = bytearray()
        self._limit = limit
        self._wanted = 0
        self.is_last = False
        self.is_too_large = False

    def expect(self, size: int, is_last: bool) -> None:
        """Begin a chunk of `size` octets."""
        self._wanted = size
        self.is_last = is_last
        if len(self._buffer) + size > self._limit:
            self.is_too_large = True
            self._buffer = bytearray()

    def feed(self, data: bytes) -> bytes | None:
        """Take input. None: the chunk is not complete; else the input that follows it."""
        taken = min(self._wanted, len(data))
        self._wanted -= taken
        if not self.is_too_large:
            self._buffer += data if taken == len(data) else data[:taken]
        return None if self._wanted else data[taken:]

    @property
    def has_bare_line_end(self) -> bool:
        """Whether there is a CR or LF without the other."""
        return _has_bare_line_end(bytearray(b"\r\n") + self._buffer)

    def message(self) -> bytes | None:
        """Return the whole message; None if it is too large."""
        buffer, self._buffer = self._buffer, bytearray()
        return None if self.is_too_large else bytes(buffer)
