"""What SORT and THREAD compare: base subjects, first addresses, message ids (RFC 5256 §2, RFC 5957)."""

from __future__ import annotations

import re
import unicodedata
from hashlib import blake2b
from typing import NamedTuple

from mailcore.message.addresses import parse_addresses
from mailcore.message.encoded_words import decode_header
from mailcore.message.envelope import message_ids
from mailcore.message.headers import first_values, names_pattern
from mailcore.message.text import normalize

SUBJECT_CHARACTERS = 1000
"""More of a subject is not compared, which bounds the work its blobs can make."""

_NAMES = names_pattern((b"subject", b"from", b"to", b"cc"))
_BLOB = r"\[[^\[\]]*+\][ ]*+"
_LEADER = re.compile(rf"[ ]++|(?:{_BLOB})*(?:re|fwd?)[ ]*+(?:{_BLOB})?:", re.IGNORECASE)
_PREFIX_BLOB = re.compile(_BLOB)
_TRAILER = re.compile(r"(?:\(fwd\)|[ ])+\Z", re.IGNORECASE)
_BLANKS = re.compile(r"\s+")


class SortFields(NamedTuple):
    """The strings that are compared, normalized and without line ends."""

    subject: str
    sender: str
    to: str
    cc: str
    display_from: str
    display_to: str


class ThreadFields(NamedTuple):
    """What ties a message to others; ids are numbers of 64 bits, 0 is none.

    Attributes:
        own: its Message-ID.
        references: of its ancestors, the oldest first.
        is_answer: its subject says that it answers or forwards something.
    """

    own: int
    references: tuple[int, ...]
    is_answer: bool


def base_subject(subject: str) -> tuple[str, bool]:
    """Return a decoded subject's base, and whether it says answer or forward (RFC 5256 §2.1)."""
    text = _BLANKS.sub(" ", subject)[:SUBJECT_CHARACTERS]
    is_answer = False
    while True:
        stripped = _TRAILER.sub("", text)
        is_answer |= "(" in text[len(stripped) :]
        text, leads = _without_leaders(stripped)
        is_answer |= leads
        if not (text[:5].lower() == "[fwd:" and text.endswith("]")):
            return text, is_answer
        text = text[5:-1]
        is_answer = True


def _without_leaders(text: str) -> tuple[str, bool]:
    """Remove `subj-leader` and `subj-blob` as long as there are any and something is left."""
    is_answer = False
    position = 0
    while True:
        leader = _LEADER.match(text, position)
        if leader is not None:
            position = leader.end()
            is_answer |= leader[0].endswith(":")
            continue
        blob = _PREFIX_BLOB.match(text, position)
        if blob is None or blob.end() == len(text):
            return text[position:], is_answer
        position = blob.end()


def sort_and_thread_fields(header: bytes) -> tuple[SortFields, ThreadFields]:
    """Return what is compared of a message with this header; no input raises."""
    values = first_values(header, _NAMES)
    subject, is_answer = base_subject(decode_header(values.get(b"subject") or b""))
    sender, display_from = _first_address(values.get(b"from"))
    to, display_to = _first_address(values.get(b"to"))
    cc, _ = _first_address(values.get(b"cc"))
    own = message_ids(header, b"message-id")
    references = message_ids(header, b"references") or message_ids(header, b"in-reply-to")[:1]
    return (
        SortFields(_compared(subject), sender, to, cc, display_from, display_to),
        ThreadFields(_number(own[0]) if own else 0, tuple(number for number in map(_number, references)), is_answer),
    )


def _first_address(value: bytes | None) -> tuple[str, str]:
    """Return the local part of the first address, and what is shown of it: its name, else itself (RFC 5957 §3)."""
    found = parse_addresses(value) if value else []
    if not found:
        return "", ""
    first = found[0]
    return _compared(first.address.rpartition("@")[0] or first.address), _compared(first.name or first.address)


def _compared(text: str) -> str:
    """Return the form whose bytes are compared: capitals, decomposed (i;unicode-casemap, RFC 5051).

    So a letter with an accent follows the one without, and `[` and `_` follow Z.
    """
    text = normalize(text)
    if not text.isascii():
        text = unicodedata.normalize("NFKD", text)
    return _BLANKS.sub(" ", text.upper()).encode("utf-8", "replace").decode()


def _number(message_id: bytes) -> int:
    return int.from_bytes(blake2b(message_id, digest_size=8).digest(), "little") or 1
