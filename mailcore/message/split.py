"""Which parts of a message are stored apart as blobs, and how their bytes come back exactly.

A base64 body is stored decoded only if encoding it again was proven to give the same bytes: lines of one length, one
kind of line end, nothing else in between. The line end behind the last line stays in the message. So a cut is a
byte range and three facts, and the same file in two messages is one blob whatever their line lengths are.
"""

from __future__ import annotations

import binascii
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
import pybase64

from mailcore.message.mime_tree import MimeTree, Part, PartKind
from mailcore.model.octets import Octets, Sliced

BLOB_BYTES = 32 * 1024
"""Parts other than text become blobs from this size on, encoded."""
TEXT_BLOB_BYTES = 256 * 1024
"""Text does from this size on, for search reads it."""
SKELETON_BYTES = 1 << 20
"""What remains of a message is at most this, if its parts allow."""
SMALLEST_BLOB_BYTES = 1024
"""Below this a part stays in the skeleton, however many there are."""
CHUNK_BYTES = 1_026_000
"""Size of stored chunks: whole lines of 76, 72, 64 and 60 characters, just below 1 MiB."""

_PIECE_BYTES = 128 * 1024
"""So much is encoded at once: it stays in the processor's cache until it has been sent."""
_FIRST_LINE_BYTES = 1026
_PROVEN_BYTES = 1 << 20


class Codec(IntEnum):
    """How a blob's bytes relate to the message's."""

    IDENTITY = 0
    BASE64 = 1


@dataclass(frozen=True, slots=True)
class Cut:
    """A range of the message that is stored as a blob.

    Attributes:
        part_index: of the part in the tree.
        start: offset of the first byte in the raw message.
        end: offset behind the last.
        codec: what the blob holds.
        line_length: characters of a base64 line, a multiple of 4; 0 for identity.
        line_end: CRLF or LF between lines; empty for identity, or where there is one line only.
        decoded: the blob, as the proof made it; None for a cut that was stored.
    """

    part_index: int
    start: int
    end: int
    codec: Codec = Codec.IDENTITY
    line_length: int = 0
    line_end: bytes = b""
    decoded: bytes | None = field(default=None, repr=False, compare=False)

    @property
    def size(self) -> int:
        """Bytes in the message."""
        return self.end - self.start


def choose_blobs(tree: MimeTree, raw: Octets, skeleton_bytes: int = SKELETON_BYTES) -> list[Cut]:
    """The cuts of a message in their order, decided by type and size, then by what the skeleton may hold."""
    chosen: list[int] = []
    others: list[int] = []
    left = tree.raw_size
    for index, part in enumerate(tree.parts):
        if part.kind is not PartKind.LEAF or part.size < SMALLEST_BLOB_BYTES:
            continue
        if part.size >= (TEXT_BLOB_BYTES if part.type == "text" else BLOB_BYTES):
            chosen.append(index)
            left -= part.size
        else:
            others.append(index)
    if left > skeleton_bytes:
        others.sort(key=lambda index: -tree.parts[index].size)
        for index in others:
            if left <= skeleton_bytes:
                break
            chosen.append(index)
            left -= tree.parts[index].size
    return [_cut(index, tree.parts[index], raw) for index in sorted(chosen)]


def decode(body: bytes, cut: Cut) -> bytes:
    """The blob of a cut, from the cut's bytes of the message."""
    if cut.codec is Codec.IDENTITY:
        return body
    if cut.decoded is not None:
        return cut.decoded
    return pybase64.b64decode(body, ignorechars=b"\r\n", canonical=True)


def content_of(raw: Octets, cut: Cut) -> Sliced:
    """The blob of a cut, to be had by ranges where the message does not lie in memory."""
    return decode(raw[cut.start : cut.end], cut) if isinstance(raw, bytes) else _CutContent(raw, cut)


