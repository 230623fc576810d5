"""Segments: up to 4096 folded rows in two packed, immutable documents.

One holds what never changes of a row (`rows`), the other its flags and MODSEQ (`flags`), so that
a flag change of old messages rewrites a few kilobytes. A segment is replaced, never changed.
"""

from __future__ import annotations

import secrets
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
from pymongo.database import Database
from pymongo.errors import BulkWriteError

from mailcore.errors import StoreDamaged
from mailcore.model.ids import MailboxId, UserId
from mailcore.store import keys
from mailcore.store.guard import Document, deadline
from mailcore.store.mailbox.columns import Columns
from mailcore.store.mailbox.packed import Array, seal, unseal
from mailcore.store.owned import OwnedCollection

KEY_BYTES: Final = 32
ID_BYTES: Final = 8
_TABLE_PREFIX: Final = b"\x01\x00\x00"
_REF: Final = struct.Struct("<8s8sIII")
_ROW_PARTS: Final = (
    ("uids", np.dtype("<u4"), True),
    ("sizes", np.dtype("<u4"), False),
    ("internal_dates", np.dtype("<i8"), True),
    ("saved_dates", np.dtype("<i8"), True),
    ("header_dates", np.dtype("<i8"), True),
    ("threads", np.dtype("<u8"), False),
)
"""Columns of a `rows` document in their order, and whether differences are stored."""
_ROW_BYTES: Final = sum(dtype.itemsize for _, dtype, _ in _ROW_PARTS) + 12


@dataclass(frozen=True, slots=True)
class SegmentRef:
    """One segment in a head's table; `rows_id` stays the same while only flags change."""

    rows_id: bytes
    flags_id: bytes
    count: int
    first_uid: int
    last_uid: int


@dataclass(frozen=True, slots=True)
class NewPart:
    """One document of a segment; a `flags` part names its `rows` part, so that both find each other without a head."""

    id: bytes
    rows_id: bytes
    data: bytes


@dataclass(frozen=True, slots=True)
class StoredPart:
    """A stored part, without its data."""

    id: bytes
    rows_id: bytes
    created_at: datetime

    @property
    def holds_rows(self) -> bool:
        """Whether this is the `rows` part itself."""
        return self.id == self.rows_id


def new_parts(columns: Columns) -> tuple[SegmentRef, list[NewPart]]:
    """Return a segment of these rows: its place in a table, and the documents to store."""
    rows_id, flags_id = new_segment_id(), new_segment_id()
    ref = SegmentRef(rows_id, flags_id, len(columns), int(columns.uids[0]), int(columns.uids[-1]))
    return ref, [
        NewPart(rows_id, rows_id, pack_rows_part(columns)),
        NewPart(flags_id, rows_id, pack_flags_part(columns)),
    ]


def pack_table(segments: Iterable[SegmentRef]) -> bytes:
    """Return a head's table of segments, 28 bytes each."""
    return _TABLE_PREFIX + b"".join(
        _REF.pack(ref.rows_id, ref.flags_id, ref.count, ref.first_uid, ref.last_uid) for ref in segments
    )


def unpack_table(stored: bytes) -> tuple[SegmentRef, ...]:
    """Return the table of segments.

    Raises:
        StoreDamaged: of unknown format.
    """
    if stored[:3] != _TABLE_PREFIX or (len(stored) - 3) % _REF.size:
        raise StoreDamaged("table of segments")
    return tuple(SegmentRef(*fields) for fields in _REF.iter_unpack(memoryview(stored)[3:]))


def pack_rows_part(columns: Columns) -> bytes:
    """Return the stored form of what never changes."""
    parts = []
    for name, dtype, differences in _ROW_PARTS:
        values = getattr(columns, name)
        parts.append((_differences(values) if differences else values).astype(dtype, copy=False).tobytes())
    parts.append(np.ascontiguousarray(columns.message_oids).tobytes())
    return seal(b"".join(parts))


def pack_flags_part(columns: Columns) -> bytes:
    """Return the stored form of flags and MODSEQs."""
    return seal(columns.flags.tobytes() + _differences(columns.modseqs).tobytes())


