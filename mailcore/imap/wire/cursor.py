"""Reading a command's arguments: atoms, strings, mailboxes, sets, dates (RFC 9051 §9).

Each method reads one grammar rule at the current place and moves behind it, or raises SyntaxFault
that says what was expected. All are linear in what they read.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, datetime, timedelta, timezone
from typing import TypeVar

from mailcore.errors import SyntaxFault
from mailcore.imap.wire.mailbox_name import decode_text, decode_written
from mailcore.imap.wire.scanner import Command, Literal
from mailcore.model import flags as flag_bits
from mailcore.model.flags import FlagSet
from mailcore.model.ids import MailboxName
from mailcore.model.mailbox import parse_mailbox_name
from mailcore.model.uid_set import MAX_NUMBER, STAR, SequenceSet, UidSet

Value = TypeVar("Value")

_ATOM = re.compile(rb"[^\x00-\x20\x7f-\xff(){%*\"\\\]]+")
_ASTRING = re.compile(rb"[^\x00-\x20\x7f-\xff(){%*\"\\]+")
_LIST_MAILBOX = re.compile(rb"[^\x00-\x20\x7f-\xff(){\"\\]+")
_QUOTED = re.compile(rb'"((?:[^"\\\r\n\x00]|\\["\\])*)"')
_ESCAPED = re.compile(rb"\\(.)")
_NUMBER = re.compile(rb"[0-9]{1,20}(?![0-9])")
_SET = re.compile(rb"[0-9*:,]+")
_RANGE = re.compile(rb"([1-9][0-9]{0,9}|\*)(?::([1-9][0-9]{0,9}|\*))?\Z")
_FLAG = re.compile(rb"\\?[^\x00-\x20\x7f-\xff(){%*\"\\\]]+")
_DATE = re.compile(rb"(\"?)([0-9]{1,2})-([A-Za-z]{3})-([0-9]{4})\1")
_DATE_TIME = re.compile(
    rb'"([ 0-9][0-9])-([A-Za-z]{3})-([0-9]{4}) ([0-9]{2}):([0-9]{2}):([0-9]{2}) ([+-])([0-9]{2})([0-9]{2})"'
)
_MONTHS = {
    name: number
    for number, name in enumerate(
        (b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov", b"dec"), 1
    )
}
_IGNORED_FLAG = "\\recent"
_SYSTEM_FLAGS = {name.lower(): bit for name, bit in flag_bits.SYSTEM_FLAGS.items()}


class Cursor:
    """A place in one command's text."""

    __slots__ = ("_literals", "_next_literal", "_position", "_text", "utf8", "written_name")

    def __init__(self, command: Command, *, utf8: bool = False) -> None:
        """Start behind the command's name; `utf8`: quoted strings and names are UTF-8 (RFC 6855)."""
        self._text = command.text
        self._literals = command.literals
        self._next_literal = 0
        self._position = command.head.arguments
        self.utf8 = utf8
        self.written_name = ""
        """The mailbox read last, as the client wrote it; what it means may be written otherwise."""

    # -- punctuation ----------------------------------------------------------------------------

    def at_end(self) -> bool:
        """Whether nothing is left."""
        return self._position >= len(self._text)

    def end(self) -> None:
        """Expect the end of the command."""
        if not self.at_end():
            raise SyntaxFault("end of command expected")

    def rest(self) -> bytes:
        """Return what is left to read."""
        return self._text[self._position :]

    @property
    def holds_literals(self) -> bool:
        """Whether literals stand in the command, so that its text alone does not say what it means."""
        return bool(self._literals)

    def space(self) -> None:
        """Read SP."""
        self.expect(b" ")

    def expect(self, token: bytes) -> None:
        """Read exactly `token`."""
        if not self.accept(token):
            raise SyntaxFault(f"{'space' if token == b' ' else token.decode()} expected")

    def accept(self, token: bytes) -> bool:
        """Read `token` if it is next."""
        if self._text.startswith(token, self._position):
            self._position += len(token)
            return True
        return False

    def accept_word(self, word: bytes) -> bool:
        """Read `word`, in any case, if it is next and ends there."""
        end = self._position + len(word)
        if self._text[self._position : end].upper() != word:
            return False
        following = self._text[end : end + 1]
        if following.isalnum() or following in {b".", b"-", b"_"}:
            return False
        self._position = end
        return True

    def peek(self) -> bytes:
        """Return the next byte, empty at the end."""
        return self._text[self._position : self._position + 1]

    def parenthesized(self, read: Callable[[], Value], *, may_be_empty: bool = False) -> list[Value]:
        """Read `"(" read *(SP read) ")"`."""
        self.expect(b"(")
        if may_be_empty and self.accept(b")"):
            return []
        values = [read()]
        while not self.accept(b")"):
            self.space()
            values.append(read())
        return values

    # -- words and numbers ----------------------------------------------------------------------

    def match(self, pattern: re.Pattern[bytes], what: str) -> re.Match[bytes]:
        """Read what `pattern` matches here."""
        found = pattern.match(self._text, self._position)
        if found is None:
            raise SyntaxFault(f"{what} expected")
        self._position = found.end()
        return found

    def atom(self) -> bytes:
        """Read `atom`."""
        return self.match(_ATOM, "atom")[0]

    def word(self) -> str:
        """Read an atom that names something: in capitals."""
        return self.atom().decode("ascii").upper()

    def number(self) -> int:
        """Read `number`: 32 bits."""
        value = int(self.match(_NUMBER, "number")[0])
        if value > MAX_NUMBER:
            raise SyntaxFault("number too large")
        return value

    def number64(self) -> int:
        """Read `number64`: 63 bits."""
        value = int(self.match(_NUMBER, "number")[0])
        if value >= 1 << 63:
            raise SyntaxFault("number too large")
        return value

    def nz_number(self) -> int:
        """Read `nz-number`."""
        value = self.number()
        if value == 0:
            raise SyntaxFault("number must not be zero")
        return value

    # -- strings --------------------------------------------------------------------------------

    def string(self) -> bytes:
        """Read `string`: quoted or literal."""
        if self.peek() == b'"':
            return self._quoted()
        literal = self.literal()
        if literal.binary:
            raise SyntaxFault("literal expected")
        return literal.data

    def astring(self) -> bytes:
        """Read `astring`."""
        if self.peek() in {b'"', b"{"}:
            return self.string()
        return self.match(_ASTRING, "string")[0]

    def nstring(self) -> bytes | None:
        """Read `nstring`; None is NIL."""
        if self.accept_word(b"NIL"):
            return None
        return self.string()

    def literal(self) -> Literal:
        """Read `literal` or `literal8`; the caller says which it allows."""
        if self._next_literal < len(self._literals):
            literal = self._literals[self._next_literal]
            if literal.mark == self._position:
                self._next_literal += 1
                self._position = self._text.index(b"}", literal.mark) + 1
                return literal
        raise SyntaxFault("literal expected")

    def _quoted(self) -> bytes:
        value = self.match(_QUOTED, "quoted string")[1]
        if not self.utf8 and not value.isascii():
            raise SyntaxFault("8-bit characters need a literal")
        if self.utf8 and not value.isascii():
            try:
                value.decode("utf-8")
            except UnicodeDecodeError:
                raise SyntaxFault("quoted string is not UTF-8") from None
        return _ESCAPED.sub(rb"\1", value) if b"\\" in value else value

    # -- mailboxes ------------------------------------------------------------------------------

    def mailbox(self) -> MailboxName:
        """Read `mailbox`.

        Raises:
            MailboxNameInvalid: a string, but not the canonical encoding of a mailbox name.
        """
        return self._name(self._mailbox_bytes(_ASTRING))

    def new_mailbox(self) -> MailboxName:
        """Read `mailbox`; a delimiter at its end is no part of the name (RFC 9051 §6.3.4).

        Raises:
            MailboxNameInvalid: a string, but not the canonical encoding of a mailbox name.
        """
        return self._name(self._mailbox_bytes(_ASTRING).removesuffix(b"/"))

    def _name(self, wire: bytes) -> MailboxName:
        self.written_name = decode_written(wire, utf8=self.utf8)
        return parse_mailbox_name(self.written_name)

    def mailbox_reference(self) -> str:
        """Read the reference of LIST: a mailbox name that may be empty or end in a delimiter."""
        return decode_text(self._mailbox_bytes(_ASTRING), utf8=self.utf8)

    def list_mailbox(self) -> str:
        """Read `list-mailbox`: a name with the wildcards `*` and `%`."""
        return decode_text(self._mailbox_bytes(_LIST_MAILBOX), utf8=self.utf8)

    def _mailbox_bytes(self, unquoted: re.Pattern[bytes]) -> bytes:
        if self.peek() in {b'"', b"{"}:
            return self.string()
        return self.match(unquoted, "mailbox")[0]

    # -- sets, flags, dates ---------------------------------------------------------------------

    def sequence_set(self) -> SequenceSet:
        """Read `sequence-set`, or `$` (RFC 5182)."""
        if self.accept(b"$"):
            return SequenceSet((), saved=True)
        return self.written_set()

    def written_set(self) -> SequenceSet:
        """Read `sequence-set` that names its numbers."""
        ranges: list[tuple[int, int]] = []
        for piece in self.match(_SET, "message set")[0].split(b","):
            found = _RANGE.match(piece)
            if found is None:
                raise SyntaxFault("message set is malformed")
            first, last = found[1], found[2]
            low = STAR if first == b"*" else int(first)
            high = low if last is None else STAR if last == b"*" else int(last)
            if low > MAX_NUMBER or high > MAX_NUMBER:
                raise SyntaxFault("number too large")
            ranges.append((low, high))
        return SequenceSet(tuple(ranges))

    def known_set(self) -> UidSet:
        """Read `known-uids` (RFC 7162 §7): a set without `*`."""
        numbers = self.written_set()
        if any(STAR in pair for pair in numbers.ranges):
            raise SyntaxFault("* is not allowed here")
        return numbers.resolve(MAX_NUMBER)

    def flag_set(self) -> FlagSet:
        r"""Read `flag-list`, or flags without parentheses as STORE allows; `\Recent` is ignored.

        Raises:
            SyntaxFault: an unknown flag with a backslash.
        """
        if self.peek() == b"(":
            names = self.parenthesized(self._flag, may_be_empty=True)
        else:
            names = [self._flag()]
            while self.accept(b" "):
                names.append(self._flag())
        system = 0
        keywords: dict[str, str] = {}
        for name in names:
            if not name.startswith("\\"):
                keywords.setdefault(name.lower(), name)
            elif name.lower() != _IGNORED_FLAG:
                bit = _SYSTEM_FLAGS.get(name.lower())
                if bit is None:
                    raise SyntaxFault("unknown system flag")
                system |= bit
        return FlagSet(system, tuple(keywords.values()))

    def _flag(self) -> str:
        return self.match(_FLAG, "flag")[0].decode("ascii")

    def date(self) -> date:
        """Read `date`: day-month-year, with or without quotes."""
        found = self.match(_DATE, "date")
        return _date(found[4], found[3], found[2])

    def date_time(self) -> int:
        """Read `date-time`; return seconds since 1970-01-01 UTC."""
        found = self.match(_DATE_TIME, "date-time")
        day = _date(found[3], found[2], found[1])
        hour, minute, second = int(found[4]), int(found[5]), int(found[6])
        offset = timedelta(hours=int(found[8]), minutes=int(found[9]))
        if hour > 23 or minute > 59 or second > 60 or offset >= timedelta(hours=24) or int(found[9]) > 59:
            raise SyntaxFault("date-time is out of range")
        zone = timezone(-offset if found[7] == b"-" else offset)
        moment = datetime(day.year, day.month, day.day, hour, minute, tzinfo=zone)
        return round((moment - _EPOCH) / _SECOND) + second


_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)  # noqa: UP017 - as the type of `zone`
_SECOND = timedelta(seconds=1)


def _date(year: bytes, month: bytes, day: bytes) -> date:
    try:
        return date(int(year), _MONTHS[month.lower()], int(day))
    except (KeyError, ValueError):
        raise SyntaxFault("no such date") from None
