"""One session's picture of its mailbox: sequence numbers, and what it has not been told yet (RFC 9051 §5.2, §7.5).

The client's list of messages changes only when it is told: EXISTS appends, EXPUNGE removes. While
nothing is pending the session holds no list of its own but shares the arrays of the view.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mailcore.errors import SyntaxFault
from mailcore.imap.dialect import PLAIN, Dialect
from mailcore.imap.fetch_items import format_flags
from mailcore.imap.wire.responses import flag_list
from mailcore.model import flags
from mailcore.model.flags import FlagOperation, FlagSet
from mailcore.model.ids import MailboxId, MailboxName, UserId
from mailcore.model.limits import DEFAULT_LIMITS
from mailcore.model.uid_set import SequenceSet, UidSet

if TYPE_CHECKING:
    from mailcore.store.mailbox.view import MailboxView

Positions = npt.NDArray[np.int64]
"""Indexes into the client's list, ascending; the sequence number is one more."""
Rows = npt.NDArray[np.int64]
"""Indexes into a view, -1 where the message is gone."""

VISIBLE = np.uint64(0xFFFFFFFFFFFFFFFF & ~flags.INTERNAL_MASK)
_EMPTY = np.empty(0, np.int64)
ALL_FLAGS = (1 << 64) - 1


class NoSuchNumber(SyntaxFault):
    """A sequence number beyond the last message."""


