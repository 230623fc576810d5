"""BODYSTRUCTURE and BODY as IMAP bytes (RFC 9051 §7.5.2, rule `body`): valid for any tree, bounded in size."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import quote

from mailcore.message.envelope import serialize_envelope
from mailcore.message.imap_string import imap_nstring, imap_string
from mailcore.message.mime_tree import MimeTree, Part, PartKind
from mailcore.model.octets import Octets

DETAILED_BYTES = 192 * 1024
"""Parts that would make a body structure larger appear as application/octet-stream with their size only."""

_PARAMETERS_BYTES = 16 * 1024
_TOKEN = re.compile(rb'[() ]|"(?:[^"\\]++|\\.)*+"|\{(\d+)\}\r\n|[^ ()"{]++')


def serialize_body_structure(tree: MimeTree, raw: Octets) -> bytes:
    """The extended form, BODYSTRUCTURE, in parentheses.

    Types, encodings and parameter names are in upper case; a parameter value outside ASCII is written `NAME*` in
    UTF-8, as RFC 2231 says.

    Args:
        tree: of `raw`.
        raw: the message, for the envelopes of messages in it.
    """
    out: list[bytes] = []
    open_tails: list[tuple[int, bytes]] = []
    size = 0
    hidden_in = len(tree.parts)  # pre-order: what follows with a parent from here on lies in a hidden part
    for index, part in enumerate(tree.parts):
        if part.parent >= hidden_in:
            continue
        hidden_in = len(tree.parts)
        while open_tails and open_tails[-1][0] != part.parent:
            out.append(open_tails.pop()[1])
        head, tail = _piece(tree, raw, index)
        if size + len(head) + len(tail) > DETAILED_BYTES and index:
            head, tail, hidden_in = _hidden(part), b"", index
        size += len(head) + len(tail)
        out.append(head)
        if tail:
            open_tails.append((index, tail))
    out.extend(tail for _, tail in reversed(open_tails))
    return b"".join(out)


def body_from_body_structure(body_structure: bytes) -> bytes:
    """BODY, the form without extension data, out of what `serialize_body_structure` made."""
    out: list[bytes] = []
    work: list[bytes | Nested] = [read_nested(body_structure)]  # what is left to write, last first; lists are bodies
    while work:
        item = work.pop()
        if isinstance(item, bytes):
            out.append(item)
            continue
        out.append(b"(")
        work.append(b")")
        work.extend(reversed(_without_extension(item, body_structure)))
    return b"".join(out)


def _piece(tree: MimeTree, raw: Octets, index: int) -> tuple[bytes, bytes]:
    """What stands before and behind the parts of a part; a leaf has nothing behind."""
    part = tree.parts[index]
    disposition = b"NIL"
    if part.disposition is not None:
        disposition = b"(%b %b)" % (imap_string(part.disposition.encode()), _parameters(part.disposition_parameters))
    language = b"NIL"
    if part.language:
        language = b"(" + b" ".join(imap_string(tag.encode()) for tag in part.language[:100]) + b")"
    extension = b"%b %b %b" % (disposition, language, _nstring(part.location))
    if part.kind is PartKind.MULTIPART:
        subtype = part.subtype.upper().encode("ascii")
        return b"(", b' "%b" %b %b)' % (subtype, _parameters(part.parameters), extension)
    fields = b"%b %b %b %b %b %d" % (
        _media(part.type, part.subtype),
        _parameters(part.parameters),
        _nstring(part.content_id),
        _nstring(part.description),
        _encoding(part.encoding),
        part.body_end - part.body_start,
    )
    extension = _nstring(part.md5) + b" " + extension
    if part.kind is PartKind.MESSAGE:
        child = tree.parts[index + 1]
        envelope = serialize_envelope(raw[child.header_start : child.body_start])
        return b"(%b %b " % (fields, envelope), b" %d %b)" % (part.line_count, extension)
    if part.type == "text":
        return b"(%b %d %b)" % (fields, part.line_count, extension), b""
    return b"(%b %b)" % (fields, extension), b""


def _hidden(part: Part) -> bytes:
    """A part with all in it, without its details."""
    return b'("APPLICATION" "OCTET-STREAM" NIL NIL NIL "8BIT" %d)' % (part.body_end - part.body_start)


@lru_cache(maxsize=512)
def _media(media_type: str, subtype: str) -> bytes:
    return f'"{media_type}" "{subtype}"'.upper().encode("ascii")


@lru_cache(maxsize=64)
def _encoding(encoding: str) -> bytes:
    return f'"{encoding}"'.upper().encode("ascii")


def _parameters(parameters: Mapping[str, str]) -> bytes:
    """Rule `body-fld-param`."""
    if not parameters:
        return b"NIL"
    size = 0
    items: list[bytes] = []
    for name, value in parameters.items():
        if value.isascii():
            item = imap_string(name.upper().encode("ascii")) + b" " + imap_string(value.encode("ascii"))
        else:
            encoded = quote(value[:_PARAMETERS_BYTES], safe="!#$&+-.^_`{|}~", encoding="utf-8", errors="replace")
            item = imap_string(f"{name}*".upper().encode("ascii")) + b" " + imap_string(b"UTF-8''" + encoded.encode())
        size += len(item)
        if size > _PARAMETERS_BYTES:
            break
        items.append(item)
    return b"(" + b" ".join(items) + b")" if items else b"NIL"


def _nstring(text: str | None) -> bytes:
    return b"NIL" if text is None else imap_nstring(text.encode("utf-8", "replace"))


@dataclass(slots=True)
class Nested:
    """A parenthesized list that was read, and where it stands."""

    start: int
    end: int
    items: list[bytes | Nested]


def read_nested(body_structure: bytes) -> Nested:
    """The nested lists of a serialized value; strings stay as they are written."""
    position = 0
    stack = [Nested(0, 0, [])]
    while match := _TOKEN.match(body_structure, position):
        position = match.end()
        if match[0] == b"(":
            inner = Nested(match.start(), 0, [])
            stack[-1].items.append(inner)
            stack.append(inner)
        elif match[0] == b")":
            stack.pop().end = position
        elif match[1] is not None:
            position += int(match[1])
            stack[-1].items.append(body_structure[match.start() : position])
        elif match[0] != b" ":
            stack[-1].items.append(match[0])
    top = stack[0].items[0]
    assert isinstance(top, Nested)
    return top


def _without_extension(body: Nested, source: bytes) -> list[bytes | Nested]:
    """What BODY has of one body, with the blanks between; lists that are left are bodies themselves."""
    items = body.items
    if isinstance(items[0], Nested):
        count = next(number for number, item in enumerate(items) if isinstance(item, bytes))
        return [*items[:count], b" ", items[count]]
    kept = 8 if items[0] == b'"TEXT"' else 7
    if items[0] == b'"MESSAGE"' and items[1] in {b'"RFC822"', b'"GLOBAL"'}:
        kept = 10
    found: list[bytes | Nested] = []
    for number, item in enumerate(items[:kept]):
        if number:
            found.append(b" ")
        is_body = kept == 10 and number == 8
        found.append(source[item.start : item.end] if isinstance(item, Nested) and not is_body else item)
    return found
