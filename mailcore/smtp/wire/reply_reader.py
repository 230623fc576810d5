"""What a server answers: lines to `Reply` values (RFC 5321 §4.2, RFC 2034 §4); sans-IO."""

from __future__ import annotations

import re

from mailcore.errors import SyntaxFault
from mailcore.smtp.wire.replies import Reply

LONGEST_LINE = 4096
"""Octets; RFC 5321 §4.5.3.1.5 asks for 512."""
MOST_LINES = 200

_LINE = re.compile(rb"([2-5][0-9]{2})(?:([ \-])(.*))?", re.DOTALL)
_ENHANCED = re.compile(r"([245]\.[0-9]{1,3}\.[0-9]{1,3})(?:\s+|$)")
_UNSHOWN = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]+")


class ReplyReader:
    """Gathers the lines of one reply after the other, however the input is cut."""

    __slots__ = ("_buffer", "_lines")

    def __init__(self) -> None:
        self._buffer = b""
        self._lines: list[tuple[int, str]] = []

    @property
    def is_empty(self) -> bool:
        """Whether nothing was fed that is not part of a reply returned already."""
        return not self._buffer and not self._lines

    def feed(self, data: bytes) -> None:
        """Take input."""
        self._buffer += data

    def next(self) -> Reply | None:
        """Return the next reply, None if its end has not come.

        Raises:
            SyntaxFault: no reply, or one without end.
        """
        while True:
            end = self._buffer.find(b"\n")
            if end < 0:
                if len(self._buffer) > LONGEST_LINE:
                    raise SyntaxFault("a line without end")
                return None
            line, self._buffer = self._buffer[:end].removesuffix(b"\r"), self._buffer[end + 1 :]
            match = _LINE.fullmatch(line)
            if match is None or len(line) > LONGEST_LINE or len(self._lines) >= MOST_LINES:
                raise SyntaxFault("not a reply")
            code = int(match[1])
            if self._lines and self._lines[0][0] != code:
                raise SyntaxFault("a reply of two codes")
            self._lines.append((code, _shown(match[3] or b"")))
            if match[2] != b"-":
                return self._complete()

    def _complete(self) -> Reply:
        lines, self._lines = self._lines, []
        code = lines[0][0]
        enhanced = ""
        texts: list[str] = []
        for _, text in lines:
            match = _ENHANCED.match(text)
            if match is not None and match[1][0] == str(code)[0]:
                enhanced = enhanced or match[1]
                text = text[match.end() :]
            texts.append(text)
        return Reply(code, enhanced, tuple(texts))


def _shown(text: bytes) -> str:
    """Return a line so that it may be logged and shown: it is somebody else's."""
    return _UNSHOWN.sub(" ", text.decode("utf-8", "replace"))
