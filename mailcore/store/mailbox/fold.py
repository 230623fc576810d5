"""The fold: turns a mailbox's log into packed segments, after writing everything that follows from it.

The log is the outbox. Consequences are written first, under ids made of mailbox, MODSEQ and row,
so that twice is once; then new segments; then the head is swapped by compare-and-set. A crash
anywhere leaves the log as it was, and at worst segments that nothing names.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

import numpy as np

from mailcore import fault
from mailcore.model.changes import Cause
from mailcore.model.flags import HAS_NOTE
from mailcore.model.ids import MailboxId, UserId
from mailcore.model.limits import DEFAULT_LIMITS
from mailcore.model.mailbox import RECOVERED
from mailcore.store.mailbox.change_events import ChangeEvent
from mailcore.store.mailbox.columns import Columns, growing
from mailcore.store.mailbox.head import Head, HeadState, Swap
from mailcore.store.mailbox.log_entry import LogEntry, Op, decode_entry, joined_rows
from mailcore.store.mailbox.packed import Array, uid_set_of
from mailcore.store.mailbox.purge import PurgeBlock, blocks_of
from mailcore.store.mailbox.replay import Replay
from mailcore.store.mailbox.row_blocks import pieces_of
from mailcore.store.mailbox.segments import NewPart, SegmentRef, new_parts, new_segment_id, pack_flags_part, split
from mailcore.store.shard import ShardStores

log = logging.getLogger(__name__)

KEPT_KEYS: Final = DEFAULT_LIMITS.recent_keys
MOST_REPLACED: Final = 64
"""Folds whose replaced segments are kept at most; a reader that finds one gone reads the head again."""
TRIM_EVERY: Final = 16
"""Folds of a mailbox between two looks at how many vanished changes it keeps."""


FinishMove = Callable[[LogEntry, int], None]
"""Expunge from its source what a log entry of this mailbox took, if it is still there; gets the first UID it got."""


def fold_is_due(state: HeadState) -> bool:
    """Return whether the writer that saw this head should fold; every fourth change asks again."""
    length = state.log_length
    full = length >= DEFAULT_LIMITS.fold_entries or state.log_bytes >= DEFAULT_LIMITS.fold_bytes
    return (full and length % 4 == 0) or state.log_bytes >= DEFAULT_LIMITS.log_bytes // 2


@dataclass(slots=True)
class _Change:
    """One entry, and the rows of the working set that it concerned."""

    modseq: int
    first_uid: int
    entry: LogEntry
    rows: Array


@dataclass(slots=True)
class _Table:
    """The new table of segments while it is made."""

    refs: list[SegmentRef] = field(default_factory=list)
    parts: list[NewPart] = field(default_factory=list)
    replaced: list[bytes] = field(default_factory=list)
    pending: list[Columns] = field(default_factory=list)
    """Rows of neighbouring segments that are being rewritten."""

    def flush(self) -> None:
        """Write pending rows as new segments."""
        rows = Columns.concatenate(self.pending)
        self.pending.clear()
        for piece in split(rows, DEFAULT_LIMITS.segment_rows):
            ref, parts = new_parts(piece)
            self.refs.append(ref)
            self.parts += parts

    def keep(self, ref: SegmentRef) -> None:
        """Take a segment over as it is."""
        self.flush()
        self.refs.append(ref)

    def keep_rows(self, ref: SegmentRef, rows: Columns) -> None:
        """Take a segment over with other flags."""
        self.flush()
        flags_id = new_segment_id()
        self.parts.append(NewPart(flags_id, ref.rows_id, pack_flags_part(rows)))
        self.replaced.append(ref.flags_id)
        self.refs.append(SegmentRef(ref.rows_id, flags_id, ref.count, ref.first_uid, ref.last_uid))

    def rewrite(self, ref: SegmentRef, rows: Columns) -> None:
        """Replace a segment by what is left of it."""
        self.replaced += (ref.rows_id, ref.flags_id)
        if len(rows):
            self.pending.append(rows)


class Fold:
    """One fold of one mailbox.

    Args:
        name_of: gives the mailbox's name, for purge rows, "" where nobody can tell; asked only if something was
            expunged.
        finish_move: called for each entry that moved rows here; None if the caller does that itself.
        pause: lets others run between segments.
    """

    def __init__(
        self,
        stores: ShardStores,
        user_id: UserId,
        mailbox_id: MailboxId,
        name_of: Callable[[], str],
        finish_move: FinishMove | None = None,
        pause: Callable[[], None] = lambda: None,
    ) -> None:
        self._stores = stores
        self._user = user_id
        self._mailbox = mailbox_id
        self._name_of = name_of
        self._finish_move = finish_move
        self._pause = pause

    def run(self) -> bool:
        """Fold the whole log; about five round trips.

        Returns False if there was nothing to do or another fold was faster.

        Raises:
            StoreUnavailable: try again whenever; nothing is lost.
            StoreDamaged: head, log and segments do not fit together.
        """
        head = self._stores.heads.read(self._user, self._mailbox)
        if head is None:
            return False
        old = self._remove_old_segments(head)
        if not head.state.log and not old:
            return False
        stored = [decode_entry(entry) for entry in head.state.log]
        try:
            entries = self._stores.row_blocks.resolve(self._user, self._mailbox, stored)
            touched = _touched(head.segments, entries)
            loaded = self._load([head.segments[index] for index in touched])
        except LookupError:
            return False  # folded by somebody else since the head was read
        replay, changes = self._replay(head, loaded, entries)
        self._write_consequences(head, replay, changes)
        fault.hit("fold.after_consequences")
        table = self._new_table(head, touched, loaded, replay)
        self._stores.segments.insert(self._user, self._mailbox, table.parts)
        fault.hit("fold.after_segments")
        table.replaced += [piece for entry in stored for piece in pieces_of(entry)]
        swapped = self._swap(head, table, replay, changes)
        fault.hit("fold.after_swap")
        if not swapped:
            self._stores.segments.delete(self._user, self._mailbox, [part.id for part in table.parts])
        return swapped

    def _load(self, refs: Sequence[SegmentRef]) -> list[Columns]:
        loaded = []
        for rows in self._stores.segments.load(self._user, self._mailbox, refs):
            loaded.append(rows)
            self._pause()
        return loaded

    # -- replay ---------------------------------------------------------------------------------

    def _replay(
        self, head: Head, loaded: Sequence[Columns], entries: Sequence[LogEntry]
    ) -> tuple[Replay, list[_Change]]:
        rows = Columns.concatenate(loaded)
        room = sum(entry.appended for entry in entries)
        replay = Replay(growing(rows, room), len(rows), uid_next=head.log_base_uid, modseq=head.state.log_base_modseq)
        changes = []
        first_uid = head.log_base_uid
        for modseq, (entry, touched) in enumerate(
            zip(entries, replay.apply(entries), strict=True), head.state.log_base_modseq + 1
        ):
            changes.append(_Change(modseq, first_uid, entry, touched))
            first_uid += entry.appended
        exists = sum(ref.count for ref in head.segments) - len(rows) + replay.exists
        if (exists, replay.uid_next) != (head.state.exists, head.state.uid_next):
            log.error(
                "mailbox.fold.counters_differ",
                extra={
                    "user_id": str(self._user),
                    "mailbox_id": str(self._mailbox),
                    "folded": [exists, replay.uid_next],
                    "head": [head.state.exists, head.state.uid_next],
                },
            )
        return replay, changes

    # -- consequences ---------------------------------------------------------------------------

    def _write_consequences(self, head: Head, replay: Replay, changes: Sequence[_Change]) -> None:
        user, mailbox, stores = self._user, self._mailbox, self._stores
        rows = replay.rows()
        stores.events.insert(
            user,
            mailbox,
            [
                ChangeEvent(change.modseq, stored, change.first_uid)
                for change, stored in zip(changes, head.state.log, strict=True)
            ],
            head.now,
        )
        expunged = [change for change in changes if change.entry.op in {Op.EXPUNGE, Op.CLEAR} and len(change.rows)]
        if expunged:
            stores.vanished.insert(
                user, mailbox, [(change.modseq, uid_set_of(rows.uids[change.rows])) for change in expunged]
            )
            self._write_purge(head, rows, expunged)
        stores.message_ids.insert(user, _answers(changes))
        if self._finish_move is not None:
            for change in changes:
                if change.entry.op is Op.APPEND and change.entry.stamp.cause is Cause.MOVE_FROM:
                    self._finish_move(change.entry, change.first_uid)

    def _write_purge(self, head: Head, rows: Columns, expunged: Sequence[_Change]) -> None:
        name = head.name or self._name_of() or RECOVERED
        blocks: list[PurgeBlock] = []
        noted: list[int] = []
        for change in expunged:
            gone = rows.take(change.rows)
            noted += gone.uids[gone.flags & np.uint64(HAS_NOTE) != 0].tolist()
            if change.entry.stamp.cause is Cause.MOVE_TO:
                continue  # another mailbox has them
            blocks += blocks_of(
                PurgeBlock(
                    self._user, self._mailbox, change.modseq, 0, name, head.state.uid_validity, head.state.keywords,
                    change.entry.stamp.cause, head.now, gone,
                ),
                gone,
            )  # fmt: skip
        self._stores.purge.insert(self._user, blocks)
        self._stores.notes.delete(self._user, self._mailbox, noted)

    # -- segments -------------------------------------------------------------------------------

    def _new_table(self, head: Head, touched: Sequence[int], loaded: Sequence[Columns], replay: Replay) -> _Table:
        table = _Table()
        rows = replay.rows()
        alive = replay.alive
        before = dict(zip(touched, loaded, strict=True))
        at = 0
        for index, ref in enumerate(head.segments):
            old = before.get(index)
            if old is None:
                table.keep(ref)
                continue
            place = slice(at, at + ref.count)
            at += ref.count
            now = rows.take(place)
            lives = alive[place] if alive is not None else None
            is_tail = index == len(head.segments) - 1 and replay.count > at and ref.count < DEFAULT_LIMITS.segment_rows
            if is_tail or (lives is not None and not lives.all()):
                table.rewrite(ref, now.take(lives) if lives is not None else now)
            elif np.array_equal(now.modseqs, old.modseqs):
                table.keep(ref)
            else:
                table.keep_rows(ref, now)
            self._pause()
        appended = rows.take(slice(at, None))
        if alive is not None:
            appended = appended.take(alive[at:])
        if len(appended):
            table.pending.append(appended)
        table.flush()
        return table

    def _swap(self, head: Head, table: _Table, replay: Replay, changes: Sequence[_Change]) -> bool:
        floor = head.vanished_floor
        trim = head.state.generation % TRIM_EVERY == TRIM_EVERY - 1
        if trim:
            self._stores.vanished.delete_until(self._user, self._mailbox, floor)
            floor = max(floor, self._stores.vanished.oldest_kept(self._user, self._mailbox))
        return self._stores.heads.swap(
            self._user,
            self._mailbox,
            Swap(
                generation=head.state.generation,
                entries=len(head.state.log),
                entry_bytes=sum(map(len, head.state.log)),
                log_base_uid=replay.uid_next,
                segments=table.refs,
                folded_uids=[*head.folded_uids, *(change.first_uid for change in changes)][-KEPT_KEYS:],
                vanished_floor=floor,
                replaced=table.replaced,
                keep_replaced_since=_oldest_kept(head),
            ),
        )

    def _remove_old_segments(self, head: Head) -> bool:
        """Delete what was replaced so long ago that no reader can still want it; the swap then forgets it."""
        cutoff = _oldest_kept(head)
        parts = [part for at, replaced in head.old_segments if at < cutoff for part in replaced]
        if parts:
            self._stores.segments.delete(self._user, self._mailbox, parts)
            self._stores.row_blocks.delete(self._user, self._mailbox, parts)
            self._stores.blocks.delete(self._user, self._mailbox, parts)
        return bool(parts)


def _oldest_kept(head: Head) -> datetime:
    """Return since when replaced segments are kept: for a while, but not more than the head has room for."""
    since = head.now - timedelta(seconds=DEFAULT_LIMITS.old_segment_s)
    times = sorted(at for at, _ in head.old_segments)
    return max(since, times[-MOST_REPLACED]) if len(times) > MOST_REPLACED else since


def _touched(table: Sequence[SegmentRef], entries: Sequence[LogEntry]) -> list[int]:
    """Return the places of the segments whose rows the entries may concern."""
    if not table:
        return []
    firsts = np.array([ref.first_uid for ref in table], np.uint32)
    lasts = np.array([ref.last_uid for ref in table], np.uint32)
    touched = np.zeros(len(table), np.bool_)
    for entry in entries:
        if entry.op is Op.CLEAR:
            touched[:] = True
        elif entry.op is Op.APPEND:
            touched[-1] |= table[-1].count < DEFAULT_LIMITS.segment_rows
        else:
            ranges = entry.ranges()
            # a segment is concerned if a range that ends at or after its first UID begins at or before its last
            first_range = np.searchsorted(ranges[:, 1], firsts, "left")
            inside = first_range < len(ranges)
            touched[inside] |= ranges[first_range[inside], 0] <= lasts[inside]
    return [int(index) for index in np.flatnonzero(touched)]


def _answers(changes: Sequence[_Change]) -> dict[int, int]:
    """Return the threads of new messages whose own id does not name their thread."""
    rows = joined_rows([change.entry for change in changes if change.entry.op is Op.APPEND])
    chosen = rows[(rows["message_id_hash"] != 0) & (rows["message_id_hash"] != rows["thread"])]
    return dict(zip(chosen["message_id_hash"].tolist(), chosen["thread"].tolist(), strict=True))
