"""What stays in a message document: the message minus the parts stored apart, and where those belong.

Offsets count in the message as it arrived; trace headers that a delivery puts before it are kept apart
(`prefix`), so the copies of many recipients share one skeleton.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import zstandard

from mailcore.errors import StoreDamaged
from mailcore.message.mime_tree import MimeTree
from mailcore.message.split import Codec, Cut, choose_blobs
from mailcore.model.octets import Octets

VERSION = 1
RAW, ZSTD = 0, 1
LEVEL = 3
DOCUMENT_BYTES = 1 << 20
"""Skeleton and serialized items together are at most this."""
LEAST_SKELETON_BYTES = 256 * 1024
"""However large the serialized items are, so much of the message stays together."""
MAX_PART_CUTS = 200
"""More parts than this are not stored one by one: each costs a reference for each recipient."""
HOT_TEXT_BYTES = 4 << 20
"""Text up to this size is kept on the hot set: it can be read while the cold one is away."""

Machine = TypeVar("Machine")

_SPLICE = struct.Struct("<IIIBIB32s")
_LINE_ENDS = (b"", b"\n", b"\r\n")


class Splice(NamedTuple):
    """A cut, and the blob that fills it."""

    cut: Cut
    decoded_size: int
    address: bytes


@dataclass(frozen=True, slots=True)
class PlannedCut:
    """A cut, and whether its blob is to be kept on the hot set."""

    cut: Cut
    stays_hot: bool


def plan_cuts(tree: MimeTree, raw: Octets, items_bytes: int) -> list[PlannedCut]:
    """Return what is stored apart so that the rest and `items_bytes` of serialized items fit a document.

    First parts, by type and size and then by what fits; then, if single parts do not help (huge headers, thousands
    of small parts), whole ranges.
    """
    budget = max(DOCUMENT_BYTES - items_bytes, LEAST_SKELETON_BYTES)
    cuts = choose_blobs(tree, raw, budget)
    if len(cuts) > MAX_PART_CUTS:
        cuts = sorted(sorted(cuts, key=lambda cut: -cut.size)[:MAX_PART_CUTS], key=lambda cut: cut.start)
    planned = [PlannedCut(cut, _is_shown_text(tree, cut)) for cut in cuts]
    left = tree.raw_size - sum(cut.size for cut in cuts)
    if left > budget:
        for start, end in sorted(_gaps(tree, cuts), key=lambda gap: gap[0] - gap[1]):
            if left <= budget:
                break
            planned.append(PlannedCut(Cut(-1, start, end), stays_hot=end - start <= HOT_TEXT_BYTES))
            left -= end - start
        planned.sort(key=lambda plan: plan.cut.start)
    return planned


def remainder(raw: Octets, cuts: Sequence[Cut]) -> bytes:
    """Return the message without its cuts."""
    if not cuts:
        return raw[:]
    pieces: list[bytes] = []
    position = 0
    for cut in cuts:
        pieces.append(raw[position : cut.start])
        position = cut.end
    pieces.append(raw[position:])
    return b"".join(pieces)


def pack_splices(splices: Sequence[Splice]) -> bytes:
    """Return the splice table, 50 bytes for each."""
    return b"".join(
        _SPLICE.pack(cut.start, cut.end, size, cut.codec, cut.line_length, _LINE_ENDS.index(cut.line_end), address)
        for cut, size, address in splices
    )


def unpack_splices(packed: bytes) -> list[Splice]:
    """Return the splices that `pack_splices` wrote."""
    return [
        Splice(Cut(-1, start, end, Codec(codec), line_length, _LINE_ENDS[line_end]), size, address)
        for start, end, size, codec, line_length, line_end, address in _SPLICE.iter_unpack(packed)
    ]


class SkeletonCodec:
    """Compresses and restores; its compressors are used by one thread at a time."""

    def __init__(self) -> None:
        self._compressors: list[zstandard.ZstdCompressor] = []
        self._decompressors: list[zstandard.ZstdDecompressor] = []

    def compress(self, data: bytes) -> tuple[bytes, bytes]:
        """Return the format mark (version, codec, key id) and the bytes to store."""
        compressor = _taken(self._compressors) or zstandard.ZstdCompressor(level=LEVEL)
        try:
            packed = compressor.compress(data)
        finally:
            self._compressors.append(compressor)
        if len(packed) >= len(data):
            return bytes((VERSION, RAW, 0)), data
        return bytes((VERSION, ZSTD, 0)), packed

    def restore(self, mark: bytes, stored: bytes) -> bytes:
        """Return the bytes of which `compress` made these.

        Raises:
            StoreDamaged: a version, codec or key that this program does not know, or damaged.
        """
        if len(mark) != 3 or mark[0] != VERSION or mark[1] > ZSTD or mark[2]:
            raise StoreDamaged("message format", mark.hex())
        if mark[1] == RAW:
            return stored
        decompressor = _taken(self._decompressors) or zstandard.ZstdDecompressor()
        try:
            return decompressor.decompress(stored)
        except zstandard.ZstdError as error:
            raise StoreDamaged("skeleton") from error
        finally:
            self._decompressors.append(decompressor)


def _taken(idle: list[Machine]) -> Machine | None:
    """Take one that no other thread uses."""
    try:
        return idle.pop()
    except IndexError:
        return None


def _is_shown_text(tree: MimeTree, cut: Cut) -> bool:
    part = tree.parts[cut.part_index]
    return part.type == "text" and part.disposition != "attachment" and cut.size <= HOT_TEXT_BYTES


def _gaps(tree: MimeTree, cuts: Sequence[Cut]) -> Iterator[tuple[int, int]]:
    """The ranges outside the cuts, the message's header apart from what follows."""
    position = 0
    header_end = tree.root.body_start
    for start, end in [*((cut.start, cut.end) for cut in cuts), (tree.raw_size, tree.raw_size)]:
        if position < header_end < start:
            yield position, header_end
            position = header_end
        if position < start:
            yield position, start
        position = end
