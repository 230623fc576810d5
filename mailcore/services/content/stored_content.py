"""One stored message: any range of its bytes, out of its skeleton and its blobs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mailcore.errors import StoreDamaged
from mailcore.message.parts_table import PartsTable, unpack_parts
from mailcore.message.split import blob_span, encode_chunks
from mailcore.model.ids import TenantId
from mailcore.model.section import Section, SectionText
from mailcore.store.message.blob_reader import BlobReader, Span
from mailcore.store.message.skeleton import SkeletonCodec, Splice, unpack_splices

HEADER = Section((), SectionText.HEADER)
AHEAD_BYTES = 2 << 20
"""So much of attachments is held for messages that follow each other; a larger message is read piece by piece."""


class Content:
    """One stored message, of which any range can be read; only the chunks that a range needs are fetched."""

    __slots__ = (
        "_blobs",
        "_codec",
        "_document",
        "_parts",
        "_prefix",
        "_reader",
        "_skeleton",
        "_tenant_id",
        "message_oid",
        "size_bytes",
    )

    def __init__(self, document: dict[str, Any], tenant_id: TenantId, codec: SkeletonCodec, reader: BlobReader) -> None:
        self._document = document
        self._tenant_id = tenant_id
        self._codec = codec
        self._reader = reader
        self._prefix: bytes = document.get("prefix", b"")
        self._skeleton: bytes | None = None
        self._blobs: Mapping[bytes, bytes] | None = None
        self._parts: PartsTable | None = None
        self.message_oid: bytes = document["_id"][12:]
        self.size_bytes: int = document["size"]

    @property
    def parts(self) -> PartsTable:
        """Where the sections of the message are.

        Raises:
            StoreDamaged: the table does not unpack.
        """
        if self._parts is None:
            try:
                self._parts = unpack_parts(self._document["parts"])
            except ValueError as error:
                raise StoreDamaged("parts table", self.message_oid.hex()) from error
        return self._parts

    @property
    def body_structure(self) -> bytes:
        """Return BODYSTRUCTURE as IMAP bytes, of a message that was opened with it."""
        structure: bytes = self._document["body_structure"]
        return structure

    def header_bytes(self) -> bytes:
        """Return the header of the message with its blank line."""
        located = self.parts.locate(HEADER)
        return b"".join(self.read(0, located[1] if located else self.size_bytes))

    def read(self, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """Yield the bytes from `start` to `end`, in pieces of at most a chunk (encoded).

        Raises:
            StoreUnavailable: what is stored apart cannot be read now.
            StoreDamaged: it is not there, or what is there does not unpack.
        """
        end = self.size_bytes if end is None else min(end, self.size_bytes)
        prefix_size = len(self._prefix)
        if start < prefix_size:
            yield self._prefix[start:end]
        start, end = max(start - prefix_size, 0), end - prefix_size
        if start >= end:
            return
        packed = self._document.get("splices")
        skeleton = self._restored()
        if packed is None:
            yield skeleton if start == 0 and end == len(skeleton) else skeleton[start:end]
            return
        yield from self._join(skeleton, unpack_splices(packed), start, end)

    def stored_apart(self) -> list[Span]:
        """Return the blobs of the message, each whole."""
        packed = self._document.get("splices")
        return [Span(blob.address, 0, blob.decoded_size) for blob in unpack_splices(packed)] if packed else []

    def keep_blobs(self, blobs: Mapping[bytes, bytes]) -> None:
        """Take all blobs of the message by address, so that `read` needs no database."""
        self._blobs = blobs

    def _restored(self) -> bytes:
        if self._skeleton is None:
            self._skeleton = self._codec.restore(self._document["format"], self._document["skeleton"])
        return self._skeleton

    def _join(self, skeleton: bytes, splices: Sequence[Splice], start: int, end: int) -> Iterator[bytes]:
        """Slices of the skeleton, and between them what comes out of the blobs."""
        spans: list[Span] = []
        plan: list[tuple[Splice, int, int]] = []  # splice, bytes to skip of what the span encodes to, bytes to take
        for splice in splices:
            cut = splice.cut
            low, high = max(start, cut.start), min(end, cut.end)
            if low < high:
                span = blob_span(cut, low - cut.start, high - cut.start, splice.decoded_size)
                spans.append(Span(splice.address, span.start, span.end))
                plan.append((splice, span.skip, high - low))
        pieces = _Grouped(self._blob_pieces(spans))
        position = 0  # in the message
        taken = 0  # bytes of cuts before it
        index = 0
        for splice in splices:
            cut = splice.cut
            yield from _slice(skeleton, max(start, position) - taken, min(end, cut.start) - taken)
            position = cut.end
            taken += cut.size
            if index < len(plan) and plan[index][0] is splice:
                _, skip, count = plan[index]
                yield from _take(encode_chunks(pieces.of(index), cut), skip, count)
                index += 1
        yield from _slice(skeleton, max(start, position) - taken, end - taken)

    def _blob_pieces(self, spans: Sequence[Span]) -> Iterator[tuple[int, bytes]]:
        blobs = self._blobs
        if blobs is None:
            return self._reader.read(self._tenant_id, spans)
        return ((index, blobs[span.address][span.start : span.end]) for index, span in enumerate(spans))


class _Grouped:
    """The pieces of one reader, asked for span by span."""

    __slots__ = ("_pieces", "_waiting")

    def __init__(self, pieces: Iterator[tuple[int, bytes]]) -> None:
        self._pieces = pieces
        self._waiting: tuple[int, bytes] | None = None

    def of(self, index: int) -> Iterator[bytes]:
        """Yield the pieces of a span; spans are asked for in order."""
        while True:
            piece = self._waiting or next(self._pieces, None)
            self._waiting = None
            if piece is None:
                return
            if piece[0] != index:
                self._waiting = piece
                return
            yield piece[1]


def _slice(data: bytes, start: int, end: int) -> Iterator[bytes]:
    if start < end:
        yield data[start:end]


def _take(pieces: Iterator[bytes], skip: int, count: int) -> Iterator[bytes]:
    """`count` bytes behind the first `skip`; the rest of `pieces` is read to its end, but not yielded."""
    for piece in pieces:
        if skip >= len(piece):
            skip -= len(piece)
            continue
        wanted = piece[skip : skip + count] if skip or len(piece) > count else piece
        skip = 0
        count -= len(wanted)
        if wanted:
            yield wanted


def groups_to_read_ahead(contents: Sequence[Content]) -> Iterator[list[Content]]:
    """Yield messages in order, together as long as what they have stored apart is at most AHEAD_BYTES."""
    group: list[Content] = []
    size = 0
    for content in contents:
        apart = sum(span.end for span in content.stored_apart())
        if group and size + apart > AHEAD_BYTES:
            yield group
            group, size = [], 0
        group.append(content)
        size += apart
    if group:
        yield group
