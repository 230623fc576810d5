"""ManageSieve's grammar: commands in, replies out (RFC 5804 §4).

A command is a line, but a literal `{n+}` at its end is followed by n octets and the rest of the line. Literals are
bounded before memory is taken: of one that is too large no octet is kept, and the command is answered all the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final, TypeAlias

from mailcore.errors import SyntaxFault
from mailcore.model.actions import Then

MAX_QUOTED_BYTES: Final = 1024
MAX_LITERALS: Final = 8
"""Of one command; no command has more than two strings."""
SKIPPED: Final = 64
"""A literal of more than so many times what is allowed is not waited for."""

_LITERAL = re.compile(rb"\{([0-9]{1,40})(\+?)\}\Z")
_ATOM = re.compile(rb"[A-Za-z][A-Za-z0-9]{0,31}")
_NUMBER = re.compile(rb"[0-9]{1,10}")
_QUOTED = re.compile(rb'"((?:[^"\\\x00\r\n]|\\["\\])*)"')
_ESCAPED = re.compile(rb'\\(["\\])')
_MAX_NUMBER = (1 << 32) - 1


# -- input --------------------------------------------------------------------------------------


class Fault(Enum):
    """What stands in place of a command that cannot be taken."""

    LINE_TOO_LONG = auto()
    LITERAL_TOO_LARGE = auto()
    LOST = auto()
    """Nobody knows where the next command begins: the connection has to end."""


@dataclass(frozen=True, slots=True)
class RawCommand:
    """The pieces of a command in order: text of its lines, and literals between."""

    pieces: tuple[tuple[bytes, bool], ...] = field(repr=False)
    """Each with whether it is a literal."""


class CommandReader:
    """Cuts the input of one connection into commands.

    Args:
        line_limit: octets of a command without its literals.
        literal_limit: octets of all literals of one command.
    """

    __slots__ = ("_buffer", "_fault", "_literal_bytes", "_pieces", "_searched", "_text_bytes", "_wanted",
                 "line_limit", "literal_limit")  # fmt: skip

    def __init__(self, line_limit: int, literal_limit: int) -> None:
        self.line_limit = line_limit
        self.literal_limit = literal_limit
        self._buffer = bytearray()
        self._begin()

    def _begin(self) -> None:
        self._pieces: list[tuple[bytes, bool]] = []
        self._searched = 0
        self._text_bytes = 0
        self._literal_bytes = 0
        self._wanted: int | None = None
        """Octets of a literal that have not been read."""
        self._fault: Fault | None = None

    @property
    def holds_input(self) -> bool:
        """Whether anything was received that nobody has asked for."""
        return bool(self._buffer or self._pieces) or self._wanted is not None

    @property
    def held_bytes(self) -> int:
        """Octets in memory."""
        return len(self._buffer) + sum(len(piece) for piece, _ in self._pieces)

    def feed(self, data: bytes) -> None:
        """Take input."""
        self._buffer += data

    def read(self) -> RawCommand | Fault | None:
        """Return the next command, what is wrong with it, or None when more input is needed."""
        while True:
            if self._wanted is not None:
                if not self._read_literal():
                    return None
                continue
            line = self._read_line()
            if line is None:
                return Fault.LOST if self._fault is Fault.LOST else None
            literal = _LITERAL.search(line)
            if literal is None:
                return self._finished(line)
            self._pieces.append((line[: literal.start()], False))
            if not self._expect(int(literal[1]), is_synchronizing=not literal[2]):
                return Fault.LOST

    def _read_line(self) -> bytes | None:
        """Return the next line without its end; of one that is too long only the last part."""
        end = self._buffer.find(b"\n", self._searched)
        if end < 0:
            if self._text_bytes + len(self._buffer) > self.line_limit + 1:
                self._note(Fault.LINE_TOO_LONG)
                del self._buffer[: len(self._buffer) - 64]  # a literal's octets are still to be told from commands
            self._searched = len(self._buffer)
            return None
        line = bytes(self._buffer[:end]).removesuffix(b"\r")
        del self._buffer[: end + 1]
        self._searched = 0
        self._text_bytes += len(line)
        if self._text_bytes > self.line_limit:
            self._note(Fault.LINE_TOO_LONG)
        return line

    def _expect(self, size: int, *, is_synchronizing: bool) -> bool:
        """Begin to read a literal; False if that cannot be, or is not worth it."""
        self._literal_bytes += size
        too_many = sum(not is_literal for _, is_literal in self._pieces) > MAX_LITERALS
        if is_synchronizing or too_many or self._literal_bytes > SKIPPED * self.literal_limit:
            self._fault = Fault.LOST
            return False
        if self._literal_bytes > self.literal_limit:
            self._note(Fault.LITERAL_TOO_LARGE)
        self._wanted = size
        return True

    def _read_literal(self) -> bool:
        """Take a literal's octets, or throw them away where the command is refused; False: more are needed."""
        assert self._wanted is not None
        if self._fault is not None:
            skipped = min(self._wanted, len(self._buffer))
            del self._buffer[:skipped]
            self._wanted -= skipped
            if self._wanted:
                return False
        elif len(self._buffer) < self._wanted:
            return False
        else:
            self._pieces.append((bytes(self._buffer[: self._wanted]), True))
            del self._buffer[: self._wanted]
        self._wanted = None
        self._searched = 0
        return True

    def _note(self, fault: Fault) -> None:
        """Refuse the command that is being read, and keep nothing of it."""
        self._fault = self._fault or fault
        self._pieces = [(b"", is_literal) for _, is_literal in self._pieces]

    def _finished(self, line: bytes) -> RawCommand | Fault:
        outcome = self._fault or RawCommand((*self._pieces, (line, False)))
        self._begin()
        return outcome