class SelectedMailbox:
    """The selected mailbox of one session."""

    __slots__ = (
        "_announced", "_overrides", "_permanent", "_told", "_uids", "name", "read_only", "saved", "told_modseq", "view",
    )  # fmt: skip

    def __init__(self, name: MailboxName, view: MailboxView, *, read_only: bool, permanent: int = ALL_FLAGS) -> None:
        """Begin with `view`; `permanent`: the flag bits that the user may change, unless `read_only`."""
        self.name = name
        self.read_only = read_only
        self._permanent = 0 if read_only else permanent
        self.view = view
        """The newest state this session knows; `adopt` replaces it."""
        self.saved = UidSet()
        """What `$` stands for (RFC 5182 §2.1); UIDs that are gone count no more."""
        self.told_modseq = view.highest_modseq
        """Up to here the client has been told everything, removed messages too."""
        self._announced = view
        self._uids = view.uids
        self._told = view.flags
        self._overrides: list[tuple[Positions, npt.NDArray[np.uint64]]] = []

    @property
    def owner_id(self) -> UserId:
        """Whose mailbox it is."""
        return self.view.user_id

    @property
    def mailbox_id(self) -> MailboxId:
        """The selected mailbox."""
        return self.view.mailbox_id

    @property
    def exists(self) -> int:
        """How many messages the client counts."""
        return len(self._uids)

    @property
    def counted_uids(self) -> UidSet:
        """The UIDs of the messages that the client counts."""
        return UidSet.of_ascending(self._uids)

    def adopt(self, view: MailboxView | None) -> None:
        """Take a newer state; an older one is ignored."""
        if view is not None and view is not self.view and view.highest_modseq >= self.view.highest_modseq:
            self.view = view

    # -- which messages are meant ---------------------------------------------------------------

    def by_number(self, numbers: SequenceSet, *, clip: bool = False) -> Positions:
        """Return the positions that sequence numbers name; `clip`: leave out those beyond the last.

        Raises:
            NoSuchNumber: a number beyond the last message, `*` in an empty mailbox (RFC 9051 §9).
        """
        if numbers.saved:
            return self.by_uid(numbers)
        count = self.exists
        ranges = numbers.resolve(count).ranges
        if not clip and (not ranges or ranges[-1][1] > count):
            raise NoSuchNumber(ranges[-1][1] if ranges else 0)
        return _spread([(low - 1, min(high, count)) for low, high in ranges if low <= count], count)

    def by_uid(self, uids: SequenceSet) -> Positions:
        """Return the positions of the messages with these UIDs; UIDs that name none are no fault."""
        count = self.exists
        if not count:
            return _EMPTY
        ranges = (self.saved if uids.saved else uids.resolve(int(self._uids[-1]))).ranges
        if not ranges:
            return _EMPTY
        lows = np.searchsorted(self._uids, np.array([low for low, _ in ranges], np.uint32), "left").tolist()
        highs = np.searchsorted(self._uids, np.array([high for _, high in ranges], np.uint32), "right").tolist()
        return _spread([(low, high) for low, high in zip(lows, highs, strict=True) if low < high], count)

    def by_uids(self, uids: UidSet) -> Positions:
        """Return the positions of the messages with these UIDs."""
        return self.by_uid(SequenceSet(uids.ranges))

    def uids_at(self, positions: Positions) -> UidSet:
        """Return the UIDs at these positions; neighbours in the list are one range."""
        if not len(positions):
            return UidSet()
        uids = self._uids[positions]
        if len(uids) == 1:
            return UidSet.of_ascending(uids)
        breaks = np.flatnonzero(np.diff(positions) != 1)
        starts = np.concatenate(([0], breaks + 1))
        ends = np.concatenate((breaks, [len(positions) - 1]))
        return UidSet.of_ranges(zip(uids[starts].tolist(), uids[ends].tolist(), strict=True))

    def uid_array(self, positions: Positions) -> npt.NDArray[np.uint32]:
        """Return the UIDs at these positions, one each."""
        return self._uids[positions]

    def rows(self, positions: Positions) -> Rows:
        """Return where these messages are in `view`, -1 where they were expunged."""
        if self._uids is self.view.uids:
            return positions
        return _find(self.view.uids, self._uids[positions])

    def positions_of_rows(self, rows: Rows) -> Positions:
        """Return the positions of rows of `view` that the client counts."""
        if self._uids is self.view.uids:
            return rows
        positions = _find(self._uids, self.view.uids[rows])
        return positions[positions >= 0]

    # -- what the client was told ---------------------------------------------------------------

    def flags_told(self, positions: Positions) -> None:
        """The client knows the flags of these messages as they are in `view`."""
        if self._announced is self.view:
            return
        rows = self.rows(positions)
        present = rows >= 0
        self._overrides.append((positions[present], self.view.flags[rows[present]]))

    def expect_flags(self, positions: Positions, operation: FlagOperation, changed: FlagSet) -> None:
        """The client changed flags silently: it believes what its own STORE made of them (RFC 9051 §6.4.6)."""
        bits = np.uint64(sum((self.view.keyword_mask(name) for name in set(changed.keywords)), changed.system))
        told = self._told[positions]
        if operation is FlagOperation.ADD:
            told |= bits
        elif operation is FlagOperation.REMOVE:
            told &= ~bits
        else:
            told[:] = bits
        self._overrides.append((positions, told))

    @property
    def last_uid(self) -> int:
        """The UID of the last message that the client counts, 0 if there is none."""
        return int(self._uids[-1]) if len(self._uids) else 0

    def positions_after(self, uid: int) -> Positions:
        """Return the positions of the messages that the client counts behind a UID."""
        return np.arange(np.searchsorted(self._uids, np.uint32(uid), "right"), len(self._uids), dtype=np.int64)

    def announce(self, *, expunge: bool, dialect: Dialect = PLAIN, flags_too: bool = True) -> bytes:
        """Return the responses that bring the client to `view`, and count them as told.

        Args:
            expunge: whether EXPUNGE may be sent now; without, removed messages keep their numbers.
            dialect: what the client has enabled.
            flags_too: whether new flags are sent; without, they count as told all the same.
        """
        view = self.view
        if view is self._announced and (self._uids is view.uids or not expunge):
            self._overrides.clear()
            return b""
        output: list[bytes] = []
        if len(view.keywords) > len(self._announced.keywords):
            output.append(self.flags_and_permanent_flags())
        count = len(self._uids)
        if self._uids is view.uids or (len(view.uids) >= count and np.array_equal(view.uids[:count], self._uids)):
            output.append(self._announce_grown(count, dialect, flags_too=flags_too))
            self.told_modseq = view.highest_modseq
        else:
            output.append(self._announce_other(dialect, expunge=expunge, flags_too=flags_too))
            if expunge:
                self.told_modseq = view.highest_modseq
        self._announced = view
        self._overrides.clear()
        return b"".join(output)

    def flags_and_permanent_flags(self) -> bytes:
        r"""Return FLAGS and PERMANENTFLAGS (RFC 9051 §7.3.5, §7.1); `\*` while keywords can be added."""
        system, keywords = list(flags.SYSTEM_FLAGS.items()), self.view.keywords
        names = [*(name for name, _ in system), *keywords]
        permanent = [name for name, bit in system if bit & self._permanent]
        if self._permanent & flags.keyword_bit(0):
            permanent += keywords
        told = flag_list(permanent)
        if self._permanent & flags.keyword_bit(0) and len(keywords) < DEFAULT_LIMITS.keywords:
            told = told[:-1] + b" \\*)"
        text = b"Flags permitted" if permanent else b"No permanent flags permitted"
        return b"* FLAGS " + flag_list(names) + b"\r\n* OK [PERMANENTFLAGS " + told + b"] " + text + b"\r\n"

    def _announce_grown(self, count: int, dialect: Dialect, *, flags_too: bool) -> bytes:
        """Nothing was removed: tell arrivals, and flags that are not as told."""
        view = self.view
        output = b"* %d EXISTS\r\n" % len(view.uids) if len(view.uids) > count else b""
        now = view.flags[:count]
        different = self._told != now
        for positions, told in self._overrides:
            different[positions] = told != now[positions]
        changed = np.flatnonzero(different)
        if len(changed):
            told = self._told[changed]
            for positions, values in self._overrides:
                told = _overridden(told, changed, positions, values)
            changed = changed[((told ^ now[changed]) & VISIBLE) != 0]
            if len(changed) and flags_too:
                output += format_flags(view, changed, changed, with_uid=True, with_modseq=dialect.condstore)
        self._uids, self._told = view.uids, view.flags
        return output

    def _announce_other(self, dialect: Dialect, *, expunge: bool, flags_too: bool) -> bytes:
        """Messages were removed: drop them if that may be told, else keep their places."""
        view = self.view
        output: list[bytes] = []
        told = self._told.copy()
        for positions, values in self._overrides:
            told[positions] = values
        uids = self._uids
        last_uid = int(uids[-1]) if len(uids) else 0
        rows = _find(view.uids, uids)
        if expunge:
            removed = np.flatnonzero(rows < 0)
            output.append(_removal(removed, uids[removed], dialect))
            kept = rows >= 0
            uids, told, rows = uids[kept], told[kept], rows[kept]
        positions = np.flatnonzero(rows >= 0)
        rows = rows[positions]
        first_new = int(np.searchsorted(view.uids, np.uint32(last_uid), "right"))
        if first_new < len(view.uids):
            output.append(b"* %d EXISTS\r\n" % (len(uids) + len(view.uids) - first_new))
        changed = ((told[positions] ^ view.flags[rows]) & VISIBLE) != 0
        if flags_too and changed.any():
            output.append(
                format_flags(view, positions[changed], rows[changed], with_uid=True, with_modseq=dialect.condstore)
            )
        if expunge:
            self._uids, self._told = view.uids, view.flags
        else:
            told[positions] = view.flags[rows]
            self._uids = np.concatenate((uids, view.uids[first_new:]))
            self._told = np.concatenate((told, view.flags[first_new:]))
        return b"".join(output)


