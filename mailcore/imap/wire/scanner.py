"""Input bytes to whole commands: lines, literals, size limits, resynchronisation (RFC 9051 §2.2, §4.3).

The scanner holds what came in until somebody asks for the next command or line, so pipelined
commands wait here. It never buffers more than the limits it was given.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_MARK = re.compile(rb"(~?)\{([0-9]+)(\+?)\}\Z")
_HEAD = re.compile(rb"([!#$&',\-./0-9:;<=>?@A-Z\[\]^_`a-z|}~]+) (?:([Uu][Ii][Dd]) )?([A-Za-z]+)")
_TAG = re.compile(rb"[!#$&',\-./0-9:;<=>?@A-Z\[\]^_`a-z|}~]+\Z")

MAX_LITERALS = 256
MAX_TAG_BYTES = 128
BRINGS_MESSAGES = frozenset({"APPEND", "REPLACE", "UID REPLACE"})
"""Commands whose literals may be as large as messages."""
_HUGE = 1 << 62
_MARK_BYTES = 32


@dataclass(frozen=True, slots=True)
class Literal:
    """One literal of a command; `mark` is the offset of its `{` or `~{` in the command's text."""

    mark: int
    data: bytes
    binary: bool


@dataclass(frozen=True, slots=True)
class Head:
    """Tag and name of a command; name is "" and `arguments` 0 where they cannot be told."""

    tag: str
    name: str
    arguments: int


@dataclass(frozen=True, slots=True)
class Command:
    """One whole command: its lines joined, `{n}` marks left in place, and the literals they announce."""

    head: Head
    text: bytes
    literals: tuple[Literal, ...]


@dataclass(frozen=True, slots=True)
class LiteralOffered:
    """The client waits for "+" before it sends `size` bytes; answer with `accept` or `refuse`."""

    head: Head
    size: int


@dataclass(frozen=True, slots=True)
class LiteralTooLarge:
    """A literal over the limit was announced and not taken; the client waits for no "+" if `fatal`.

    When `fatal` the bytes follow regardless: the only way out is to close.
    """

    head: Head
    size: int
    fatal: bool


@dataclass(frozen=True, slots=True)
class TooLong:
    """The command is longer than the limit; the rest of its line is thrown away."""

    head: Head


Event = Command | LiteralOffered | LiteralTooLarge | TooLong


def read_head(text: bytes | bytearray) -> Head:
    """Read `tag SP ["UID" SP] command-name`; what cannot be read is empty."""
    match = _HEAD.match(text)
    if match is None or len(match[1]) > MAX_TAG_BYTES:
        word = bytes(text[: MAX_TAG_BYTES + 1]).split(b" ", 1)[0]
        tag = word.decode() if len(word) <= MAX_TAG_BYTES and _TAG.match(word) else ""
        return Head(tag, "", 0)
    name = match[3].decode().upper()
    if match[2] is not None:
        name = "UID " + name
    return Head(match[1].decode(), name, match.end())


