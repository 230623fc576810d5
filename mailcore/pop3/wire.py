"""POP3's grammar: command lines in, replies and multi-line responses out (RFC 1939 §3, RFC 2449 §3)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from mailcore.errors import SyntaxFault
from mailcore.model.actions import Then
from mailcore.model.secret import Secret

_COMMAND = re.compile(rb"([A-Za-z0-9]{1,16})(?: (.*))?", re.DOTALL)
_NUMBER = re.compile(rb"[0-9]{1,18}")
_UNSAFE = re.compile(rb"[\x00\r]")

END = b".\r\n"


# -- input --------------------------------------------------------------------------------------


class TooLong:
    """A line over the limit was thrown away."""


TOO_LONG = TooLong()


class LineReader:
    """Cuts the input of one connection into lines; holds no more than one line too many.

    Args:
        limit: octets of a line without its end.
    """

    __slots__ = ("_buffer", "_searched", "_skipping", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._buffer = bytearray()
        self._searched = 0
        self._skipping = False

    @property
    def holds_input(self) -> bool:
        """Whether anything was received that nobody has asked for."""
        return bool(self._buffer)

    def feed(self, data: bytes) -> None:
        """Take input."""
        self._buffer += data

    def read(self) -> bytes | TooLong | None:
        """Return the next line without its end, None when more input is needed."""
        end = self._buffer.find(b"\n", self._searched)
        if end < 0:
            if len(self._buffer) > self.limit + 1:
                self._skipping = True
                self._buffer.clear()
            self._searched = len(self._buffer)
            return None
        line = bytes(self._buffer[:end]).removesuffix(b"\r")
        del self._buffer[: end + 1]
        self._searched = 0
        skipped, self._skipping = self._skipping, False
        return TOO_LONG if skipped or len(line) > self.limit else line


@dataclass(frozen=True, slots=True)
class Command:
    """One command line: its keyword in capitals, and what stands behind the space, None without one."""

    name: str
    argument: bytes | None = field(default=None, repr=False)


def parse_command(line: bytes) -> Command:
    """Read `keyword *(SP parameter)` (RFC 2449 §3).

    Raises:
        SyntaxFault: no keyword, or a NUL or CR within.
    """
    match = _COMMAND.fullmatch(line)
    if match is None or _UNSAFE.search(line):
        raise SyntaxFault("Not a command")
    return Command(match[1].decode("ascii").upper(), match[2])


# -- arguments ----------------------------------------------------------------------------------


def no_argument(argument: bytes | None) -> None:
    """Read nothing; a space at the end is overlooked, as some clients send one.

    Raises:
        SyntaxFault: there is something.
    """
    if argument is not None and argument.strip(b" "):
        raise SyntaxFault("This command takes no argument")


def text(argument: bytes | None) -> bytes:
    """Read everything behind the first space, spaces included (RFC 1939 §7, USER and PASS).

    Raises:
        SyntaxFault: there is nothing.
    """
    if not argument:
        raise SyntaxFault("Argument expected")
    return argument


def secret(argument: bytes | None) -> Secret:
    """Read the same as a secret."""
    return Secret(text(argument))


def words(argument: bytes | None) -> list[bytes]:
    """Read words with spaces between them; none is as good as any number."""
    return argument.split() if argument is not None else []


def message_number(argument: bytes | None) -> int:
    """Read `msg`; whether there is such a message is not looked at.

    Raises:
        SyntaxFault: not one number.
    """
    (number,) = _numbers(argument, 1)
    return number


def optional_message_number(argument: bytes | None) -> int | None:
    """Read `[msg]`.

    Raises:
        SyntaxFault: something else than one number.
    """
    return message_number(argument) if words(argument) else None


def message_number_and_lines(argument: bytes | None) -> tuple[int, int]:
    """Read `msg SP n` (RFC 1939 §7, TOP).

    Raises:
        SyntaxFault: not two numbers.
    """
    number, lines = _numbers(argument, 2)
    return number, lines


def _numbers(argument: bytes | None, count: int) -> list[int]:
    found = words(argument)
    if len(found) != count or not all(_NUMBER.fullmatch(word) for word in found):
        raise SyntaxFault("Message number expected" if count == 1 else "Message number and number of lines expected")
    return [int(word) for word in found]


# -- output -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Reply:
    """One status line; `code` is an extended response code without its brackets (RFC 2449 §8)."""

    ok: bool
    text: str
    code: str = ""
    then: Then = Then.GO_ON

    @property
    def outcome(self) -> str:
        """The status indicator."""
        return "+OK" if self.ok else "-ERR"

    @property
    def is_refusal(self) -> bool:
        """Whether the command was not carried out."""
        return not self.ok

    def encode(self) -> bytes:
        """Return the line. All texts are fixed or numbers, so nothing in them can end it."""
        code = f"[{self.code}] " if self.code else ""
        return f"{self.outcome} {code}{self.text}\r\n".encode()


@dataclass(frozen=True, slots=True)
class MultiLine:
    """A positive reply and the lines after it, stuffed, in pieces of any size; the final dot is added (RFC 1939 §3)."""

    reply: Reply
    pieces: Iterator[bytes]


def ok(text: str, then: Then = Then.GO_ON) -> Reply:
    """Return a positive reply."""
    return Reply(True, text, then=then)


def err(text: str, code: str = "", then: Then = Then.GO_ON) -> Reply:
    """Return a negative reply."""
    return Reply(False, text, code, then)


def stuffed(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield a message as a multi-line response without its final dot (RFC 1939 §3).

    Octets are sent as they are stored. A line that begins with a dot gets a second one, also where
    the line before ended in a bare LF: most clients cut lines there, and `LF . LF` within a message
    must not look like its end. A message whose last line has no CRLF gets one, which belongs to the
    final dot and not to its size.
    """
    tail = b""
    for piece in pieces:
        if piece[:1] == b"." and (not tail or tail.endswith(b"\n")):
            yield b"."
        # base64 has no dots at all, and to find that out is far quicker than to look for two octets
        yield piece.replace(b"\n.", b"\n..") if b"." in piece else piece
        tail = (tail + piece[-2:])[-2:]
    if tail and tail != b"\r\n":
        yield b"\r\n"


def first_lines(pieces: Iterable[bytes], count: int) -> Iterator[bytes]:
    """Yield the first `count` lines; no more pieces are asked for than they need."""
    if not count:
        return
    for piece in pieces:
        found = piece.count(b"\n")
        if found < count:
            count -= found
            yield piece
            continue
        end = 0
        for _ in range(count):
            end = piece.index(b"\n", end) + 1
        yield piece[:end]
        return
