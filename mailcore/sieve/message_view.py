"""A message as scripts see it; nothing is decoded before a script asks for it, and nothing twice."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable
from functools import cached_property
from typing import Any, TypeVar

from mailcore.message.charset import decode_text
from mailcore.message.headers import header_size
from mailcore.message.mime_tree import MimeTree, Part, PartKind, scan
from mailcore.message.preview import has_attachment
from mailcore.message.text import part_text
from mailcore.message.transfer import decode_transfer
from mailcore.model.limits import DEFAULT_LIMITS
from mailcore.sieve.headers import Headers

T = TypeVar("T")

MARKUP = 8
"""So many times as many bytes of source are read at most as of visible text."""
_MADE = 32
"""So many decoded or folded texts are kept for the next who asks."""
_HEADER_BYTES = DEFAULT_LIMITS.scan.header_bytes
_BLANK_LINE = re.compile(rb"(?:^|\n)\r?\n\Z")
_REPORTS = frozenset({"delivery-status", "disposition-notification", "feedback-report"})


class MessageView:
    """One message. Its recipients' scripts may share the view, and with it all that was decoded."""

    def __init__(self, raw: bytes, tree: MimeTree | None = None) -> None:
        """Take a message.

        Args:
            raw: its bytes.
            tree: of `raw`, where somebody has it already.
        """
        self.raw = raw
        self.size_bytes = len(raw)
        self._made: dict[Hashable, Any] = {}
        if tree is not None:
            self.tree = tree

    @cached_property
    def tree(self) -> MimeTree:
        """Its parts."""
        return scan(self.raw)

    @cached_property
    def body_start(self) -> int:
        """Where the header with its blank line ends."""
        return header_size(self.raw)

    @cached_property
    def headers(self) -> Headers:
        """Its header; of one that is too large the beginning."""
        return Headers(self.raw[: min(self.body_start, _HEADER_BYTES)])

    @property
    def has_whole_header(self) -> bool:
        """Whether `headers` has all of it."""
        return self.body_start <= _HEADER_BYTES

    @cached_property
    def has_attachment(self) -> bool:
        """Whether there is something to save."""
        return has_attachment(self.tree)

    @cached_property
    def has_body(self) -> bool:
        """Whether there is a blank line behind the header; what follows it may be nothing (RFC 5173 §4)."""
        return _BLANK_LINE.search(self.raw, max(self.body_start - 4, 0), self.body_start) is not None

    def remember(self, what: Hashable, make: Callable[[], T]) -> T:
        """Something made of this message: what was made before, if it was and there was room for it."""
        if what not in self._made:
            if len(self._made) >= _MADE:
                self._made.clear()
            self._made[what] = make()
        made: T = self._made[what]
        return made

    def texts(self, max_bytes: int) -> tuple[str, ...]:
        """The visible text of each text part, HTML without its markup (RFC 5173 §5.3); lines end in CRLF.

        Args:
            max_bytes: of UTF-8 in all together.
        """
        return self.remember(("text", max_bytes), lambda: self._read_texts(max_bytes))

    def _read_texts(self, max_bytes: int) -> tuple[str, ...]:
        found: list[str] = []
        left, source = max_bytes, max_bytes * MARKUP
        for part in self.tree.parts:
            if (
                part.kind is PartKind.LEAF
                and (part.type == "text" or part.subtype in _REPORTS)
                and min(left, source) > 0
            ):
                beginning = part._replace(body_end=min(part.body_end, part.body_start + source))
                text = _cut(part_text(self.raw, beginning, left), left)
                source -= beginning.size
                left -= len(text.encode("utf-8", "replace"))
                found.append(text.replace("\n", "\r\n"))
        return tuple(found)

    def raw_text(self, max_bytes: int) -> str:
        """The body as it came, one part or many, undecoded (RFC 5173 §5.1)."""
        start = self.body_start
        return self.remember(("raw", max_bytes), lambda: decode_text(self.raw[start : start + max_bytes], None))

    def contents(self, wanted: tuple[str, ...], max_bytes: int) -> tuple[str, ...]:
        """The decoded content of each part of one of these types (RFC 5173 §5.2).

        Of a multipart that is its prologue and its epilogue, of a message within its header.

        Args:
            wanted: lower case; a type, type/subtype, or "" for every part.
            max_bytes: of all together, before decoding.
        """
        return self.remember(("content", wanted, max_bytes), lambda: self._read_contents(wanted, max_bytes))

    def _read_contents(self, wanted: tuple[str, ...], max_bytes: int) -> tuple[str, ...]:
        found: list[str] = []
        left = max_bytes
        for index, part in enumerate(self.tree.parts):
            if left > 0 and _is_wanted(part, wanted):
                for text in self._content(index, part, left):
                    left -= len(text)
                    found.append(text)
        return tuple(found)

    def _content(self, index: int, part: Part, max_bytes: int) -> tuple[str, ...]:
        """What belongs to one part and to none within it."""
        if part.kind is PartKind.LEAF:
            body = self.raw[part.body_start : min(part.body_end, part.body_start + max_bytes)]
            decoded = decode_transfer(body, part.encoding)
            charset = part.parameters.get("charset") if part.type == "text" else None
            return (decode_text(body if decoded is None else decoded, charset),)
        children = [self.tree.parts[child] for child in self.tree.child_indexes(index)]
        if not children:
            return ()
        if part.kind is PartKind.MESSAGE:
            header = self.raw[children[0].header_start : children[0].body_start]
            return (decode_text(header[:max_bytes], None),)
        before = self.raw[part.body_start : children[0].header_start]
        behind = self.raw[children[-1].body_end : part.body_end]
        prologue = before[: before.rfind(b"\n--") + 1]  # the last line is the delimiter
        epilogue = behind.lstrip(b"\r\n").partition(b"\n")[2]  # so is the first
        return decode_text(prologue[:max_bytes], None), decode_text(epilogue[:max_bytes], None)


def _is_wanted(part: Part, wanted: tuple[str, ...]) -> bool:
    return any(each in {"", part.type, f"{part.type}/{part.subtype}"} for each in wanted)


def _cut(text: str, max_bytes: int) -> str:
    """Its beginning, of so many bytes of UTF-8."""
    if len(text) * 4 <= max_bytes:
        return text
    return text.encode("utf-8", "replace")[:max_bytes].decode("utf-8", "ignore")
