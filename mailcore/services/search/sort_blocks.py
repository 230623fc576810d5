"""Sort blocks: what SORT and THREAD compare of the messages of one range of UIDs, packed; a cache like text blocks.

Format 1, sealed: count; per message UID (4), own id (8), number of references (2), whether it is an answer (1);
the references (8 each); the strings of each field, a line for each message.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from mailcore.errors import StoreDamaged
from mailcore.message.sorting import SortFields, ThreadFields
from mailcore.store.mailbox.packed import seal, unseal

_COUNT: Final = struct.Struct("<I")
_ROW_BYTES: Final = 15
FIELDS: Final = len(SortFields._fields)

Uids = npt.NDArray[np.uint32]
Entry = tuple[int, SortFields, ThreadFields]


class SortBlock:
    """Fields of some messages, in the order of their UIDs."""

    __slots__ = ("answers", "ends", "fields", "own", "references", "uids")

    def __init__(
        self,
        uids: Uids,
        own: npt.NDArray[np.uint64],
        ends: npt.NDArray[np.int64],
        answers: npt.NDArray[np.bool_],
        references: npt.NDArray[np.uint64],
        fields: Sequence[list[str]],
    ) -> None:
        """`ends`: where in `references` those of each message end; `fields`: by the names of `SortFields`."""
        self.uids = uids
        self.own = own
        self.ends = ends
        self.answers = answers
        self.references = references
        self.fields = fields

    @classmethod
    def of(cls, entries: Iterable[Entry]) -> SortBlock:
        """Build from entries in any order."""
        ordered = sorted(entries, key=lambda entry: entry[0])
        threads = [thread for _, _, thread in ordered]
        return cls(
            np.array([uid for uid, _, _ in ordered], np.uint32),
            np.array([thread.own for thread in threads], np.uint64),
            np.cumsum([len(thread.references) for thread in threads], dtype=np.int64),
            np.array([thread.is_answer for thread in threads], np.bool_),
            np.array([number for thread in threads for number in thread.references], np.uint64),
            [[fields[index] for _, fields, _ in ordered] for index in range(FIELDS)],
        )

    def joined(self, other: SortBlock) -> SortBlock:
        """Return a block of the messages of both; none is in both."""
        return SortBlock.of([*self._entries(), *other._entries()])

    @property
    def size_bytes(self) -> int:
        """About how much memory it takes."""
        return 1024 + len(self.uids) * (_ROW_BYTES + 8 + FIELDS * 64) + self.references.nbytes

    def _entries(self) -> Iterable[Entry]:
        start = 0
        for index, (uid, own, end) in enumerate(
            zip(self.uids.tolist(), self.own.tolist(), self.ends.tolist(), strict=True)
        ):
            fields = SortFields(*(column[index] for column in self.fields))
            yield (
                uid,
                fields,
                ThreadFields(own, tuple(self.references[start:end].tolist()), bool(self.answers[index])),
            )
            start = end

    # -- stored form ----------------------------------------------------------------------------

    def pack(self) -> bytes:
        """Return the stored form."""
        return seal(
            b"".join(
                (
                    _COUNT.pack(len(self.uids)),
                    self.uids.astype("<u4").tobytes(),
                    self.own.astype("<u8").tobytes(),
                    np.diff(self.ends, prepend=0).astype("<u2").tobytes(),
                    self.answers.astype(np.uint8).tobytes(),
                    self.references.astype("<u8").tobytes(),
                    "\n".join("\n".join(column) for column in self.fields).encode(),
                )
            )
        )

    @classmethod
    def unpack(cls, stored: bytes) -> SortBlock:
        """Return the block that `pack` wrote.

        Raises:
            StoreDamaged: another version, or damaged.
        """
        data = unseal(stored)
        count = _COUNT.unpack_from(data)[0] if len(data) >= _COUNT.size else -1
        at = _COUNT.size
        if count < 0 or len(data) < at + count * _ROW_BYTES:
            raise StoreDamaged("sort block")
        uids = np.frombuffer(data, "<u4", count, at)
        own = np.frombuffer(data, "<u8", count, at + count * 4)
        lengths = np.frombuffer(data, "<u2", count, at + count * 12)
        answers = np.frombuffer(data, np.uint8, count, at + count * 14).astype(np.bool_)
        at += count * _ROW_BYTES
        total = int(lengths.sum())
        lines = data[at + total * 8 :].decode("utf-8", "replace").split("\n")
        if len(data) < at + total * 8 or len(lines) != max(count * FIELDS, 1):
            raise StoreDamaged("sort block")
        references = np.frombuffer(data, "<u8", total, at)
        fields = [lines[index * count : (index + 1) * count] for index in range(FIELDS)]
        return cls(uids, own, np.cumsum(lengths, dtype=np.int64), answers, references, fields)