def unpack_segment(ref: SegmentRef, rows: bytes, flags: bytes) -> Columns:
    """Return the rows of a segment from its two stored parts; a count of -1 takes what is there.

    Raises:
        StoreDamaged: the parts do not have the length the table says.
    """
    fixed, changing = unseal(rows), unseal(flags)
    count = ref.count if ref.count >= 0 else len(changing) // 16
    if len(fixed) != count * _ROW_BYTES or len(changing) != count * 16:
        raise StoreDamaged("segment", ref.rows_id.hex(), ref.flags_id.hex())
    values: dict[str, Array] = {
        "flags": np.frombuffer(changing, np.uint64, count),
        "modseqs": np.cumsum(np.frombuffer(changing, np.uint64, count, count * 8), dtype=np.uint64),
    }
    at = 0
    for name, dtype, differences in _ROW_PARTS:
        column = np.frombuffer(fixed, dtype, count, at)
        values[name] = np.cumsum(column, dtype=dtype) if differences else column
        at += count * dtype.itemsize
    values["message_oids"] = np.frombuffer(fixed, np.uint8, count * 12, at).reshape(-1, 12)
    return Columns(**values)


def _differences(values: Array) -> Array:
    """Return the first value, then each one minus the one before; wraps around."""
    result = values.copy()
    result[1:] -= values[:-1]
    return result


class Segments:
    """Segments of all mailboxes of a shard."""

    def __init__(self, database: Database[Document]) -> None:
        self._collection = OwnedCollection(database["segments"])

    def load(
        self, user_id: UserId, mailbox_id: MailboxId, refs: Sequence[SegmentRef], batch: int = 64
    ) -> Iterator[Columns]:
        """Return the rows of each segment in order, reading `batch` segments at a time.

        Raises:
            LookupError: one is not there any more; the head has another table by now.
            StoreDamaged: one does not unpack.
        """
        for start in range(0, len(refs), batch):
            some = refs[start : start + batch]
            wanted = [
                keys.segment_key(user_id, mailbox_id, part) for ref in some for part in (ref.rows_id, ref.flags_id)
            ]
            with deadline():
                parts = self._collection.find_all({"_id": {"$in": wanted}}, {"data": 1}, most=len(wanted))
            found = {bytes(document["_id"])[24:]: document["data"] for document in parts}
            for ref in some:
                if ref.rows_id not in found or ref.flags_id not in found:
                    raise LookupError(ref.rows_id.hex())
                yield unpack_segment(ref, found.pop(ref.rows_id), found.pop(ref.flags_id))

    def insert(self, user_id: UserId, mailbox_id: MailboxId, parts: Sequence[NewPart]) -> None:
        """Store new parts of segments: one round trip."""
        if not parts:
            return
        now = datetime.now(UTC)
        documents: list[dict[str, Any]] = [
            {
                "_id": keys.segment_key(user_id, mailbox_id, part.id),
                "created_at": now,
                "rows_id": part.rows_id,
                "data": part.data,
            }
            for part in parts
        ]
        try:
            with deadline():
                self._collection.store_many(documents)
        except BulkWriteError:
            return  # the guard lets only duplicates pass: sent again after a lost answer

    def delete(self, user_id: UserId, mailbox_id: MailboxId, parts: Sequence[bytes]) -> None:
        """Remove parts of segments."""
        if parts:
            wanted = [keys.segment_key(user_id, mailbox_id, part) for part in parts]
            with deadline():
                self._collection.delete_many({"_id": {"$in": wanted}})

    def list_parts(self, user_id: UserId, mailbox_id: MailboxId) -> list[StoredPart]:
        """Return every stored part of a mailbox without its data, oldest first: for fsck."""
        owner = user_id.binary + mailbox_id.binary
        with deadline(30):
            found = list(self._collection.find({"_id": keys.owner_range(owner, KEY_BYTES)}, {"data": 0}))
        parts = [
            StoredPart(bytes(document["_id"])[24:], bytes(document["rows_id"]), document["created_at"])
            for document in found
        ]
        return sorted(parts, key=lambda part: part.created_at)

    def read_part(self, user_id: UserId, mailbox_id: MailboxId, part: bytes) -> bytes | None:
        """Return one stored part, None if it is not there."""
        with deadline():
            found = self._collection.find_one({"_id": keys.segment_key(user_id, mailbox_id, part)}, {"data": 1})
        return bytes(found["data"]) if found is not None else None


def new_segment_id() -> bytes:
    """Return a random id for a part of a segment or a row block."""
    return secrets.token_bytes(ID_BYTES)


def split(columns: Columns, rows: int) -> Iterator[Columns]:
    """Return the rows in pieces of at most `rows`."""
    for start in range(0, len(columns), rows):
        yield columns.take(slice(start, start + rows))