Argument: TypeAlias = bytes | int
"""A string, or a number."""


@dataclass(frozen=True, slots=True)
class Command:
    """One command: its name in capitals, "" for a lone string, and its arguments."""

    name: str
    arguments: tuple[Argument, ...] = field(default=(), repr=False)


def parse_command(raw: RawCommand) -> Command:
    """Read `atom *(SP (string / number))`, or the lone string that answers a challenge.

    Raises:
        SyntaxFault: it is none of them.
    """
    items: list[tuple[bytes, Argument]] = []
    space_before = True
    for piece, is_literal in raw.pieces:
        if is_literal:
            if not space_before:
                raise SyntaxFault("A space is missing")
            items.append((b"", piece))
            space_before = False
            continue
        space_before = _read_items(piece, items, space_before=space_before)
    if not items:
        raise SyntaxFault("Not a command")
    atom, first = items[0]
    if any(word for word, _ in items[1:]):
        raise SyntaxFault("Strings and numbers are expected behind the command")
    if atom:
        return Command(atom.decode("ascii").upper(), tuple(argument for _, argument in items[1:]))
    if len(items) == 1 and isinstance(first, bytes):
        return Command("", (first,))
    raise SyntaxFault("Not a command")


def _read_items(text: bytes, items: list[tuple[bytes, Argument]], *, space_before: bool) -> bool:
    """Add the items of a piece of text; return whether it ends with a space."""
    at = 0
    while at < len(text):
        if text[at] == 0x20:
            space_before = True
            at += 1
            continue
        if not space_before:
            raise SyntaxFault("A space is missing")
        if match := _QUOTED.match(text, at):
            items.append((b"", _ESCAPED.sub(rb"\1", match[1])))
        elif match := _NUMBER.match(text, at):
            number = int(match[0])
            if number > _MAX_NUMBER:
                raise SyntaxFault("A number is too large")
            items.append((b"", number))
        elif match := _ATOM.match(text, at):
            items.append((match[0], b""))
        else:
            raise SyntaxFault("Not a command")
        at = match.end()
        space_before = False
    return space_before


