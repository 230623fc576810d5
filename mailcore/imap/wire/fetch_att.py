"""What FETCH can be asked for (RFC 9051 §6.4.5, rule `fetch-att`)."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from mailcore.errors import SyntaxFault
from mailcore.imap.wire.cursor import Cursor
from mailcore.model.section import Section, SectionText

_NAME = re.compile(rb"[A-Za-z0-9.-]+")
_FIELD_NAME = re.compile(rb"[!-9;-~]+\Z")
_PLAIN_FIELD_NAME = re.compile(rb"[!#$&'+,\-./0-9;<=>?@A-Z\[^_`a-z|}~]+\Z")
MAX_PART_DEPTH = 128


@dataclass(frozen=True, slots=True)
class SimpleAtt:
    """An item that is only a name, such as FLAGS."""

    name: str


@dataclass(frozen=True, slots=True)
class BodyAtt:
    """Bytes of the message: BODY[...] and the older RFC822 names.

    Attributes:
        label: how the answer names it, without `<origin>`.
        partial: origin and count, rule `partial`.
        peek: does not set the Seen flag.
    """

    label: bytes
    section: Section
    partial: tuple[int, int] | None = None
    peek: bool = False


@dataclass(frozen=True, slots=True)
class BinaryAtt:
    """A part with its transfer encoding undone, or the size of that (RFC 9051 §6.4.5.1).

    Attributes:
        label: how the answer names it, without `<origin>`.
        part_number: empty for the whole message.
    """

    label: bytes
    part_number: tuple[int, ...]
    partial: tuple[int, int] | None = None
    peek: bool = False
    size_only: bool = False


FetchAtt = SimpleAtt | BodyAtt | BinaryAtt

_MACROS = {
    "FAST": ("FLAGS", "INTERNALDATE", "RFC822.SIZE"),
    "ALL": ("FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE"),
    "FULL": ("FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE", "BODY"),
}


def read_fetch_atts(cursor: Cursor) -> tuple[FetchAtt, ...]:
    """Read a macro, one item or a list of items; the same item twice counts once."""
    if cursor.peek() == b"(":
        return tuple(dict.fromkeys(cursor.parenthesized(lambda: read_fetch_att(cursor))))
    name = _name(cursor)
    if name in _MACROS:
        return tuple(SimpleAtt(item) for item in _MACROS[name])
    return (_read_named(cursor, name),)


def read_fetch_att(cursor: Cursor) -> FetchAtt:
    """Read one `fetch-att`."""
    return _read_named(cursor, _name(cursor))


def _name(cursor: Cursor) -> str:
    return cursor.match(_NAME, "FETCH item")[0].decode("ascii").upper()


def _read_named(cursor: Cursor, name: str) -> FetchAtt:
    reader = FETCH_ATTS.get(name)
    if reader is None:
        raise SyntaxFault("unknown FETCH item")
    return reader(cursor, name)


def _simple(_cursor: Cursor, name: str) -> FetchAtt:
    return SimpleAtt(name)


def _preview(cursor: Cursor, name: str) -> FetchAtt:
    """Read `["(" preview-mod *(SP preview-mod) ")"]` after PREVIEW; it is stored, so LAZY changes nothing."""
    if cursor.accept(b" ("):
        if not cursor.accept_word(b"LAZY"):
            raise SyntaxFault("unknown PREVIEW modifier")
        cursor.expect(b")")
    return SimpleAtt(name)


def _rfc822(section: Section, *, peek: bool = False) -> Callable[[Cursor, str], FetchAtt]:
    return lambda _cursor, name: BodyAtt(name.encode(), section, peek=peek)


def _body(cursor: Cursor, name: str) -> FetchAtt:
    """Read what follows BODY: nothing, or a section."""
    return _body_section(cursor, name) if cursor.peek() == b"[" else SimpleAtt(name)


def _body_section(cursor: Cursor, name: str) -> FetchAtt:
    section, wire = read_section(cursor)
    return BodyAtt(b"BODY" + wire, section, read_partial(cursor), peek=name == "BODY.PEEK")


def _binary(cursor: Cursor, name: str) -> FetchAtt:
    """Read `section-binary [partial]` behind BINARY, `section-binary` behind BINARY.SIZE."""
    section, wire = read_section(cursor)
    if section.text is not SectionText.WHOLE:
        raise SyntaxFault("part number expected")
    if name == "BINARY.SIZE":
        return BinaryAtt(b"BINARY.SIZE" + wire, section.part_number, peek=True, size_only=True)
    return BinaryAtt(b"BINARY" + wire, section.part_number, read_partial(cursor), peek=name == "BINARY.PEEK")


FETCH_ATTS: dict[str, Callable[[Cursor, str], FetchAtt]] = {
    "UID": _simple,
    "FLAGS": _simple,
    "INTERNALDATE": _simple,
    "RFC822.SIZE": _simple,
    "MODSEQ": _simple,
    "SAVEDATE": _simple,
    "EMAILID": _simple,
    "THREADID": _simple,
    "X-GM-LABELS": _simple,
    "X-GM-MSGID": _simple,
    "X-GM-THRID": _simple,
    "PREVIEW": _preview,
    "ENVELOPE": _simple,
    "BODYSTRUCTURE": _simple,
    "BODY": _body,
    "BODY.PEEK": _body_section,
    "BINARY": _binary,
    "BINARY.PEEK": _binary,
    "BINARY.SIZE": _binary,
    "RFC822": _rfc822(Section()),
    "RFC822.HEADER": _rfc822(Section(text=SectionText.HEADER), peek=True),
    "RFC822.TEXT": _rfc822(Section(text=SectionText.TEXT)),
}
"""Every item by name; an extension adds its row here and says how it is answered in `imap.fetch_items`."""


# -- sections -----------------------------------------------------------------------------------


def read_section(cursor: Cursor) -> tuple[Section, bytes]:
    """Read `section`; return it and its form for the answer, brackets included."""
    cursor.expect(b"[")
    if cursor.accept(b"]"):
        return Section(), b"[]"
    numbers: list[int] = []
    while cursor.peek().isdigit():
        numbers.append(cursor.nz_number())
        if len(numbers) > MAX_PART_DEPTH:
            raise SyntaxFault("part number is too deep")
        if not cursor.accept(b"."):
            cursor.expect(b"]")
            return Section(tuple(numbers)), b"[" + _dotted(numbers) + b"]"
    prefix = _dotted(numbers) + b"." if numbers else b""
    section, wire = _section_text(cursor, tuple(numbers))
    cursor.expect(b"]")
    return section, b"[" + prefix + wire + b"]"


def read_partial(cursor: Cursor) -> tuple[int, int] | None:
    """Read `partial` if it is there."""
    if not cursor.accept(b"<"):
        return None
    origin = cursor.number64()
    cursor.expect(b".")
    count = cursor.number64()
    if count == 0:
        raise SyntaxFault("partial count must not be zero")
    cursor.expect(b">")
    return origin, count


def _section_text(cursor: Cursor, numbers: tuple[int, ...]) -> tuple[Section, bytes]:
    name = _name(cursor)
    try:
        text = SectionText(name)
    except ValueError:
        raise SyntaxFault("unknown section") from None
    if text is SectionText.MIME and not numbers:
        raise SyntaxFault("MIME needs a part number")
    if text not in {SectionText.HEADER_FIELDS, SectionText.HEADER_FIELDS_NOT}:
        return Section(numbers, text), name.encode()
    cursor.space()
    fields = tuple(cursor.parenthesized(lambda: _field_name(cursor)))
    wire = b" ".join(field if _PLAIN_FIELD_NAME.match(field) else _quoted(field) for field in fields)
    return Section(numbers, text, fields), name.encode() + b" (" + wire + b")"


def _field_name(cursor: Cursor) -> bytes:
    """Read `header-fld-name`; what could not be a field's name (RFC 5322 §2.2) is refused."""
    name = cursor.astring()
    if not _FIELD_NAME.match(name):
        raise SyntaxFault("not a header field name")
    return name


def _quoted(field: bytes) -> bytes:
    return b'"' + field.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


def _dotted(numbers: list[int]) -> bytes:
    return b".".join(b"%d" % number for number in numbers)
