"""Header fields: find, unfold, filter them (RFC 5322 §2.2); every loop is linear in the header.

A `raw_header` goes up to its blank line and no further: `raw[part.header_start : part.body_start]`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple

from mailcore.model.octets import PIECE_BYTES, Octets

LIGHT_NAMES: frozenset[bytes] = frozenset(
    # What Thunderbird, Apple Mail, K-9, Outlook and mbsync ask for in listings; a rare name costs nothing when absent.
    b"from to cc bcc sender reply-to subject date message-id in-reply-to references list-id list-post "
    b"list-unsubscribe content-type priority x-priority importance newsgroups auto-submitted resent-from "
    b"resent-to resent-date x-tuid".split()
)
"""Lower-case names of the fields that a light header block has whenever the message has them."""

LIGHT_BLOCK_BYTES = 8 * 1024
"""A light block is never larger."""

_PATTERN_NAMES = 64
_PATTERN_BYTES = 2048

_FIELD_END = re.compile(rb"\n(?![ \t])")
_VALUE = re.compile(rb"[ \t]*:([^\n]*+(?:\n[ \t][^\n]*+)*+)")
_BLANK_LINE = re.compile(rb"\n\r?\n")
_BLANK_BYTES = 3


class Field(NamedTuple):
    """One field; the offsets count in the header it came from, `end` is behind its line end."""

    name: bytes
    """Lower-case; empty for a line that is no field."""
    start: int
    value_start: int
    end: int


def header_size(raw: Octets, start: int = 0, stop: int | None = None) -> int:
    """Offset behind the blank line that ends the header at `start`; `stop` if there is none."""
    if stop is None:
        stop = len(raw)
    if not isinstance(raw, bytes):
        return _spooled_header_size(raw, start, stop)
    if raw.startswith(b"\r\n", start, stop):
        return start + 2
    if raw.startswith(b"\n", start, stop):
        return start + 1
    blank = _BLANK_LINE.search(raw, start, stop)
    return blank.end() if blank else stop


def _spooled_header_size(raw: Octets, start: int, stop: int) -> int:
    """As `header_size`, of what is looked at piece by piece."""
    at = start
    while at < stop:
        piece = raw[max(start, at - _BLANK_BYTES) : min(at + PIECE_BYTES, stop)]
        if at == start and piece.startswith((b"\r\n", b"\n")):
            return start + piece.index(b"\n") + 1
        blank = _BLANK_LINE.search(piece)
        if blank:
            return max(start, at - _BLANK_BYTES) + blank.end()
        at += PIECE_BYTES
    return stop


def iter_fields(header: bytes) -> Iterator[Field]:
    """The fields of a header in order, to its blank line."""
    start, size = 0, len(header)
    while start < size:
        if header.startswith((b"\r\n", b"\n"), start):
            return
        line_end = _FIELD_END.search(header, start)
        end = line_end.end() if line_end else size
        colon = header.find(b":", start, end)
        name = header[start:colon].rstrip(b" \t").lower() if colon > start else b""
        if not name or any(byte <= 32 for byte in name[:200]):
            yield Field(b"", start, start, end)
        else:
            yield Field(name, start, colon + 1, end)
        start = end


def unfold(value: bytes) -> bytes:
    """A field's value on one line, without surrounding blanks (RFC 5322 §2.2.3)."""
    if b"\n" in value:
        value = value.replace(b"\r\n", b"").replace(b"\n", b"")  # within a field every line end is a fold
    return value.strip(b" \t\r\n")


def find_all(raw_header: bytes, name: bytes) -> list[bytes]:
    """Unfolded values of every field of that name, in order."""
    lowered = b"\n" + raw_header.lower()
    return [
        unfold(raw_header[match.end(1) - 1 : match.end() - 1])
        for match in _field_pattern((name.lower(),)).finditer(lowered)
    ]


def find_first(raw_header: bytes, name: bytes) -> bytes | None:
    """Unfolded value of the first field of that name."""
    lowered = b"\n" + raw_header.lower()
    needle = b"\n" + name.lower()
    at = lowered.find(needle)
    while at >= 0:
        match = _VALUE.match(lowered, at + len(needle))
        if match:
            return unfold(raw_header[match.start(1) - 1 : match.end() - 1])
        at = lowered.find(needle, at + len(needle))
    return None


def first_values(raw_header: bytes, pattern: re.Pattern[bytes]) -> dict[bytes, bytes]:
    r"""Unfolded first values of several fields by lower-case name.

    Args:
        raw_header: read up to its blank line.
        pattern: as made by `names_pattern`.
    """
    lowered = b"\n" + raw_header.lower()
    values: dict[bytes, bytes] = {}
    for match in pattern.finditer(lowered):
        name = match[1]
        if name is None:
            break
        if name in values:
            continue
        value_end = _FIELD_END.search(lowered, match.end())
        end = value_end.start() if value_end else len(lowered)
        values[name] = unfold(raw_header[match.end() - 1 : end - 1])
    return values


def names_pattern(names: Iterable[bytes]) -> re.Pattern[bytes]:
    """Pattern for `first_values`: the start of any of these fields in a lower-case header, or its blank line."""
    return re.compile(rb"\n(?:(" + b"|".join(map(re.escape, sorted(names))) + rb")[ \t]*:|\r?\n)")


def filter_fields(header_block: bytes, names: tuple[bytes, ...], *, invert: bool = False) -> bytes:
    """What BODY[HEADER.FIELDS (names)] returns: the exact bytes of these fields and a blank line.

    Args:
        header_block: a header, with or without its blank line.
        names: in any case.
        invert: all other fields instead, HEADER.FIELDS.NOT.
    """
    if invert or len(names) > _PATTERN_NAMES or sum(map(len, names)) > _PATTERN_BYTES:
        wanted = {name.lower() for name in names}
        fields = iter_fields(header_block)
        found = [header_block[field.start : field.end] for field in fields if (field.name in wanted) != invert]
    else:
        found = _take(header_block, _field_pattern(names))
    if found and not found[-1].endswith(b"\n"):
        found.append(b"\r\n")
    found.append(b"\r\n")
    return b"".join(found)


def light_header_block(raw_header: bytes) -> bytes | None:
    """The fields of LIGHT_NAMES as they are, without a blank line; None if they are too large to be kept apart."""
    found = _take(raw_header, _LIGHT)
    if found and not found[-1].endswith(b"\n"):
        found.append(b"\r\n")
    block = b"".join(found)
    return block if len(block) <= LIGHT_BLOCK_BYTES else None


def _take(header: bytes, pattern: re.Pattern[bytes]) -> list[bytes]:
    """The exact bytes of the fields that match."""
    return [header[match.start() : match.end()] for match in pattern.finditer(b"\n" + header.lower())]


@lru_cache(maxsize=512)
def _field_pattern(names: tuple[bytes, ...]) -> re.Pattern[bytes]:
    """Match whole fields by name in a lower-case header behind a line end; group 1 ends before the value."""
    alternatives = b"|".join(sorted({re.escape(name.lower()) for name in names}))
    return re.compile(rb"\n((?:" + alternatives + rb")[ \t]*:)[^\n]*+(?:\n[ \t][^\n]*+)*+")


_LIGHT = _field_pattern(tuple(LIGHT_NAMES))
