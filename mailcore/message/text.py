"""What SEARCH TEXT and BODY look through: the decoded, visible text of a message (RFC 9051 §6.4.4)."""

from __future__ import annotations

import re
import unicodedata

from mailcore.message.charset import decode_text
from mailcore.message.encoded_words import decode_header
from mailcore.message.headers import find_first
from mailcore.message.html_text import visible_text
from mailcore.message.mime_tree import MimeTree, Part, PartKind
from mailcore.message.transfer import decode_transfer

_GUESSES = 4
"""Texts of one message whose charset may be guessed by examination."""

_HEADER_BYTES = 64 * 1024
"""Of the header of a message within."""

_MARKS = re.compile(r"(?:[^\w\s\x00-\x7f]|[\uff9e\uff9f]){31,}")
_MARKS_KEPT = 30


def searchable_text(raw: bytes, tree: MimeTree, max_bytes: int) -> str:
    """Text of all text parts, HTML without its markup, file names, and the main fields of messages within.

    Args:
        raw: the message.
        tree: of `raw`.
        max_bytes: of the result in UTF-8; what is beyond is left out.
    """
    found: list[str] = []
    left = max_bytes
    guesses = _GUESSES
    for part in tree.parts:
        if left <= 0:
            break
        pieces = [decode_header(part.filename.encode("utf-8", "replace"))] if part.filename else []
        if part.parent >= 0 and tree.parts[part.parent].kind is PartKind.MESSAGE:
            header = raw[part.header_start : min(part.body_start, part.header_start + _HEADER_BYTES)]
            for name in (b"from", b"to", b"cc", b"subject"):
                value = find_first(header, name)
                if value:
                    pieces.append(decode_header(value))
        if part.kind is PartKind.LEAF and part.type == "text":
            pieces.append(part_text(raw, part, left, guess=guesses > 0))
            guesses -= 1
        for piece in pieces:
            left -= len(piece) + 1 if piece.isascii() else len(piece.encode("utf-8", "replace")) + 1
            found.append(piece)
    text = "\n".join(found)
    if left < 0:
        text = text.encode("utf-8", "replace")[:max_bytes].decode("utf-8", "ignore")
    return text


def part_text(raw: bytes, part: Part, max_bytes: int, *, guess: bool = False) -> str:
    """The visible text of a text part.

    Args:
        raw: the message.
        part: a leaf of type text.
        max_bytes: of decoded input that are looked at; HTML four times as many, for most of it is markup.
        guess: see `decode_text`.
    """
    wanted = max_bytes * 4 if part.subtype == "html" else max_bytes
    encoded = wanted * 4 if part.encoding in {"base64", "quoted-printable"} else wanted
    body = raw[part.body_start : min(part.body_end, part.body_start + encoded)]
    decoded = decode_transfer(body, part.encoding)
    text = decode_text((body if decoded is None else decoded)[:wanted], part.parameters.get("charset"), guess=guess)
    if part.subtype == "html":
        return visible_text(text)
    return text.replace("\r\n", "\n")


def normalize(text: str) -> str:
    """The form in which texts are compared: NFKC and case folded.

    Runs of combining marks are cut at 30 as in Unicode's stream-safe text (UAX #15 §13), for sorting them takes
    time that grows with the square of their number.
    """
    if text.isascii():
        return text.lower()
    text = _MARKS.sub(_cut_marks, text)
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


def _cut_marks(match: re.Match[str]) -> str:
    """A run of characters some of which are marks, with no more than 30 marks one after the other."""
    out: list[str] = []
    marks = 0
    for char in match[0]:
        if unicodedata.combining(char) or char in "\uff9e\uff9f":
            marks += 1
            if marks > _MARKS_KEPT:
                continue
        else:
            marks = 0
        out.append(char)
    return "".join(out)
