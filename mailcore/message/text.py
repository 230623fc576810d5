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
from mailcore.model.octets import Octets

_GUESSES = 4
"""Texts of one message whose charset may be guessed by examination."""

_MARKUP = 64
"""More source text than this for one byte of visible text is not read."""

_HEADER_BYTES = 64 * 1024
"""Of the header of a message within."""

_MARKS = re.compile(r"(?:[^\w\s\x00-\x7f]|[\uff9e\uff9f]){31,}")
_MARKS_KEPT = 30
_READABLE = frozenset({"text", "message"})
"""Leaves of type message are reports, such as who a bounced message did not reach (RFC 3464, RFC 8098, RFC 5965)."""
_CIPHERS = frozenset({"pkcs7-mime", "x-pkcs7-mime"})


def is_encrypted(tree: MimeTree) -> bool:
    """Whether the content is encrypted (multipart/encrypted, RFC 1847; S/MIME, RFC 8551)."""
    for part in tree.parts[:10]:
        if part.kind is PartKind.MESSAGE:
            return False
        if part.kind is PartKind.MULTIPART and part.subtype == "encrypted":
            return True
        if part.type == "application" and part.subtype in _CIPHERS:
            return not part.parameters.get("smime-type", "enveloped-data").lower().startswith(("signed", "certs"))
    return False


def searchable_text(raw: Octets, tree: MimeTree, max_bytes: int) -> str:
    """Text of all text parts and reports, HTML without its markup, file names, the main fields of messages within.

    Of an encrypted message there is none: not even the names of its parts are gathered.

    Args:
        raw: the message.
        tree: of `raw`.
        max_bytes: of the result in UTF-8; what is beyond is left out. A result that is more than 4 bytes shorter is
            all there is.
    """
    if is_encrypted(tree):
        return ""
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
        if part.kind is PartKind.LEAF and part.type in _READABLE:
            pieces.append(part_text(raw, part, left, guess=guesses > 0))
            guesses -= 1
        for piece in pieces:
            left -= len(piece) + 1 if piece.isascii() else len(piece.encode("utf-8", "replace")) + 1
            found.append(piece)
    text = "\n".join(found)
    if left < 0:
        text = text.encode("utf-8", "replace")[:max_bytes].decode("utf-8", "ignore")
    return text


def part_text(raw: Octets, part: Part, max_bytes: int, *, guess: bool = False, markup: int = _MARKUP) -> str:
    """The visible text of a text part, or the beginning of it: at least `max_bytes` of UTF-8, if there are so many.

    Args:
        raw: the message.
        part: a leaf of type text or message.
        max_bytes: what is needed; where the first few times as many bytes do not yield it, the whole part is read.
        guess: see `decode_text`.
        markup: so many characters of source are read at most for each byte that is needed.
    """
    first = max_bytes * (4 if part.subtype == "html" else 2)
    if part.encoding in {"base64", "quoted-printable"}:
        first *= 2
    text = _decoded_text(raw, part, part.body_start + first, guess=guess, limit=max_bytes * markup)
    if part.size <= first or len(text) >= max_bytes or len(text.encode("utf-8", "replace")) >= max_bytes:
        return text
    return _decoded_text(raw, part, part.body_end, guess=guess, limit=max_bytes * markup)


def _decoded_text(raw: Octets, part: Part, end: int, *, guess: bool, limit: int) -> str:
    """The text of a part up to an offset in the message."""
    body = raw[part.body_start : min(part.body_end, end)]
    decoded = decode_transfer(body, part.encoding)
    text = decode_text(body if decoded is None else decoded, part.parameters.get("charset"), guess=guess)
    return visible_text(text, limit) if part.subtype == "html" else text.replace("\r\n", "\n")


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