# -- arguments ----------------------------------------------------------------------------------


def nothing(arguments: tuple[Argument, ...]) -> None:
    """Raises: SyntaxFault: there is something."""
    if arguments:
        raise SyntaxFault("This command takes no argument")


def optional_string(arguments: tuple[Argument, ...]) -> bytes | None:
    """Read one string or nothing.

    Raises:
        SyntaxFault: something else.
    """
    return string(arguments) if arguments else None


def string(arguments: tuple[Argument, ...]) -> bytes:
    """Read one string.

    Raises:
        SyntaxFault: something else.
    """
    match arguments:
        case (bytes() as value,):
            return value
    raise SyntaxFault("One string expected")


def name(arguments: tuple[Argument, ...]) -> str:
    """Read the name of a script.

    Raises:
        SyntaxFault: something else, or not UTF-8.
    """
    return text(string(arguments))


def names(arguments: tuple[Argument, ...]) -> tuple[str, str]:
    """Read two names.

    Raises:
        SyntaxFault: something else, or not UTF-8.
    """
    match arguments:
        case (bytes() as old, bytes() as new):
            return text(old), text(new)
    raise SyntaxFault("Two names expected")


def name_and_size(arguments: tuple[Argument, ...]) -> tuple[str, int]:
    """Read a name and a number of octets.

    Raises:
        SyntaxFault: something else, or not UTF-8.
    """
    match arguments:
        case (bytes() as value, int() as size):
            return text(value), size
    raise SyntaxFault("A name and a number expected")


def name_and_script(arguments: tuple[Argument, ...]) -> tuple[str, bytes]:
    """Read a name and a script.

    Raises:
        SyntaxFault: something else, or a name that is not UTF-8.
    """
    match arguments:
        case (bytes() as value, bytes() as script):
            return text(value), script
    raise SyntaxFault("A name and a script expected")


def text(value: bytes) -> str:
    """Return a string as text.

    Raises:
        SyntaxFault: not UTF-8.
    """
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        raise SyntaxFault("A name is UTF-8") from None


# -- output -------------------------------------------------------------------------------------


class Status(Enum):
    """How a command ended."""

    OK = "OK"
    NO = "NO"
    BYE = "BYE"


@dataclass(frozen=True, slots=True)
class Reply:
    """The line that ends a response; `code` is a response code without its parentheses (RFC 5804 §1.3)."""

    status: Status
    text: str = ""
    code: str = ""
    then: Then = Then.GO_ON
    lines: tuple[bytes, ...] = ()
    """What goes before it, each with its end."""

    @property
    def outcome(self) -> str:
        """The word it begins with."""
        return self.status.value

    @property
    def is_refusal(self) -> bool:
        """Whether the command was not carried out."""
        return self.status is Status.NO

    def encode(self) -> bytes:
        """Return it as it is sent."""
        words = [self.status.value.encode()]
        if self.code:
            words.append(f"({self.code})".encode())
        if self.text:
            words.append(encode_string(self.text.encode("utf-8", "replace")))
        return b"".join(self.lines) + b" ".join(words) + b"\r\n"


def ok(text_: str = "", *, lines: Iterable[bytes] = (), code: str = "", then: Then = Then.GO_ON) -> Reply:
    """Return a positive reply."""
    return Reply(Status.OK, text_, code, then, tuple(lines))


def no(text_: str, code: str = "") -> Reply:
    """Return a negative reply."""
    return Reply(Status.NO, text_, code)


def bye(text_: str, code: str = "") -> Reply:
    """Return the reply that ends the connection."""
    return Reply(Status.BYE, text_, code, Then.CLOSE)


def encode_string(value: bytes) -> bytes:
    """Return a string as `quoted`, or as `literal-s2c` where that cannot hold it."""
    if len(value) > MAX_QUOTED_BYTES or any(octet in value for octet in (0, 10, 13)):
        return b"{%d}\r\n" % len(value) + value
    return b'"' + value.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'
