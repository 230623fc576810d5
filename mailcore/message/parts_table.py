"""A packed table of a message's parts: serves BODY[section] without scanning the message again.

Format 1, little-endian: version, number of parts, then columns: kind and encoding (1 byte), parent + 1 (2), start of
header, start of body, end of body (4 each).
"""

from __future__ import annotations

import struct
import sys
from array import array
from typing import NamedTuple

from mailcore.message.mime_tree import MimeTree, PartKind
from mailcore.model.section import Section, SectionText

_VERSION = 1
_HEADER = struct.Struct("<BH")
_PART_BYTES = 1 + 2 + 3 * 4
_ENCODINGS = ("7bit", "8bit", "binary", "base64", "quoted-printable", "unknown")
_ENCODING_CODES = {name: code for code, name in enumerate(_ENCODINGS)}
_UNKNOWN = _ENCODING_CODES["unknown"]


class BinaryPart(NamedTuple):
    """Bytes of a part for BINARY (RFC 9051 §6.4.5.1): `raw[start:end]` is still in its transfer encoding."""

    start: int
    end: int
    encoding: str
    """7bit, 8bit, binary, base64, quoted-printable, or "unknown"."""


def pack_parts(tree: MimeTree, behind: int = 0) -> bytes:
    """The table of a tree, 15 bytes a part; of the same message `behind` so many bytes of further header fields."""
    parts = tree.parts
    kinds = bytes([part.kind << 4 | _ENCODING_CODES.get(part.encoding, _UNKNOWN) for part in parts])
    parents = array("H", [part.parent + 1 for part in parts])
    header_starts = array("I", [part.header_start + behind for part in parts])
    header_starts[0] -= behind  # the root's header is what grows
    body_starts = array("I", [part.body_start + behind for part in parts])
    body_ends = array("I", [part.body_end + behind for part in parts])
    columns = b"".join(_little_endian(column) for column in (parents, header_starts, body_starts, body_ends))
    return _HEADER.pack(_VERSION, len(kinds)) + kinds + columns


def unpack_parts(packed: bytes) -> PartsTable:
    """The table that `pack_parts` wrote.

    Raises:
        ValueError: another version, or damaged.
    """
    if len(packed) < _HEADER.size or packed[0] != _VERSION:
        raise ValueError("not a parts table of a known version")
    count = _HEADER.unpack_from(packed)[1]
    if not count or len(packed) != _HEADER.size + count * _PART_BYTES:
        raise ValueError("damaged parts table")
    position = _HEADER.size + count
    columns: list[array[int]] = []
    for code in "HIII":
        column = array(code)
        end = position + count * column.itemsize
        column.frombytes(packed[position:end])
        columns.append(_native(column))
        position = end
    return PartsTable(packed[_HEADER.size : _HEADER.size + count], *columns)


class PartsTable:
    """Finds the bytes of a section (RFC 9051 §6.4.5)."""

    __slots__ = ("_body_ends", "_body_starts", "_header_starts", "_kinds", "_parents")

    def __init__(
        self,
        kinds: bytes,
        parents: array[int],
        header_starts: array[int],
        body_starts: array[int],
        body_ends: array[int],
    ) -> None:
        self._kinds = kinds
        self._parents = parents
        self._header_starts = header_starts
        self._body_starts = body_starts
        self._body_ends = body_ends

    def __len__(self) -> int:
        return len(self._kinds)

    def locate(self, section: Section) -> tuple[int, int] | None:
        """Where the section's bytes begin and end in the raw message; None if there is no such section.

        HEADER.FIELDS gives the whole header, of which the caller takes the fields.
        """
        index = self._find(section.part_number)
        if index is None:
            return None
        header_start, body_start, body_end = self._bounds(index)
        if section.text is SectionText.MIME:
            return header_start, body_start
        if section.text is SectionText.WHOLE:
            return (body_start, body_end) if section.part_number else (header_start, body_end)
        if section.part_number:  # HEADER and TEXT of a part are those of the message in it
            if self._kind(index) is not PartKind.MESSAGE:
                return None
            header_start, body_start, body_end = self._bounds(index + 1)
        return (body_start, body_end) if section.text is SectionText.TEXT else (header_start, body_start)

    def locate_binary(self, part_number: tuple[int, ...]) -> BinaryPart | None:
        """The bytes behind BINARY[part_number]; the whole message for ()."""
        index = self._find(part_number)
        if index is None:
            return None
        header_start, body_start, body_end = self._bounds(index)
        if not part_number:
            return BinaryPart(header_start, body_end, "binary")
        leaf = self._kind(index) is PartKind.LEAF
        return BinaryPart(body_start, body_end, _ENCODINGS[self._kinds[index] & 15] if leaf else "binary")

    def _kind(self, index: int) -> PartKind:
        return PartKind(self._kinds[index] >> 4)

    def _bounds(self, index: int) -> tuple[int, int, int]:
        return self._header_starts[index], self._body_starts[index], self._body_ends[index]

    def _find(self, part_number: tuple[int, ...]) -> int | None:
        """Walk down by the numbering of RFC 9051 §6.4.5.1; looks at no part twice."""
        index = -1  # the part found so far
        root = 0  # where the next number counts: the root of a message, or a multipart
        for number in part_number:
            if root < 0:
                return None
            if self._kind(root) is PartKind.MULTIPART:
                child = self._child(root, number)
                if child is None:
                    return None
                index = child
            elif number == 1:
                index = root
            else:
                return None
            root = (-1, index, index + 1)[self._kind(index)]
        return max(index, 0)

    def _child(self, parent: int, number: int) -> int | None:
        """Index of a multipart's n-th part."""
        for index in range(parent + 1, len(self._parents)):
            owner = self._parents[index] - 1
            if owner < parent:
                return None
            if owner == parent:
                number -= 1
                if not number:
                    return index
        return None


def _little_endian(column: array[int]) -> bytes:
    return _native(column).tobytes()


def _native(column: array[int]) -> array[int]:
    """The column in the other byte order, on machines where that is needed."""
    if sys.byteorder == "big":
        column.byteswap()
    return column