class Scanner:
    """Cuts the input of one connection.

    Args:
        command_bytes: limit of a command with its literals, but for the messages of APPEND and REPLACE.
        append_bytes: limit of their literals together; 0 where they are not to be had.
    """

    def __init__(self, command_bytes: int, append_bytes: int = 0) -> None:
        self.command_bytes = command_bytes
        self.append_bytes = append_bytes
        self._buffer = bytearray()
        self._searched = 0
        self._text = b""
        self._head: Head | None = None
        self._literals: list[Literal] = []
        self._used = 0
        self._appended = 0
        self._awaited: tuple[int, int, bool] | None = None  # mark, size, binary
        self._offered: tuple[int, int, bool] | None = None
        self._skipping = False

    @property
    def holds_input(self) -> bool:
        """Whether anything was received that nobody has asked for."""
        return bool(self._buffer)

    @property
    def within_command(self) -> bool:
        """Whether part of a command was read, so that more of it must follow."""
        return bool(self._text or self._awaited or self._offered or self._skipping)

    def feed(self, data: bytes) -> None:
        """Take input."""
        self._buffer += data

    def read_line(self, limit: int) -> bytes | TooLong | None:
        """Return the next line without its end, as AUTHENTICATE and IDLE need it; None: not here yet."""
        end = self._buffer.find(b"\n", self._searched)
        if end < 0:
            if len(self._buffer) > limit:
                self._start_skipping()
                return TooLong(Head("", "", 0))
            self._searched = len(self._buffer)
            return None
        line = self._take_line(end)
        return TooLong(Head("", "", 0)) if len(line) > limit else line

    def read_command(self) -> Event | None:
        """Return what comes next, or None when more input is needed."""
        while True:
            if self._offered is not None:
                return None
            if self._awaited is not None:
                mark, size, binary = self._awaited
                if len(self._buffer) < size:
                    return None
                with memoryview(self._buffer) as view:
                    data = bytes(view[:size])
                del self._buffer[:size]
                self._literals.append(Literal(mark, data, binary))
                self._awaited = None
                self._searched = 0
            event = self._read_text()
            if event is not None:
                return event
            if self._awaited is None:
                return None

    def accept(self) -> None:
        """Take the literal that was offered."""
        self._awaited, self._offered = self._offered, None

    def refuse(self) -> None:
        """Drop the command whose literal was offered; the client begins anew."""
        self._reset()

    # -- lines ----------------------------------------------------------------------------------

    def _read_text(self) -> Event | None:
        """Read up to the end of a line; sets `_awaited` when a literal follows that may come at once."""
        end = self._buffer.find(b"\n", self._searched)
        if self._skipping:
            return self._skip(end)
        room = self.command_bytes - self._used
        if end < 0 and len(self._buffer) <= room:
            self._searched = len(self._buffer)
            return None
        if end < 0 or end > room:
            head = self._head or read_head(self._buffer[: 2 * MAX_TAG_BYTES])
            self._reset()
            if end >= 0:
                fatal = self._ends_in_literal(self._take_line(end))
                return LiteralTooLarge(head, 0, fatal=True) if fatal else TooLong(head)
            self._start_skipping()
            return TooLong(head)
        line = self._take_line(end)
        self._used += len(line) + 2
        self._text = self._text + line if self._text else line
        if line.endswith(b"}"):
            match = _MARK.search(line, max(0, len(line) - _MARK_BYTES))
            if match is not None:
                return self._announce(match, len(self._text) - len(match[0]))
        command = Command(self._head or read_head(self._text), self._text, tuple(self._literals))
        self._reset()
        return command

    def _announce(self, match: re.Match[bytes], mark: int) -> Event | None:
        if self._head is None:
            self._head = read_head(self._text)
        head = self._head
        size = int(match[2]) if len(match[2]) <= 18 else _HUGE
        waits = not match[3]
        is_append = head.name in BRINGS_MESSAGES and self.append_bytes > 0
        room = self.append_bytes - self._appended if is_append else self.command_bytes - self._used
        if size > room:
            self._reset()
            return LiteralTooLarge(head, size, fatal=not waits)
        if len(self._literals) >= MAX_LITERALS:
            self._reset()
            return LiteralTooLarge(head, size, fatal=not waits)
        if is_append:
            self._appended += size
        else:
            self._used += size
        literal = (mark, size, bool(match[1]))
        if waits:
            self._offered = literal
            return LiteralOffered(head, size)
        self._awaited = literal
        return None

    def _take_line(self, end: int) -> bytes:
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        self._searched = 0
        return line.removesuffix(b"\r")

    # -- resynchronisation ----------------------------------------------------------------------

    def _start_skipping(self) -> None:
        self._skipping = True
        self._searched = 0
        self._keep_tail()

    def _keep_tail(self) -> None:
        del self._buffer[:-_MARK_BYTES]

    def _skip(self, end: int) -> Event | None:
        if end < 0:
            self._keep_tail()
            return None
        fatal = self._ends_in_literal(self._take_line(end))
        self._skipping = False
        if fatal:
            return LiteralTooLarge(Head("", "", 0), 0, fatal=True)
        return self._read_text()

    @staticmethod
    def _ends_in_literal(line: bytes) -> bool:
        """Whether a literal follows without being asked for."""
        match = _MARK.search(line, max(0, len(line) - _MARK_BYTES))
        return match is not None and bool(match[3])

    def _reset(self) -> None:
        self._text = b""
        self._head = None
        self._literals = []
        self._used = self._appended = 0
        self._awaited = self._offered = None
