"""A mailbox folded in memory: columns of all its rows as of one MODSEQ, shared by all sessions of a process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from mailcore.model.flags import KEYWORD_SHIFT, SYSTEM_FLAGS, keyword_bit
from mailcore.model.ids import MailboxId, MessageOid, ModSeq, Uid, UidValidity, UserId
from mailcore.model.row import MISSING_DATE
from mailcore.model.uid_set import UidSet
from mailcore.store.mailbox.columns import ROW_BYTES, Columns, GrowingColumn, fixed, growing
from mailcore.store.mailbox.log_entry import LogEntry, Op
from mailcore.store.mailbox.packed import Array, rows_in_ranges, uid_set_of
from mailcore.store.mailbox.replay import Replay, count_unseen

__all__ = ["MISSING_DATE", "MailboxView", "uid_set_of"]

NUMBER_MASK: Final = np.uint64((1 << 63) - 1)
"""Clients keep such numbers in signed variables."""
_MIXER: Final = np.uint64(0x9E3779B97F4A7C15)
_OVERHEAD_BYTES: Final = 4096


class MailboxView:
    """One mailbox as of `highest_modseq`; immutable, so sessions may keep it as long as they like.

    Columns hold one value for each message in the order of UIDs; they are read-only.
    """

    __slots__ = (
        "_columns",
        "_count",
        "_name_masks",
        "_names",
        "exists",
        "flag_sequence",
        "flags",
        "generation",
        "header_dates",
        "highest_modseq",
        "internal_dates",
        "keywords",
        "log_base_modseq",
        "mailbox_id",
        "message_oids",
        "modseqs",
        "saved_dates",
        "size_bytes",
        "sizes",
        "threads",
        "uid_next",
        "uid_validity",
        "uids",
        "unseen",
        "user_id",
    )  # fmt: skip

    uids: Array
    """u32, ascending."""
    flags: Array
    """u64; bits of `mailcore.model.flags`."""
    modseqs: Array
    sizes: Array
    internal_dates: Array
    """i64, seconds since 1970."""
    saved_dates: Array
    header_dates: Array
    """i64; MISSING_DATE where the Date field is missing or unreadable."""
    threads: Array
    message_oids: Array
    """u8, twelve in a row."""

    def __init__(
        self,
        user_id: UserId,
        mailbox_id: MailboxId,
        *,
        uid_validity: int,
        uid_next: int,
        highest_modseq: int,
        flag_sequence: int,
        keywords: tuple[str, ...],
        generation: int,
        log_base_modseq: int,
        columns: Sequence[GrowingColumn],
        count: int,
        unseen: int,
        size_bytes: int,
    ) -> None:
        self.user_id = user_id
        self.mailbox_id = mailbox_id
        self.uid_validity = UidValidity(uid_validity)
        self.uid_next = Uid(uid_next)
        self.highest_modseq = ModSeq(highest_modseq)
        self.flag_sequence = flag_sequence
        self.keywords = keywords
        self.generation = generation
        self.log_base_modseq = log_base_modseq
        self.exists = count
        self.unseen = unseen
        self.size_bytes = size_bytes
        self._columns = tuple(columns)
        self._count = count
        self._names: dict[int, tuple[str, ...]] = {}
        self._name_masks: dict[str, int] | None = None
        (
            self.uids, self.flags, self.modseqs, self.sizes, self.internal_dates, self.saved_dates,
            self.header_dates, self.threads, self.message_oids,
        ) = fixed(columns, count).arrays()  # fmt: skip

    @classmethod
    def of_columns(
        cls,
        user_id: UserId,
        mailbox_id: MailboxId,
        columns: Columns,
        *,
        uid_validity: int,
        uid_next: int,
        modseq: int,
        flag_sequence: int,
        keywords: tuple[str, ...] = (),
        generation: int = 0,
    ) -> MailboxView:
        """Return the view of what the segments hold, as of the MODSEQ before the log begins."""
        return cls(
            user_id,
            mailbox_id,
            uid_validity=uid_validity,
            uid_next=uid_next,
            highest_modseq=modseq,
            flag_sequence=flag_sequence,
            keywords=keywords,
            generation=generation,
            log_base_modseq=modseq,
            columns=growing(columns, 16 + len(columns) // 16),
            count=len(columns),
            unseen=count_unseen(columns.flags),
            size_bytes=int(columns.sizes.sum(dtype=np.uint64)),
        )

    # -- change ---------------------------------------------------------------------------------

    def applied(self, entries: Sequence[LogEntry]) -> MailboxView:
        """Return the view after the next entries of the log; row blocks must be resolved."""
        replay = Replay(
            self._columns,
            self._count,
            uid_next=self.uid_next,
            modseq=self.highest_modseq,
            flag_sequence=self.flag_sequence,
            unseen=self.unseen,
            size_bytes=self.size_bytes,
        )
        replay.apply(entries)
        columns, count = replay.finish()
        return MailboxView(
            self.user_id,
            self.mailbox_id,
            uid_validity=self.uid_validity,
            uid_next=replay.uid_next,
            highest_modseq=replay.modseq,
            flag_sequence=replay.flag_sequence,
            keywords=self.keywords,
            generation=self.generation,
            log_base_modseq=self.log_base_modseq,
            columns=columns,
            count=count,
            unseen=replay.unseen,
            size_bytes=replay.size_bytes,
        )

    def rebased(self, keywords: tuple[str, ...], generation: int, log_base_modseq: int) -> MailboxView:
        """Return the same rows with what else the head said: keywords, and where its log begins now."""
        if (keywords, generation, log_base_modseq) == (self.keywords, self.generation, self.log_base_modseq):
            return self
        return MailboxView(
            self.user_id,
            self.mailbox_id,
            uid_validity=self.uid_validity,
            uid_next=self.uid_next,
            highest_modseq=self.highest_modseq,
            flag_sequence=self.flag_sequence,
            keywords=keywords,
            generation=generation,
            log_base_modseq=log_base_modseq,
            columns=self._columns,
            count=self._count,
            unseen=self.unseen,
            size_bytes=self.size_bytes,
        )

    # -- rows -----------------------------------------------------------------------------------

    def rows_of(self, uids: UidSet) -> Array:
        """Return the row indexes of those UIDs that exist, ascending."""
        ranges = uids.ranges
        if len(ranges) == 1:
            low, high = ranges[0]
            return np.arange(
                np.searchsorted(self.uids, np.uint32(low), "left"), np.searchsorted(self.uids, np.uint32(high), "right")
            )
        return rows_in_ranges(self.uids, np.array(ranges, np.uint32).reshape(-1, 2))

    def row_of(self, uid: int) -> int:
        """Return the row index of a UID, -1 if there is none."""
        row = int(np.searchsorted(self.uids, np.uint32(uid)))
        return row if row < self._count and self.uids[row] == uid else -1

    def message_numbers(self, rows: Array) -> Array:
        """Return a number of 63 bits for each message, the same wherever the message is."""
        halves = np.ascontiguousarray(self.message_oids[rows]).view("<u4").astype(np.uint64).reshape(-1, 3)
        return (halves[:, 0] << np.uint64(32) ^ halves[:, 1] ^ halves[:, 2] * _MIXER) & NUMBER_MASK

    def thread_numbers(self, rows: Array) -> Array:
        """Return a number of 63 bits for the conversation of each message."""
        return self.threads[rows] & NUMBER_MASK

    def message_oid(self, row: int) -> MessageOid:
        """Return which message a row points at."""
        return MessageOid(self.message_oids[row].tobytes())

    def uid_set(self, rows: Array) -> UidSet:
        """Return the UIDs of ascending row indexes."""
        return uid_set_of(self.uids[rows])

    def columns(self) -> Columns:
        """Return all columns."""
        return fixed(self._columns, self._count)

    # -- flags ----------------------------------------------------------------------------------

    def keyword_mask(self, name: str) -> int:
        """Return the bit of a keyword, whatever its case; 0 if the mailbox never saw it."""
        if self._name_masks is None:
            self._name_masks = {known.lower(): keyword_bit(index) for index, known in enumerate(self.keywords)}
        return self._name_masks.get(name.lower(), 0)

    def flag_names(self, bits: int) -> tuple[str, ...]:
        """Return the names of flags, system flags first; cached, for few combinations occur."""
        names = self._names.get(bits)
        if names is None:
            names = self._names[bits] = flag_names(bits, self.keywords)
        return names

    @property
    def memory_bytes(self) -> int:
        """Memory held by the columns; those shared with other views count as well."""
        return _OVERHEAD_BYTES + len(self._columns[0].buffer) * ROW_BYTES

    def names_flags_of(self, entry: LogEntry) -> bool:
        """Return whether every keyword that an entry sets has its name here; else the head has to be read."""
        bits = entry.set_bits
        if entry.op is Op.APPEND:
            bits = int(np.bitwise_or.reduce(entry.rows()["flags"]))
        return bits >> KEYWORD_SHIFT < 1 << len(self.keywords)


def keyword_names(bits: int, keywords: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the keyword bits."""
    return tuple(name for index, name in enumerate(keywords) if bits & keyword_bit(index))


def flag_names(bits: int, keywords: Sequence[str]) -> tuple[str, ...]:
    """Return the names of all flags a client may see."""
    return tuple(name for name, bit in SYSTEM_FLAGS.items() if bits & bit) + keyword_names(bits, keywords)
