"""How numbers and rows are packed into bytes: ranges, rows of the log, compressed columns.

Every packed value begins with version, codec and key id, so that encryption can come later
without rewriting what is stored.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import zstandard

from mailcore.errors import StoreDamaged
from mailcore.model.row import NewRow
from mailcore.model.uid_set import UidSet

VERSION = 1
PLAIN = 0
ZSTD = 1
NO_KEY = 0
PREFIX = struct.Struct("<BBB")
ZSTD_LEVEL = 3

Array = npt.NDArray[Any]

LOG_ROW = np.dtype(
    [
        ("message_oid", "u1", (12,)),
        ("flags", "<u8"),
        ("size_bytes", "<u4"),
        ("internal_date", "<i8"),
        ("saved_date", "<i8"),
        ("header_date", "<i8"),
        ("thread", "<u8"),
        ("message_id_hash", "<u8"),
        ("source_uid", "<u4"),
    ]
)
"""One appended message in a log entry or row block; `source_uid` is 0 unless it was moved here."""
_LOG_ROW = struct.Struct("<12sQIqqqQQI")
assert _LOG_ROW.size == LOG_ROW.itemsize
RANGE = np.dtype("<u4")


def seal(data: bytes) -> bytes:
    """Return `data` compressed, behind its prefix."""
    return PREFIX.pack(VERSION, ZSTD, NO_KEY) + zstandard.ZstdCompressor(level=ZSTD_LEVEL).compress(data)


def unseal(stored: bytes) -> bytes:
    """Return what `seal` was given.

    Raises:
        StoreDamaged: another version or codec, or damaged.
    """
    if stored[:3] != _SEALED:
        raise StoreDamaged("packed value of unknown format", stored[:3])
    try:
        return _decompressor().decompress(memoryview(stored)[3:])
    except zstandard.ZstdError as error:
        raise StoreDamaged("packed value does not decompress", str(error)) from error


_SEALED = PREFIX.pack(VERSION, ZSTD, NO_KEY)


def _decompressor() -> zstandard.ZstdDecompressor:
    return zstandard.ZstdDecompressor()


def pack_rows(rows: Iterable[NewRow], source_uids: Sequence[int] | None = None) -> bytes:
    """Return rows in the form of `LOG_ROW`."""
    pack = _LOG_ROW.pack
    return b"".join(
        pack(
            row.message_oid, row.flags, row.size_bytes, row.internal_date, row.saved_date, row.header_date, row.thread,
            row.message_id_hash, source_uids[index] if source_uids is not None else 0,
        )
        for index, row in enumerate(rows)
    )  # fmt: skip


def rows_array(data: bytes) -> Array:
    """Return packed rows as an array of `LOG_ROW`, without copying."""
    return np.frombuffer(data, LOG_ROW)


def pack_uids(uids: UidSet) -> bytes:
    """Return the ranges of a set, two 32-bit numbers each."""
    return np.array(uids.ranges, RANGE).tobytes()


def ranges_array(data: bytes) -> Array:
    """Return packed ranges as an array of two columns, without copying."""
    return np.frombuffer(data, RANGE).reshape(-1, 2)


def unpack_uids(data: bytes) -> UidSet:
    """Return the set that `pack_uids` was given."""
    return UidSet(tuple(cast("list[tuple[int, int]]", list(map(tuple, ranges_array(data).tolist())))))


def uid_set_of(uids: Array) -> UidSet:
    """Return the set of an ascending array of UIDs."""
    return UidSet.of_ascending(uids)


def rows_in_ranges(uids: Array, ranges: Array) -> Array:
    """Return the indexes into the ascending `uids` that lie in any of the ascending ranges."""
    if not len(uids) or not len(ranges):
        return np.empty(0, np.intp)
    starts = np.searchsorted(uids, ranges[:, 0], "left")
    ends = np.searchsorted(uids, ranges[:, 1], "right")
    if len(starts) == 1:
        return np.arange(starts[0], ends[0])
    lengths = ends - starts
    total = int(lengths.sum())
    if not total:
        return np.empty(0, np.intp)
    offsets = np.repeat(starts - (np.cumsum(lengths) - lengths), lengths)
    return offsets + np.arange(total)