class _CutContent:
    """What a cut decodes to, out of a message that does not lie in memory."""

    __slots__ = ("_cut", "_raw", "_size")

    def __init__(self, raw: Octets, cut: Cut) -> None:
        self._raw = raw
        self._cut = cut
        self._size = cut.size
        if cut.codec is Codec.BASE64:
            stride = cut.line_length + len(cut.line_end)
            count = (cut.size - 1) // stride
            padding = raw[cut.end - 2 : cut.end].count(b"=")
            self._size = (count * cut.line_length + cut.size - count * stride) // 4 * 3 - padding

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, wanted: slice, /) -> bytes:
        start, end, _ = wanted.indices(self._size)
        if start >= end:
            return b""
        span = self._cut
        if span.codec is Codec.IDENTITY:
            return self._raw[span.start + start : span.start + end]
        stride = span.line_length + len(span.line_end)
        line_bytes = span.line_length // 4 * 3
        first = start // line_bytes
        encoded = self._raw[span.start + first * stride : min(span.start + (-(-end // line_bytes)) * stride, span.end)]
        decoded = pybase64.b64decode(encoded, ignorechars=b"\r\n")
        return decoded[start - first * line_bytes : end - first * line_bytes]


def encode(decoded: bytes, cut: Cut) -> bytes:
    """The bytes of the message again, from the whole blob."""
    return b"".join(encode_chunks((decoded,), cut))


def encode_chunks(chunks: Iterable[bytes], cut: Cut) -> Iterator[bytes]:
    """The bytes of the message, piece by piece, from the blob's chunks of any size in order."""
    if cut.codec is Codec.IDENTITY:
        yield from chunks
        return
    line_bytes = cut.line_length // 4 * 3
    piece_bytes = max(1, _PIECE_BYTES // cut.line_length) * line_bytes
    rest = b""
    skip = len(cut.line_end)  # no line end stands before the first line
    for chunk in chunks:
        data = memoryview(rest + chunk if rest else chunk)
        whole = len(data) - len(data) % line_bytes
        rest = bytes(data[whole:])
        for start in range(0, whole, piece_bytes):
            yield _encode_lines(data[start : min(start + piece_bytes, whole)], cut)[skip:]
            skip = 0
    if rest:
        yield cut.line_end[skip:] + pybase64.b64encode(rest)


def _encode_lines(data: memoryview, cut: Cut) -> bytes:
    """Whole lines of a base64 cut, each with the line end before it; numpy moves them without an object a line."""
    encoded = pybase64.b64encode(data)
    if not cut.line_end:
        return encoded
    line = f"V{cut.line_length}"
    lines = np.empty(len(encoded) // cut.line_length, [("end", f"V{len(cut.line_end)}"), ("line", line)])
    lines["end"] = np.void(cut.line_end)
    lines["line"] = np.frombuffer(encoded, line)
    return lines.tobytes()


@dataclass(frozen=True, slots=True)
class BlobSpan:
    """The part of a blob that a range of the message comes from.

    Attributes:
        start: first byte of the blob, the beginning of a line.
        end: behind the last byte.
        skip: encoded bytes of `blob[start:end]` before the wanted ones.
    """

    start: int
    end: int
    skip: int


def blob_span(cut: Cut, start: int, end: int, blob_bytes: int) -> BlobSpan:
    """Which bytes of a blob are needed for `start` to `end`, counted from the cut's start (BODY[]<partial>)."""
    if cut.codec is Codec.IDENTITY:
        return BlobSpan(start, end, 0)
    stride = cut.line_length + len(cut.line_end)
    line_bytes = cut.line_length // 4 * 3
    first = start // stride
    last = -(-end // stride)
    # One more line, so that the line end behind the last wanted one is written too.
    return BlobSpan(first * line_bytes, min((last + 1) * line_bytes, blob_bytes), start - first * stride)


def _cut(index: int, part: Part, raw: Octets) -> Cut:
    """The cut of a part: base64 if that is exact, else its body as it is."""
    plain = Cut(index, part.body_start, part.body_end)
    if part.encoding != "base64":
        return plain
    return _base64_cut(index, part, raw) or plain


def _base64_cut(index: int, part: Part, raw: Octets) -> Cut | None:
    """Prove that a body is what `encode` would make of its blob; None if not."""
    start, end = part.body_start, part.body_end
    while end > start and raw[end - 1] in b"\r\n":
        end -= 1
    size = end - start
    first = raw.find(b"\n", start, min(start + _FIRST_LINE_BYTES, end))
    if first < 0:
        line_length, line_end = size, b""
        if size > _FIRST_LINE_BYTES * 1024:
            return None
    else:
        line_end = b"\r\n" if raw[first - 1] == 13 else b"\n"
        line_length = first - start + 1 - len(line_end)
    if line_length < 4 or line_length % 4:
        return None
    if isinstance(raw, bytes):
        decoded = _proven(raw[start:end], line_length, line_end)
        return None if decoded is None else Cut(index, start, end, Codec.BASE64, line_length, line_end, decoded)
    is_exact = _is_proven_by_pieces(raw, start, end, line_length, line_end)
    return Cut(index, start, end, Codec.BASE64, line_length, line_end) if is_exact else None


def _is_proven_by_pieces(raw: Octets, start: int, end: int, line_length: int, line_end: bytes) -> bool:
    """As `_proven`, of a body that is looked at some lines at a time: each piece but the last is whole lines."""
    stride = line_length + len(line_end)
    lines = max(1, _PROVEN_BYTES // stride)
    while end - start > lines * stride:
        piece = raw[start : start + lines * stride]
        if piece[len(piece) - len(line_end) :] != line_end:
            return False
        decoded = _proven(piece[: len(piece) - len(line_end)], line_length, line_end)
        if decoded is None or len(decoded) != lines * line_length // 4 * 3:
            return False
        start += lines * stride
    return _proven(raw[start:end], line_length, line_end) is not None


def _proven(body: bytes, line_length: int, line_end: bytes) -> bytes | None:
    """What a body decodes to, if its lines are such that `encode` makes them again; None if not."""
    size = len(body)
    stride = line_length + len(line_end)
    count = (size - 1) // stride  # line ends between lines
    last = size - count * stride
    if line_end and not _has_line_ends(body, line_length, line_end, count):
        return None
    if not 4 <= last <= line_length:
        return None
    try:
        decoded = pybase64.b64decode(body, ignorechars=b"\r\n", canonical=True)
    except binascii.Error:
        return None
    characters = size - count * len(line_end)
    if len(decoded) != characters // 4 * 3 - body.count(b"=", max(size - 2, 0)) or characters % 4:
        return None  # there are line ends elsewhere
    return decoded


def _has_line_ends(body: bytes, line_length: int, line_end: bytes, count: int) -> bool:
    """Whether every line has the same length and end."""
    stride = line_length + len(line_end)
    return all(
        body[line_length + offset :: stride][:count] == line_end[offset : offset + 1] * count
        for offset in range(len(line_end))
    )
