"""Text blocks: header and body text of the messages of one range of UIDs, normalized, packed and scanned as one.

A UID never changes its message, so a block stays true whatever happens to flags or other
messages; rows that are gone are simply not looked for. Format 1: prefix of three bytes (version, codec, key), then
compressed: count; per message UID, end of its header text, end of its body text and whether that is all of it
(4, 4, 4, 1 bytes); header texts, body texts.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from mailcore.errors import StoreDamaged
from mailcore.message.encoded_words import decode_header
from mailcore.message.text import normalize
from mailcore.model.content import SearchableText
from mailcore.store.mailbox.packed import seal, unseal

RANGE_UIDS: Final = 1024
MAX_TEXT_BYTES: Final = 6 << 20
"""Of a block before compression; messages beyond are scanned one by one."""
OPAQUE_FIELDS: Final = frozenset(
    b"dkim-signature domainkey-signature arc-seal arc-message-signature x-google-dkim-signature "
    b"x-gm-message-state autocrypt face x-face".split()
)
"""Fields that hold nothing but encoded data: not part of the text, still found by their name."""

_FOLD = re.compile(rb"\r?\n(?=[ \t])")
_FIELD = re.compile(rb"^([!-9;-~]+)[ \t]*:[ \t]*([^\n]*)", re.MULTILINE)
_LOWER = bytes(32 if code < 32 or code == 127 else code for code in range(256)).lower()
_COUNT = struct.Struct("<I")

Uids = npt.NDArray[np.uint32]


class BlockText(NamedTuple):
    """Normalized text of one message; the header has a line `name: value` for each field."""

    header: bytes
    body: bytes
    is_whole: bool


def block_text(searchable: SearchableText) -> BlockText:
    """Normalize what SEARCH looks through."""
    lines = [b"\n"]
    for name, value in _FIELD.findall(_FOLD.sub(b"", searchable.header)):
        name = name.lower()
        if name in OPAQUE_FIELDS:
            continue
        if value.isascii() and b"=?" not in value:
            text = value.translate(_LOWER).strip()
        else:
            text = normalize(decode_header(value)).replace("\n", " ").encode("utf-8", "replace")
        lines += (name, b": ", text, b"\n")
    body = normalize(searchable.text.replace("\0", " ")).encode("utf-8", "replace")
    return BlockText(b"".join(lines), body, searchable.is_whole)


class TextBlock:
    """Texts of some messages, in the order of their UIDs."""

    __slots__ = ("_bodies", "_body_ends", "_header_ends", "_headers", "_whole", "uids")

    def __init__(
        self,
        uids: Uids,
        header_ends: npt.NDArray[np.uint32],
        body_ends: npt.NDArray[np.uint32],
        whole: npt.NDArray[np.bool_],
        headers: bytes,
        bodies: bytes,
    ) -> None:
        self.uids = uids
        self._header_ends = header_ends
        self._body_ends = body_ends
        self._whole = whole
        self._headers = headers
        self._bodies = bodies

    @classmethod
    def of(cls, texts: Iterable[tuple[int, BlockText]]) -> TextBlock:
        """Build from texts in the order of their UIDs."""
        entries = list(texts)
        return cls(
            np.array([uid for uid, _ in entries], np.uint32),
            np.cumsum([len(text.header) for _, text in entries], dtype=np.uint32),
            np.cumsum([len(text.body) for _, text in entries], dtype=np.uint32),
            np.array([text.is_whole for _, text in entries], np.bool_),
            b"".join(text.header for _, text in entries),
            b"".join(text.body for _, text in entries),
        )

    def entries(self) -> Iterable[tuple[int, BlockText]]:
        """Yield the texts again."""
        header_start = body_start = 0
        for uid, header_end, body_end, whole in zip(
            self.uids.tolist(), self._header_ends.tolist(), self._body_ends.tolist(), self._whole.tolist(), strict=True
        ):
            yield uid, BlockText(self._headers[header_start:header_end], self._bodies[body_start:body_end], whole)
            header_start, body_start = header_end, body_end

    @property
    def size_bytes(self) -> int:
        """Bytes of all texts."""
        return len(self._headers) + len(self._bodies)

    # -- looking --------------------------------------------------------------------------------

    def body_contains(self, needle: bytes) -> npt.NDArray[np.bool_]:
        """Return for each message whether its body text contains the needle."""
        return _hits(self._bodies, self._body_ends, needle)

    def header_contains(self, needle: bytes) -> npt.NDArray[np.bool_]:
        """Return for each message whether some line of its header text contains the needle."""
        return _hits(self._headers, self._header_ends, needle) if b"\n" not in needle else self._nothing()

    def field_contains(self, name: bytes, needle: bytes) -> npt.NDArray[np.bool_]:
        """Return for each message whether a field of that name contains the needle; an empty one: is there."""
        label = name + b":"
        if not needle:
            return _hits(self._headers, self._header_ends, b"\n" + label)
        found = self._nothing()
        if b"\n" in needle:
            return found  # no value has a line end
        ends = self._header_ends.tolist()
        headers = self._headers
        index = 0
        position = headers.find(needle)
        while position >= 0:
            while ends[index] <= position:
                index += 1
            line = headers.rfind(b"\n", 0, position) + 1
            if not headers.startswith(label, line):
                line = headers.find(b"\n" + label, position, ends[index]) + 1
            value = line + len(label) + 1
            if not line:
                position = headers.find(needle, ends[index])
            elif position < value:
                position = headers.find(needle, value)
            else:
                found[index] = True
                position = headers.find(needle, ends[index])
        return found

    def _nothing(self) -> npt.NDArray[np.bool_]:
        return np.zeros(len(self.uids), np.bool_)

    @property
    def cut(self) -> npt.NDArray[np.bool_]:
        """For each message whether its body text was cut for its size."""
        return ~self._whole

    # -- stored form ----------------------------------------------------------------------------

    def pack(self) -> bytes:
        """Return the stored form."""
        return seal(
            b"".join(
                (
                    _COUNT.pack(len(self.uids)),
                    self.uids.astype("<u4").tobytes(),
                    self._header_ends.astype("<u4").tobytes(),
                    self._body_ends.astype("<u4").tobytes(),
                    self._whole.astype(np.uint8).tobytes(),
                    self._headers,
                    self._bodies,
                )
            )
        )

    @classmethod
    def unpack(cls, stored: bytes) -> TextBlock:
        """Return the block that `pack` wrote.

        Raises:
            StoreDamaged: another version, or damaged.
        """
        data = unseal(stored)
        if len(data) < _COUNT.size:
            raise StoreDamaged("text block")
        count = _COUNT.unpack_from(data)[0]
        start = _COUNT.size + count * 13
        if len(data) < start:
            raise StoreDamaged("text block")
        columns = [np.frombuffer(data, "<u4", count, _COUNT.size + count * 4 * index) for index in range(3)]
        whole = np.frombuffer(data, np.uint8, count, _COUNT.size + count * 12).astype(np.bool_)
        split = start + (int(columns[1][-1]) if count else 0)
        if len(data) != split + (int(columns[2][-1]) if count else 0):
            raise StoreDamaged("text block")
        return cls(columns[0], columns[1], columns[2], whole, data[start:split], data[split:])


def merge(blocks: Sequence[TextBlock], keep: Uids) -> TextBlock:
    """Return one block of those messages of several that are among `keep`, as many as fit, smallest UID first."""
    wanted = set(keep.tolist())
    entries = sorted(entry for block in blocks for entry in block.entries() if entry[0] in wanted)
    size = 0
    kept = []
    for uid, text in entries:
        size += len(text.header) + len(text.body)
        if size <= MAX_TEXT_BYTES:
            kept.append((uid, text))
    return TextBlock.of(kept)


def range_key(number: int) -> bytes:
    """Return the key of the block for UIDs from number * RANGE_UIDS on."""
    return struct.pack(">Q", number)


def _hits(data: bytes, ends: npt.NDArray[np.uint32], needle: bytes) -> npt.NDArray[np.bool_]:
    """Return for each text whether it contains the needle; a match across two texts is none."""
    count = len(ends)
    if not needle:
        return np.ones(count, np.bool_)
    found = np.zeros(count, np.bool_)
    bounds = ends.tolist()
    index = 0
    size = len(needle)
    position = data.find(needle)
    while position >= 0:
        while bounds[index] <= position:
            index += 1
        end = bounds[index]
        if position + size <= end:
            found[index] = True
            position = data.find(needle, end)
        else:
            position = data.find(needle, position + 1)
    return found
