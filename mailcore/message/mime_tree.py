"""Where the parts of a message lie: one iterative scan with exact byte offsets (RFC 2045, RFC 2046, RFC 5322).

Nothing is decoded and no input raises. Beyond the limits the rest is one opaque part, so that every byte still
belongs to a part. A delimiter line must be the boundary exactly, but for blanks behind it; the innermost open
multipart with that boundary owns it, and a delimiter of an outer one closes all within.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from typing import NamedTuple

from mailcore.message.content import MESSAGE_CONTENT, OPAQUE_CONTENT, TEXT_CONTENT, Content, read_content
from mailcore.message.headers import header_size
from mailcore.model.limits import ScanLimits

DEFAULT = ScanLimits()

_WINDOW = 2048
"""How far to search for a delimiter from one dash before looking for the next dash."""
_OPEN_ENCODINGS = {"7bit", "8bit", "binary"}


class PartKind(IntEnum):
    """How a part holds others."""

    LEAF = 0
    MULTIPART = 1
    MESSAGE = 2


class Part(NamedTuple):
    """One part; offsets count in the raw message.

    The header with its blank line is `raw[header_start:body_start]`, the body `raw[body_start:body_end]`. A part
    whose declared structure is broken is text/plain, one beyond a limit application/octet-stream.
    """

    number: tuple[int, ...]
    """RFC 9051 §6.4.5.1; a multipart that is a whole message has the number of that message."""
    parent: int
    """Index of the part around it, -1 for the root."""
    kind: PartKind
    header_start: int
    body_start: int
    body_end: int
    line_count: int
    """Line ends in the body of a text or message; 0 for others."""
    type: str
    subtype: str
    parameters: Mapping[str, str]
    encoding: str
    """Content-Transfer-Encoding in lower case, 7bit if absent or malformed."""
    disposition: str | None
    disposition_parameters: Mapping[str, str]
    content_id: str | None
    description: str | None
    language: tuple[str, ...]
    location: str | None
    md5: str | None

    @property
    def is_multipart(self) -> bool:
        """It has parts of its own."""
        return self.kind is PartKind.MULTIPART

    @property
    def is_message(self) -> bool:
        """It holds a message, whose root is its only child (message/rfc822, message/global)."""
        return self.kind is PartKind.MESSAGE

    @property
    def size(self) -> int:
        """Bytes of the body, as they were transferred."""
        return self.body_end - self.body_start

    @property
    def filename(self) -> str | None:
        """Name proposed for a file, undecoded encoded words and all."""
        return self.disposition_parameters.get("filename") or self.parameters.get("name")


@dataclass(frozen=True)
class MimeTree:
    """The parts of one message in pre-order; the first is the root."""

    raw_size: int
    parts: tuple[Part, ...]
    truncated: bool
    """A limit was passed; something is opaque."""

    @property
    def root(self) -> Part:
        """The message itself."""
        return self.parts[0]

    @cached_property
    def _children(self) -> tuple[tuple[int, ...], ...]:
        children: list[list[int]] = [[] for _ in self.parts]
        for index, part in enumerate(self.parts):
            if part.parent >= 0:
                children[part.parent].append(index)
        return tuple(map(tuple, children))

    @cached_property
    def _by_number(self) -> dict[tuple[int, ...], Part]:
        numbered: dict[tuple[int, ...], Part] = {}
        for part in self.parts:
            numbered.setdefault(part.number, part)  # an embedded multipart comes after its message/rfc822
        return numbered

    def child_indexes(self, index: int) -> tuple[int, ...]:
        """Indexes of the parts directly within a part."""
        return self._children[index]

    def find(self, part_number: tuple[int, ...]) -> Part | None:
        """The part that BODY[part_number] names; () is the root, as is (1,) when the message has one part."""
        return self._by_number.get(part_number) if part_number else self.root


class _Delimiter(NamedTuple):
    """A delimiter line that was found."""

    start: int
    end: int
    level: int
    closing: bool


class _Level(NamedTuple):
    """An open multipart, with all delimiters that may end what is in it."""

    part: int
    depth: int
    """Its place among the open parts."""
    lines: Mapping[bytes, tuple[int, bool]]
    """Each open delimiter line: its level, and whether it closes that."""
    common: bytes
    """What all of them begin with, to search for."""


_NO_LEVEL = _Level(-1, -1, {}, b"")


def scan(raw: bytes | memoryview, limits: ScanLimits = DEFAULT) -> MimeTree:
    """Find all parts; each byte is looked at a bounded number of times (at most once per open level)."""
    return _Scanner(raw if isinstance(raw, bytes) else bytes(raw), limits).run()


def shift(tree: MimeTree, by: int) -> MimeTree:
    """The tree of the same message behind `by` bytes of further header fields."""
    root = tree.root
    parts = [root._replace(body_start=root.body_start + by, body_end=root.body_end + by)]
    parts += [
        part._replace(header_start=part.header_start + by, body_start=part.body_start + by, body_end=part.body_end + by)
        for part in tree.parts[1:]
    ]
    return MimeTree(tree.raw_size + by, tuple(parts), tree.truncated)


class _Scanner:
    """State of one scan: what was found so far, and which parts and boundaries are open."""

    def __init__(self, raw: bytes, limits: ScanLimits) -> None:
        self.raw = raw
        self.limits = limits
        self.truncated = False
        self.parents: list[int] = []
        self.starts: list[tuple[int, int]] = []
        self.ends: list[int] = []
        self.kinds: list[PartKind] = []
        self.contents: list[Content] = []
        self.open: list[int] = []
        self.levels: list[_Level] = []

    def run(self) -> MimeTree:
        """Open parts one after the other until the message ends."""
        start: int | None = 0
        parent = -1
        delimiter: _Delimiter | None = None
        while start is not None:
            if self.levels and delimiter is None:
                delimiter = self.next_delimiter(start)
            index, delimiter = self.open_part(start, parent, delimiter)
            if index < 0:
                break
            kind = self.kinds[index]
            if kind is PartKind.MESSAGE:
                start, parent = self.starts[index][1], index
            elif delimiter is None:
                break
            elif kind is PartKind.MULTIPART:
                start, parent, delimiter = delimiter.end, index, None
            else:
                start, parent = self.close_at(delimiter)
                delimiter = None
        for index in self.open:
            self.ends[index] = len(self.raw)
        return self.result()

    def open_part(self, start: int, parent: int, delimiter: _Delimiter | None) -> tuple[int, _Delimiter | None]:
        """Read a part's header.

        Args:
            start: where its header begins.
            parent: index of the part around it.
            delimiter: the next line of an open boundary.

        Returns:
            Its index, or -1 when the limit of parts makes it the last; the next delimiter, for a multipart the
            first of its own.
        """
        index = len(self.parents)
        self.parents.append(parent)
        self.ends.append(0)
        self.open.append(index)
        if index + 1 >= self.limits.parts:
            self.truncated = True
            self.starts.append((start, start))
            self.kinds.append(PartKind.LEAF)
            self.contents.append(OPAQUE_CONTENT)
            return -1, None
        limit = delimiter.start if delimiter else len(self.raw)
        body_start = header_size(self.raw, start, limit)
        self.starts.append((start, body_start))
        header = self.raw[start : min(body_start, start + self.limits.header_bytes)]
        if body_start - start > self.limits.header_bytes:
            self.truncated = True
        if parent >= 0 and self.kinds[parent] is PartKind.MESSAGE and self.is_encoded(parent):
            content, boundary = OPAQUE_CONTENT._replace(encoding=self.contents[parent].encoding), None
            self.starts[index] = (start, start)
        else:
            in_digest = (
                parent >= 0
                and self.contents[parent].type == "multipart"
                and (self.contents[parent].subtype == "digest")
            )
            content, boundary = read_content(header, MESSAGE_CONTENT if in_digest else TEXT_CONTENT)
        kind = PartKind.LEAF
        nests = content.type == "multipart" or (content.type == "message" and content.subtype in {"rfc822", "global"})
        if nests and len(self.open) > self.limits.depth:
            self.truncated = True
            content = content._replace(type="application", subtype="octet-stream")
        elif content.type == "multipart":
            own = self.first_own_delimiter(index, boundary, body_start) if boundary else None
            if own is None:
                content = content._replace(type="text", subtype="plain")
            else:
                kind, delimiter = PartKind.MULTIPART, own
        elif nests:
            kind = PartKind.MESSAGE
        self.kinds.append(kind)
        self.contents.append(content)
        return index, delimiter

    def is_encoded(self, index: int) -> bool:
        """Whether an embedded message is hidden by an encoding, which RFC 2046 §5.2.1 forbids."""
        return self.contents[index].encoding not in _OPEN_ENCODINGS

    def first_own_delimiter(self, index: int, boundary: bytes, body_start: int) -> _Delimiter | None:
        """Open a level for a multipart, unless no part of it begins before an outer boundary."""
        boundary = boundary.rstrip(b" \t\r")
        if not boundary or b"\n" in boundary:
            return None
        number = len(self.levels)
        outer = self.levels[-1] if self.levels else _NO_LEVEL
        lines = {**outer.lines, b"--" + boundary: (number, False), b"--" + boundary + b"--": (number, True)}
        common = _common_prefix(outer.common, boundary) if number else boundary
        self.levels.append(_Level(index, len(self.open) - 1, lines, common))
        delimiter = self.next_delimiter(body_start)
        if delimiter is None or delimiter.level != number or delimiter.closing:
            self.levels.pop()
            return None
        return delimiter

    def next_delimiter(self, position: int) -> _Delimiter | None:
        """The next line of any open boundary, from a line's beginning on."""
        raw, level = self.raw, self.levels[-1]
        needle = b"\n--" + level.common
        window = _WINDOW + 2 * len(needle)
        dash = raw.find(b"-", position)  # at memory speed through base64, which has none
        while dash > 0:
            found = raw.find(needle, dash - 1, dash + window)
            if found < 0:
                dash = raw.find(b"-", dash + window - len(needle))
                continue
            line_end = raw.find(b"\n", found + 1)
            end = line_end if line_end >= 0 else len(raw)
            hit = level.lines.get(raw[found + 1 : end].rstrip(b" \t\r"))
            if hit is not None:
                return _Delimiter(found + 1, min(end + 1, len(raw)), *hit)
            dash = raw.find(b"-", end)
        return None

    def close_at(self, delimiter: _Delimiter | None) -> tuple[int | None, int]:
        """Close what a delimiter ends; go past epilogues.

        Returns:
            Where the next part begins, None if there is none, and its parent.
        """
        while delimiter is not None:
            level = self.levels[delimiter.level]
            end = delimiter.start - 1
            if self.raw[end - 1 : end] == b"\r":
                end -= 1
            for index in reversed(self.open[level.depth + 1 :]):
                end = max(end, self.starts[index][1])  # a header without blank line reaches to the delimiter
                self.ends[index] = end
            del self.open[level.depth + 1 :]
            del self.levels[delimiter.level + 1 :]
            if not delimiter.closing:
                return delimiter.end, level.part
            self.levels.pop()
            delimiter = self.next_delimiter(delimiter.end) if self.levels else None
        return None, -1

    def result(self) -> MimeTree:
        """Number the parts (RFC 9051 §6.4.5.1) and count their lines."""
        parts: list[Part] = []
        prefixes: list[tuple[int, ...]] = []
        counts: list[int] = []
        for parent, (header_start, body_start), body_end, kind, content in zip(
            self.parents, self.starts, self.ends, self.kinds, self.contents, strict=True
        ):
            if parent >= 0 and self.kinds[parent] is PartKind.MULTIPART:
                counts[parent] += 1
                number = (*prefixes[parent], counts[parent])
            else:
                number = prefixes[parent] if parent >= 0 else ()
                if kind is not PartKind.MULTIPART:
                    number = (*number, 1)
            prefixes.append(number)
            counts.append(0)
            counted = content.type == "text" or kind is PartKind.MESSAGE
            lines = self.raw.count(b"\n", body_start, body_end) if counted else 0
            parts.append(Part(number, parent, kind, header_start, body_start, body_end, lines, *content))
        return MimeTree(len(self.raw), tuple(parts), self.truncated)


def _common_prefix(first: bytes, second: bytes) -> bytes:
    length = min(len(first), len(second))
    if first[:length] == second[:length]:
        return first[:length]
    return first[: next(at for at in range(length) if first[at] != second[at])]
