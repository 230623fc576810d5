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
from mailcore.model.octets import Octets

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
    needle: bytes
    """What all of them begin with, behind a line end: to search for."""


_NO_LEVEL = _Level(-1, -1, {}, b"")


def scan(raw: Octets | memoryview, limits: ScanLimits = DEFAULT) -> MimeTree:
    """Find all parts; each byte is looked at a small, fixed number of times."""
    return _Scanner(bytes(raw) if isinstance(raw, memoryview) else raw, limits).run()


class _Scanner:
    """State of one scan: what was found so far, and which parts and boundaries are open."""

    def __init__(self, raw: Octets, limits: ScanLimits) -> None:
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
        while start is not None:
            index = len(self.parents)
            delimiter = self.open_part(start, parent)
            kind = self.kinds[index]
            if kind is PartKind.MESSAGE:
                start, parent = self.starts[index][1], index
            elif delimiter is None:
                break
            elif kind is PartKind.MULTIPART:
                start, parent = delimiter.end, index
            else:
                start, parent = self.close_at(delimiter)
        for index in self.open:
            self.ends[index] = len(self.raw)
        return self.result()

    def open_part(self, start: int, parent: int) -> _Delimiter | None:
        """Read the header of the next part, which begins at `start`.

        Returns:
            The first delimiter of a multipart; for a leaf the one that ends it, None if nothing follows.
        """
        index = len(self.parents)
        self.parents.append(parent)
        self.ends.append(0)
        self.open.append(index)
        if index + 1 >= self.limits.parts:
            self.truncated = True
            return self.add(PartKind.LEAF, OPAQUE_CONTENT, start, start)
        around = self.contents[parent] if parent >= 0 else None
        if around and around.type == "message" and around.encoding not in _OPEN_ENCODINGS:
            # A message hidden by an encoding, which RFC 2046 §5.2.1 forbids.
            return self.add(PartKind.LEAF, OPAQUE_CONTENT._replace(encoding=around.encoding), start, start)
        body_start = self.header_end(start)
        header = self.raw[start : min(body_start, start + self.limits.header_bytes)]
        self.truncated |= body_start - start > self.limits.header_bytes
        in_digest = around is not None and around.subtype == "digest" and around.type == "multipart"
        content, boundary = read_content(header, MESSAGE_CONTENT if in_digest else TEXT_CONTENT)
        nests = content.type == "multipart" or (content.type == "message" and content.subtype in {"rfc822", "global"})
        if not nests:
            return self.add(PartKind.LEAF, content, start, body_start)
        if len(self.open) > self.limits.depth:
            self.truncated = True
            content = content._replace(type="application", subtype="octet-stream")
            return self.add(PartKind.LEAF, content, start, body_start)
        if content.type == "message":
            return self.add(PartKind.MESSAGE, content, start, body_start)
        own = self.first_own_delimiter(index, boundary, body_start) if boundary else None
        if own is None:
            return self.add(PartKind.LEAF, content._replace(type="text", subtype="plain"), start, body_start)
        self.add(PartKind.MULTIPART, content, start, body_start)
        return own

    def add(self, kind: PartKind, content: Content, start: int, body_start: int) -> _Delimiter | None:
        """Note what a part is; find where a leaf ends."""
        self.kinds.append(kind)
        self.contents.append(content)
        self.starts.append((start, body_start))
        leaf_within = kind is PartKind.LEAF and self.levels and len(self.kinds) < self.limits.parts
        return self.next_delimiter(body_start) if leaf_within else None

    def header_end(self, start: int) -> int:
        """Where the body begins: behind the blank line, or at a delimiter before it.

        Both are searched side by side in growing steps, so that a missing blank line costs no more than the header.
        """
        size = len(self.raw)
        if not self.levels:
            return header_size(self.raw, start, size)
        step = _WINDOW
        needle = self.levels[-1].needle
        while True:
            stop = min(start + step, size)
            body_start = header_size(self.raw, start, stop)
            if self.raw.find(needle, start - 1, body_start + len(needle)) >= 0:
                delimiter = self.next_delimiter(start, body_start)
                if delimiter is not None:
                    return delimiter.start
            if body_start < stop or stop == size:
                return body_start
            step *= 4

    def first_own_delimiter(self, index: int, boundary: bytes, body_start: int) -> _Delimiter | None:
        """Open a level for a multipart, unless no part of it begins before an outer boundary."""
        boundary = boundary.rstrip(b" \t\r")
        if not boundary or b"\n" in boundary:
            return None
        number = len(self.levels)
        outer = self.levels[-1] if self.levels else _NO_LEVEL
        lines = {**outer.lines, b"--" + boundary: (number, False), b"--" + boundary + b"--": (number, True)}
        needle = b"\n--" + boundary
        if number:
            needle = _common_prefix(outer.needle, needle)
        self.levels.append(_Level(index, len(self.open) - 1, lines, needle))
        delimiter = self.next_delimiter(body_start)
        if delimiter is None or delimiter.level != number or delimiter.closing:
            self.levels.pop()
            return None
        return delimiter

    def next_delimiter(self, position: int, stop: int | None = None) -> _Delimiter | None:
        """The next line of any open boundary that begins before `stop`; `position` is the beginning of a line."""
        raw, level = self.raw, self.levels[-1]
        needle = level.needle
        window = _WINDOW + 2 * len(needle)
        limit = len(raw) if stop is None else stop + len(needle) - 1
        dash = raw.find(b"-", position, limit)  # at memory speed through base64, which has none
        while dash > 0:
            found = raw.find(needle, dash - 1, min(dash + window, limit))
            if found < 0:
                dash = raw.find(b"-", dash + window - len(needle), limit)
                continue
            line_end = raw.find(b"\n", found + 1)
            end = line_end if line_end >= 0 else len(raw)
            hit = level.lines.get(raw[found + 1 : end].rstrip(b" \t\r"))
            if hit is not None:
                return _Delimiter(found + 1, min(end + 1, len(raw)), *hit)
            dash = raw.find(b"-", end, limit)
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
