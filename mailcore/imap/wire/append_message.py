"""What APPEND and REPLACE bring: one or more messages, each whole or in parts (rule `append-message`)."""

from __future__ import annotations

from dataclasses import dataclass

from mailcore.errors import SyntaxFault
from mailcore.imap.wire.cursor import Cursor
from mailcore.model.flags import FlagSet

MAX_PARTS = 1000


@dataclass(frozen=True, slots=True)
class Url:
    """A part that is on the server already; not looked at yet."""

    text: bytes


@dataclass(frozen=True, slots=True)
class AppendMessage:
    """One message as the client gives it.

    Attributes:
        internal_date: seconds since 1970 UTC; None for now.
        parts: what its bytes are put together from; one, unless CATENATE was used.
    """

    flags: FlagSet
    internal_date: int | None
    parts: tuple[bytes | Url, ...]


def read_append_message(cursor: Cursor) -> AppendMessage:
    """Read `[SP flag-list] [SP date-time] SP append-data` (RFC 9051 §6.3.12)."""
    cursor.space()
    flags = FlagSet()
    if cursor.peek() == b"(":
        flags = cursor.flag_set()
        cursor.space()
    internal_date = None
    if cursor.peek() == b'"':
        internal_date = cursor.date_time()
        cursor.space()
    return AppendMessage(flags, internal_date, _append_data(cursor))


def _append_data(cursor: Cursor) -> tuple[bytes | Url, ...]:
    """Read `literal / literal8 / "UTF8" SP "(" literal8 ")" / "CATENATE" SP "(" cat-part *(SP cat-part) ")"`.

    RFC 3516 §4.4, RFC 6855 §4, RFC 4469 §5.
    """
    if cursor.accept_word(b"CATENATE"):
        cursor.space()
        parts = tuple(cursor.parenthesized(lambda: _cat_part(cursor)))
        if len(parts) > MAX_PARTS:
            raise SyntaxFault("too many parts")
        return parts
    if cursor.utf8 and cursor.accept_word(b"UTF8"):
        return (_utf8_literal(cursor),)
    return (cursor.literal().data,)


def _cat_part(cursor: Cursor) -> bytes | Url:
    if cursor.accept_word(b"URL"):
        cursor.space()
        return Url(cursor.astring())
    if cursor.utf8 and cursor.accept_word(b"UTF8"):
        return _utf8_literal(cursor)
    if not cursor.accept_word(b"TEXT"):
        raise SyntaxFault("TEXT or URL expected")
    cursor.space()
    return cursor.literal().data


def _utf8_literal(cursor: Cursor) -> bytes:
    cursor.space()
    cursor.expect(b"(")
    literal = cursor.literal()
    if not literal.binary:
        raise SyntaxFault("literal8 expected")
    cursor.expect(b")")
    return literal.data
