"""Applying a log to rows gives what applying it to a plain list gives, however it is cut into pieces."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from bson import ObjectId
from hypothesis import given, settings
from hypothesis import strategies as st

from mailcore.model.actor import ActorKind, Door
from mailcore.model.changes import Cause
from mailcore.model.flags import SEEN
from mailcore.model.ids import MailboxId, UserId
from mailcore.model.row import NewRow
from mailcore.model.uid_set import UidSet
from mailcore.store.mailbox.columns import EMPTY
from mailcore.store.mailbox.log_entry import (
    LogEntry,
    Op,
    Stamp,
    append_entry,
    clear_entry,
    expunge_entry,
    flags_entry,
)
from mailcore.store.mailbox.packed import pack_rows
from mailcore.store.mailbox.view import MailboxView

STAMP = Stamp(Cause.STORE, ActorKind.USER, Door.IMAP, "x", 1)
USER, MAILBOX = UserId(ObjectId()), MailboxId(ObjectId())
FLAGS = st.integers(0, (1 << 12) - 1)
RANGES = st.lists(st.tuples(st.integers(1, 60), st.integers(1, 60)), min_size=1, max_size=4).map(UidSet.of_ranges)


@dataclass
class Model:
    """A mailbox as anybody would write it down."""

    uid_next: int = 1
    modseq: int = 0
    rows: dict[int, list[object]] = field(default_factory=dict)
    """UID -> oid, flags, modseq, size."""

    def apply(self, entry: LogEntry) -> None:
        self.modseq += 1
        if entry.op is Op.APPEND:
            for row in entry.rows():
                self.rows[self.uid_next] = [
                    bytes(row["message_oid"]), int(row["flags"]), self.modseq, int(row["size_bytes"])
                ]  # fmt: skip
                self.uid_next += 1
            return
        if entry.op is Op.CLEAR:
            self.rows.clear()
            return
        uids = UidSet.of_ranges((int(low), int(high)) for low, high in entry.ranges())
        for uid in [uid for uid in self.rows if uid in uids]:
            if entry.op is Op.EXPUNGE:
                del self.rows[uid]
            else:
                row = self.rows[uid]
                row[1] = row[1] & ~entry.clear_bits | entry.set_bits  # type: ignore[operator]
                row[2] = self.modseq


@st.composite
def entries(draw: st.DrawFn) -> LogEntry:
    kind = draw(st.sampled_from("aaaaffffeec"))
    if kind == "a":
        sizes = draw(st.lists(st.tuples(FLAGS, st.integers(0, 0xFFFFFFFF)), min_size=1, max_size=4))
        rows = [NewRow(ObjectId().binary, flags, size, 1, 2, 3, 4) for flags, size in sizes]
        return append_entry(STAMP, b"k", pack_rows(rows))
    if kind == "f":
        return flags_entry(STAMP, b"k", draw(RANGES), draw(FLAGS), draw(FLAGS))
    if kind == "e":
        return expunge_entry(STAMP, b"k", draw(RANGES))
    return clear_entry(STAMP, b"k")


def empty_view() -> MailboxView:
    return MailboxView.of_columns(USER, MAILBOX, EMPTY, uid_validity=1, uid_next=1, modseq=0, flag_sequence=0)


def compare(view: MailboxView, model: Model) -> None:
    assert view.uids.tolist() == list(model.rows)
    assert [bytes(oid) for oid in view.message_oids] == [row[0] for row in model.rows.values()]
    assert view.flags.tolist() == [row[1] for row in model.rows.values()]
    assert view.modseqs.tolist() == [row[2] for row in model.rows.values()]
    assert view.sizes.tolist() == [row[3] for row in model.rows.values()]
    assert (view.exists, view.uid_next, view.highest_modseq) == (len(model.rows), model.uid_next, model.modseq)
    assert view.unseen == sum(not row[1] & SEEN for row in model.rows.values())  # type: ignore[operator]
    assert view.size_bytes == sum(row[3] for row in model.rows.values())  # type: ignore[misc]


@settings(max_examples=300, deadline=None)
@given(st.lists(entries(), max_size=25), st.data())
def test_a_log_in_pieces_gives_what_a_plain_list_gives(log: list[LogEntry], data: st.DataObject) -> None:
    model, view = Model(), empty_view()
    seen: list[tuple[MailboxView, list[int], list[int]]] = []
    at = 0
    while at < len(log):
        step = data.draw(st.integers(1, len(log) - at))
        for entry in log[at : at + step]:
            model.apply(entry)
        view = view.applied(log[at : at + step])
        compare(view, model)
        seen.append((view, view.uids.tolist(), view.flags.tolist()))
        at += step
    for older, uids, flags in seen:  # a view that somebody kept never changes
        assert older.uids.tolist() == uids
        assert older.flags.tolist() == flags


def test_two_views_from_one_do_not_disturb_each_other() -> None:
    """Columns share memory with room at the end: only one view may grow into it."""
    base = empty_view().applied([append_entry(STAMP, b"k", pack_rows([NewRow(b"a" * 12, 0, 1, 0, 0, 0, 0)]))])
    one = base.applied([append_entry(STAMP, b"k", pack_rows([NewRow(b"b" * 12, 0, 1, 0, 0, 0, 0)]))])
    other = base.applied([append_entry(STAMP, b"k", pack_rows([NewRow(b"c" * 12, 0, 1, 0, 0, 0, 0)]))])
    assert bytes(one.message_oids[1]) == b"b" * 12
    assert bytes(other.message_oids[1]) == b"c" * 12
    assert base.exists == 1


def test_what_changes_flags_leaves_the_uids_the_same_array() -> None:
    """By that a session sees without looking that its list of messages is still right."""
    rows = pack_rows([NewRow(b"a" * 12, 0, 1, 0, 0, 0, 0)] * 3)
    base = empty_view().applied([append_entry(STAMP, b"k", rows)])
    flagged = base.applied([flags_entry(STAMP, b"k", UidSet.of([2]), SEEN, 0)])
    assert flagged.uids is base.uids
    assert flagged.rebased((), 7, 1).uids is base.uids
    assert flagged.flags is not base.flags
    assert (base.flags.tolist(), flagged.flags.tolist()) == ([0, 0, 0], [0, SEEN, 0])
    grown = flagged.applied([append_entry(STAMP, b"k", rows)])
    shrunk = grown.applied([expunge_entry(STAMP, b"k", UidSet.of([4, 5, 6]))])
    assert [view.uids.tolist() for view in (base, grown, shrunk)] == [[1, 2, 3], [1, 2, 3, 4, 5, 6], [1, 2, 3]]
    assert len({id(view.uids) for view in (base, grown, shrunk)}) == 3


def test_columns_cannot_be_written() -> None:
    view = empty_view()
    for array in view.columns().arrays():
        assert not array.flags.writeable


def test_many_removed_rows_leave_the_others_in_order() -> None:
    """Few and many removals take different ways."""
    rows = [NewRow(index.to_bytes(12, "big"), 0, index, 0, 0, 0, 0) for index in range(2000)]
    view = empty_view().applied([append_entry(STAMP, b"k", pack_rows(rows))])
    for gone in (range(2, 2001, 2), range(2, 100, 2)):
        left = view.applied([expunge_entry(STAMP, b"k", UidSet.of(gone))])
        wanted = [uid for uid in range(1, 2001) if uid not in gone]
        assert left.uids.tolist() == wanted
        assert left.sizes.tolist() == [uid - 1 for uid in wanted]
        assert [int.from_bytes(oid.tobytes(), "big") + 1 for oid in left.message_oids] == wanted


def test_rows_are_found_by_uid() -> None:
    rows = [NewRow(bytes(12), 0, 1, 0, 0, 0, 0)] * 5
    view = empty_view().applied(
        [append_entry(STAMP, b"k", pack_rows(rows)), expunge_entry(STAMP, b"k", UidSet.of([2, 4]))]
    )
    assert [view.row_of(uid) for uid in (0, 1, 2, 3, 5, 6, 0xFFFFFFFF)] == [-1, 0, -1, 1, 2, -1, -1]
    assert view.rows_of(UidSet.of_ranges([(2, 0xFFFFFFFF)])).tolist() == [1, 2]
    assert view.rows_of(UidSet.of([1, 2, 5])).tolist() == [0, 2]
    assert view.rows_of(UidSet()).tolist() == []
    assert view.uid_set(np.array([0, 1])) == UidSet.of([1, 3])


def test_keywords_are_named_whatever_their_case() -> None:
    view = empty_view().rebased(("Work", "$Forwarded"), 0, 0)
    assert view.keyword_mask("WORK") == 1 << 8
    assert view.keyword_mask("$forwarded") == 1 << 9
    assert view.keyword_mask("Other") == 0
    assert view.flag_names(SEEN | 1 << 9) == ("\\Seen", "$Forwarded")
    for bit, named in ((9, True), (10, False)):
        for entry in (
            append_entry(STAMP, b"k", pack_rows([NewRow(bytes(12), flags, 1, 0, 0, 0, 0) for flags in (0, 1 << bit)])),
            flags_entry(STAMP, b"k", UidSet.of([1]), 1 << bit, 0),
        ):
            assert view.names_flags_of(entry) is named