def _removal(removed: Positions, uids: npt.NDArray[np.uint32], dialect: Dialect) -> bytes:
    """Return VANISHED (RFC 7162 §3.2.10) or one EXPUNGE each, which counts after the ones before it."""
    if not len(removed):
        return b""
    if dialect.qresync:
        return b"* VANISHED " + UidSet.of_ascending(uids).to_wire() + b"\r\n"
    numbers = (removed + 1 - np.arange(len(removed))).tolist()
    return (b"* %d EXPUNGE\r\n" * len(numbers)) % tuple(numbers)


def _overridden(
    told: npt.NDArray[np.uint64],
    changed: Positions,
    positions: Positions,
    values: npt.NDArray[np.uint64],
) -> npt.NDArray[np.uint64]:
    """Return `told`, which is of `changed`, with `values` where `positions` are among them."""
    index = _find(positions, changed)
    return np.where(index >= 0, values[index], told) if len(positions) else told


def _find(haystack: npt.NDArray[Any], needles: npt.NDArray[Any]) -> Rows:
    """Return the index of each needle in the ascending haystack, -1 where it is not."""
    if not len(haystack):
        return np.full(len(needles), -1, np.int64)
    index = np.searchsorted(haystack, needles)
    index[index == len(haystack)] = 0
    return np.where(haystack[index] == needles, index, -1)


def _spread(slices: list[tuple[int, int]], count: int) -> Positions:
    """Return the numbers within ascending, disjoint slices of 0..count."""
    if not slices:
        return _EMPTY
    if len(slices) == 1:
        return np.arange(*slices[0], dtype=np.int64)
    if len(slices) < 16:
        return np.concatenate([np.arange(low, high, dtype=np.int64) for low, high in slices])
    steps = np.zeros(count + 1, np.int8)
    bounds = np.array(slices)
    steps[bounds[:, 0]] += 1
    np.subtract.at(steps, bounds[:, 1], 1)
    return np.flatnonzero(np.cumsum(steps[:-1]))
