"""Applying log entries to rows: the one place that knows what an entry does.

Views apply it to a whole mailbox, the fold to the segments that the log touches.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mailcore.model.flags import SEEN
from mailcore.store.mailbox.columns import FLAGS, MODSEQS, SIZES, UIDS, Columns, GrowingColumn, fixed
from mailcore.store.mailbox.log_entry import LogEntry, Op, joined_rows
from mailcore.store.mailbox.packed import Array, rows_in_ranges

_SEEN = np.uint64(SEEN)


def count_unseen(flags: Array) -> int:
    """Return how many rows lack the flag Seen."""
    return len(flags) - int(np.count_nonzero(flags & _SEEN))


class Replay:
    """Rows while entries are applied to them, in the order of the log.

    Rows that are removed stay where they are until `finish`, so that the indexes returned by
    `apply` keep their meaning, and keep the flags they had when they went.
    """

    __slots__ = (
        "alive", "columns", "count", "exists", "flag_sequence", "modseq", "owned", "size_bytes", "uid_next", "unseen",
    )  # fmt: skip

    def __init__(
        self,
        columns: Sequence[GrowingColumn],
        count: int,
        *,
        uid_next: int,
        modseq: int,
        flag_sequence: int = 0,
        unseen: int = 0,
        size_bytes: int = 0,
    ) -> None:
        self.columns = list(columns)
        self.count = count
        self.uid_next = uid_next
        self.modseq = modseq
        self.flag_sequence = flag_sequence
        self.exists = count
        self.unseen = unseen
        self.size_bytes = size_bytes
        self.alive: Array | None = None
        self.owned = False

    def apply(self, entries: Sequence[LogEntry]) -> list[Array]:
        """Apply the next entries; return for each the indexes of the rows it added, changed or removed."""
        results: list[Array] = []
        at = 0
        while at < len(entries):
            end = at
            while end < len(entries) and entries[end].op is Op.APPEND:
                end += 1
            if end > at:
                results += self._append(entries[at:end])
                at = end
            else:
                results.append(self._change(entries[at]))
                at += 1
        return results

    def _change(self, entry: LogEntry) -> Array:
        self.modseq += 1
        self.flag_sequence += 1
        rows = np.arange(self.count) if entry.op is Op.CLEAR else self._rows(entry)
        if self.alive is not None:
            rows = rows[self.alive[rows]]
        if entry.op is Op.FLAGS:
            return self._change_flags(rows, entry)
        return self._remove(rows)

    def rows(self) -> Columns:
        """Return all rows, removed ones too."""
        return fixed(self.columns, self.count)

    def finish(self) -> tuple[Sequence[GrowingColumn], int]:
        """Return the columns without what was removed, and the number of rows."""
        if self.alive is None:
            return self.columns, self.count
        dead = np.flatnonzero(~self.alive)
        return [column.without(self.count, dead) for column in self.columns], self.exists

    def _rows(self, entry: LogEntry) -> Array:
        return rows_in_ranges(self.columns[UIDS].buffer[: self.count], entry.ranges())

    def _append(self, entries: Sequence[LogEntry]) -> list[Array]:
        """Apply entries that add rows, all at once."""
        rows = joined_rows(entries)
        added = len(rows)
        modseqs = np.arange(self.modseq + 1, self.modseq + 1 + len(entries), dtype=np.uint64)
        if added != len(entries):
            modseqs = np.repeat(modseqs, [entry.count for entry in entries])
        values: tuple[Array, ...] = (
            np.arange(self.uid_next, self.uid_next + added, dtype=np.uint32),
            rows["flags"],
            modseqs,
            rows["size_bytes"],
            rows["internal_date"],
            rows["saved_date"],
            rows["header_date"],
            rows["thread"],
            rows["message_oid"],
        )
        self.columns = [column.extended(self.count, more) for column, more in zip(self.columns, values, strict=True)]
        if self.alive is not None:
            self.alive = np.concatenate((self.alive, np.ones(added, np.bool_)))
        indexes = np.arange(self.count, self.count + added)
        self.modseq += len(entries)
        self.count += added
        self.exists += added
        self.uid_next += added
        self.unseen += count_unseen(rows["flags"])
        self.size_bytes += int(rows["size_bytes"].sum(dtype=np.uint64))
        if len(entries) == 1:
            return [indexes]
        return np.split(indexes, np.cumsum([entry.count for entry in entries])[:-1])

    def _change_flags(self, rows: Array, entry: LogEntry) -> Array:
        if not self.owned:
            room = len(self.columns[FLAGS].buffer) - self.count
            for index in (FLAGS, MODSEQS):
                self.columns[index] = GrowingColumn.of(self.columns[index].buffer[: self.count], room)
            self.owned = True
        flags = self.columns[FLAGS].buffer
        before = flags[rows]
        after = before & ~np.uint64(entry.clear_bits) | np.uint64(entry.set_bits)
        if (entry.set_bits | entry.clear_bits) & SEEN:
            self.unseen += count_unseen(after) - count_unseen(before)
        flags[rows] = after
        self.columns[MODSEQS].buffer[rows] = self.modseq
        return rows

    def _remove(self, rows: Array) -> Array:
        if not len(rows):
            return rows
        if self.alive is None:
            self.alive = np.ones(self.count, np.bool_)
        self.alive[rows] = False
        self.exists -= len(rows)
        self.unseen -= count_unseen(self.columns[FLAGS].buffer[rows])
        self.size_bytes -= int(self.columns[SIZES].buffer[rows].sum(dtype=np.uint64))
        return rows
