"""The fold: changes nothing a client sees, writes what follows from the log first, and survives dying anywhere."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from mailcore import fault
from mailcore.model.changes import Cause
from mailcore.model.flags import FLAGGED, SEEN, FlagOperation, FlagSet
from mailcore.model.limits import DEFAULT_LIMITS
from mailcore.model.uid_set import UidSet
from mailcore.store.mailbox import fold as fold_module
from mailcore.store.mailbox.blocks import BlockKind
from mailcore.store.mailbox.fsck import check_mailbox
from mailcore.store.mailbox.log_entry import decode_entry
from tests.store.mailbox.conftest import ACTOR, Engine, make_row, same

POINTS = ("fold.after_consequences", "fold.after_segments", "fold.after_swap")


class Death(BaseException):
    """The process is gone."""


def die() -> None:
    raise Death


@pytest.fixture(autouse=True)
def _small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fold_module, "DEFAULT_LIMITS", replace(DEFAULT_LIMITS, segment_rows=10))


def expunge(engine: Engine, uids: UidSet) -> None:
    engine.services.messages.expunge(engine.user_id, ACTOR, engine.inbox, uids, only_deleted=False)


def store(engine: Engine, uids: UidSet, flags: FlagSet) -> None:
    engine.services.messages.store(engine.user_id, ACTOR, engine.inbox, uids, FlagOperation.ADD, flags)


def busy(engine: Engine) -> None:
    """Every sort of change: appends, flags, keywords, expunges, also of rows that came in the same log."""
    engine.add(25)
    store(engine, UidSet.of([3, 14, 15]), FlagSet(SEEN, ("Work",)))
    expunge(engine, UidSet.of_ranges([(5, 8), (20, 20)]))
    engine.add(7)
    expunge(engine, UidSet.of([26, 14]))
    store(engine, UidSet.of([32]), FlagSet(FLAGGED))


def test_a_fold_changes_nothing_a_client_sees(engine: Engine) -> None:
    for _ in range(3):
        busy(engine)
        before = engine.fresh()
        assert engine.fold()
        assert same(engine.fresh(), before)
        assert engine.head().state.log == ()
        assert check_mailbox(engine.stores, engine.user_id, engine.inbox) == []
    assert not engine.fold()


def test_random_changes_and_folds_stay_sound(engine: Engine) -> None:
    dice = random.Random(7)
    for _ in range(60):
        uid_next = engine.head().state.uid_next
        uids = UidSet.of(dice.randrange(1, uid_next + 3) for _ in range(dice.randint(1, 9)))
        match dice.randrange(5):
            case 0 | 1:
                engine.add(dice.randint(1, 12))
            case 2:
                store(engine, uids, FlagSet(dice.choice((SEEN, FLAGGED))))
            case 3:
                expunge(engine, uids)
            case 4:
                engine.fold()
        view = engine.services.mailboxes.refresh(engine.user_id, engine.inbox)
        assert same(view, engine.fresh())
    assert check_mailbox(engine.stores, engine.user_id, engine.inbox) == []


@pytest.mark.parametrize("point", POINTS)
def test_dying_in_a_fold_loses_and_repeats_nothing(engine: Engine, point: str) -> None:
    """Promise P7: what an expunge leads to is written before the log forgets it."""
    busy(engine)
    before = engine.fresh()
    fault.install({point: die})
    with pytest.raises(Death):
        engine.fold()
    fault.install({})
    assert same(engine.fresh(), before)
    engine.fold()
    assert same(engine.fresh(), before)
    assert check_mailbox(engine.stores, engine.user_id, engine.inbox) == []
    purged = [uid for block in engine.stores.purge.of_user(engine.user_id) for uid in block.rows.uids.tolist()]
    assert sorted(purged) == [5, 6, 7, 8, 14, 20, 26]
    assert engine.stores.vanished.since(engine.user_id, engine.inbox, 0) == UidSet.of(purged)
    events = list(engine.stores.events.of_mailbox(engine.user_id, engine.inbox))
    assert [event.modseq for event in events] == list(range(1, before.highest_modseq + 1))


def test_of_two_folds_one_wins_and_nothing_is_folded_twice(engine: Engine) -> None:
    busy(engine)
    before = engine.fresh()
    other = engine.another()

    def overtaken() -> None:
        fault.install({})
        assert other.fold()

    fault.install({"fold.after_segments": overtaken})
    assert not engine.fold()
    assert same(engine.fresh(), before)
    head = engine.head()
    named = {part for ref in head.segments for part in (ref.rows_id, ref.flags_id)}
    stored = {part.id for part in engine.stores.segments.list_parts(engine.user_id, engine.inbox)}
    assert stored == named


def test_what_arrives_during_a_fold_stays_in_the_log(engine: Engine) -> None:
    busy(engine)
    other = engine.another()

    def deliver() -> None:
        fault.install({})
        other.add(2)

    fault.install({"fold.after_segments": deliver})
    assert engine.fold()
    head = engine.head()
    assert len(head.state.log) == 1
    assert head.state.log_bytes == len(head.state.log[0])
    assert engine.fresh().uids.tolist()[-2:] == [33, 34]


# -- segments -----------------------------------------------------------------------------------


def test_only_touched_segments_are_written_anew(engine: Engine) -> None:
    engine.add(45)
    engine.fold()
    before = engine.head().segments
    assert [ref.count for ref in before] == [10, 10, 10, 10, 5]
    store(engine, UidSet.of([12]), FlagSet(SEEN))
    expunge(engine, UidSet.of([35]))
    engine.add(3)
    engine.fold()
    after = engine.head().segments
    assert after[0] == before[0]
    assert after[1].rows_id == before[1].rows_id
    assert after[1].flags_id != before[1].flags_id
    assert after[2] == before[2]
    assert [ref.count for ref in after[3:]] == [10, 7]
    assert {ref.rows_id for ref in after[3:]}.isdisjoint(ref.rows_id for ref in before)


def test_segments_are_joined_as_they_empty(engine: Engine) -> None:
    engine.add(50)
    engine.fold()
    expunge(engine, UidSet.of(uid for uid in range(1, 51) if uid % 10))
    engine.fold()
    assert [ref.count for ref in engine.head().segments] == [5]
    expunge(engine, UidSet(((1, 50),)))
    engine.fold()
    assert engine.head().segments == ()
    assert engine.fresh().exists == 0
    assert engine.add().first_uid == 51


def test_replaced_segments_stay_for_readers_then_go(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    engine.add(5)
    engine.fold()
    old = engine.head()
    store(engine, UidSet.of([2]), FlagSet(SEEN))
    engine.fold()
    assert list(engine.stores.segments.load(engine.user_id, engine.inbox, old.segments))
    monkeypatch.setattr(fold_module, "DEFAULT_LIMITS", replace(DEFAULT_LIMITS, old_segment_s=-5))
    assert engine.fold()
    with pytest.raises(LookupError):
        list(engine.stores.segments.load(engine.user_id, engine.inbox, old.segments))
    head = engine.head()
    assert head.old_segments == ()
    stored = {part.id for part in engine.stores.segments.list_parts(engine.user_id, engine.inbox)}
    assert stored == {part for ref in head.segments for part in (ref.rows_id, ref.flags_id)}


def test_a_reader_whose_segment_went_reads_the_head_again(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    engine.add(5)
    engine.fold()
    stale = engine.head()
    store(engine, UidSet.of([2]), FlagSet(SEEN))
    monkeypatch.setattr(fold_module, "DEFAULT_LIMITS", replace(DEFAULT_LIMITS, old_segment_s=-5))
    engine.fold()
    engine.fold()
    read: Callable[..., Any] = type(engine.stores.heads).read
    answers = [stale]
    monkeypatch.setattr(type(engine.stores.heads), "read", lambda *args: answers.pop() if answers else read(*args))
    assert int(engine.fresh().flags[1]) == SEEN
    assert not answers


def test_blocks_go_with_the_segment_they_belong_to(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    engine.add(5)
    engine.fold()
    rows_id = engine.head().segments[0].rows_id
    blocks = engine.stores.blocks
    blocks.put(engine.user_id, engine.inbox, rows_id, BlockKind.TEXT, b"words")
    store(engine, UidSet.of([1]), FlagSet(SEEN))
    monkeypatch.setattr(fold_module, "DEFAULT_LIMITS", replace(DEFAULT_LIMITS, old_segment_s=-5))
    engine.fold()
    engine.fold()
    assert blocks.get(engine.user_id, engine.inbox, rows_id, BlockKind.TEXT) == b"words"
    assert blocks.get(engine.user_id, engine.inbox, rows_id, BlockKind.LISTING) is None
    expunge(engine, UidSet.of([1]))
    engine.fold()
    engine.fold()
    assert blocks.get(engine.user_id, engine.inbox, rows_id, BlockKind.TEXT) is None


# -- consequences -------------------------------------------------------------------------------


def test_a_purge_row_can_restore_its_message(engine: Engine) -> None:
    row = make_row(SEEN, 321, thread=99)
    engine.add(rows=[make_row(), row])
    store(engine, UidSet.of([2]), FlagSet(FLAGGED, ("Work",)))
    expunge(engine, UidSet.of([2]))
    engine.fold()
    (block,) = engine.stores.purge.of_user(engine.user_id)
    assert (block.mailbox_id, block.path, block.modseq) == (engine.inbox, "INBOX", 3)
    assert block.cause is Cause.EXPUNGE
    assert block.rows.uids.tolist() == [2]
    assert block.message_oid(0) == row.message_oid
    assert block.flag_names(0) == ("\\Seen", "\\Flagged", "Work")
    assert (block.rows.internal_dates[0], block.rows.saved_dates[0]) == (row.internal_date, row.saved_date)
    assert (block.rows.header_dates[0], block.rows.threads[0], block.rows.sizes[0]) == (row.header_date, 99, 321)


def test_purge_blocks_can_be_thinned_out_and_made_young(engine: Engine) -> None:
    engine.add(3000)
    expunge(engine, UidSet(((1, 2500),)))
    engine.fold()
    purge = engine.stores.purge
    blocks = list(purge.of_user(engine.user_id))
    assert [(block.number, len(block.rows)) for block in blocks] == [(0, 1024), (1024, 1024), (2048, 452)]
    assert purge.keep_rows(blocks[0], [0, 5])
    assert not purge.keep_rows(blocks[0], [0])
    again = purge.get(engine.user_id, blocks[0].key)
    assert again is not None
    assert again.rows.uids.tolist() == [1, 6]
    assert purge.keep_rows(again, [])
    assert purge.get(engine.user_id, blocks[0].key) is None
    late = blocks[1].expunged_at + timedelta(seconds=1)
    assert engine.user_id in purge.users_due(late, 100_000)
    assert purge.touch(engine.user_id, blocks[1].key)
    assert [block.number for block in purge.of_user(engine.user_id, since=late)] in ([1024], [])


def test_moved_rows_are_not_purged(engine: Engine) -> None:
    engine.add(2)
    engine.services.messages.move(engine.user_id, ACTOR, engine.inbox, UidSet.of([1]), "Archive")
    engine.fold()
    assert list(engine.stores.purge.of_user(engine.user_id)) == []
    assert engine.stores.vanished.since(engine.user_id, engine.inbox, 0) == UidSet.of([1])


def test_a_deleted_mailbox_goes_to_purge_under_its_name(engine: Engine) -> None:
    mailbox_id = engine.services.mailboxes.create(engine.user_id, ACTOR, "Work/Old")
    engine.add(15, "Work/Old")
    engine.services.messages.fold(engine.user_id, mailbox_id)
    engine.add(3, "Work/Old")
    engine.services.mailboxes.delete(engine.user_id, ACTOR, "Work/Old")
    engine.services.messages.fold(engine.user_id, mailbox_id)
    blocks = list(engine.stores.purge.of_user(engine.user_id))
    assert sum(len(block.rows) for block in blocks) == 18
    assert {block.path for block in blocks} == {"Work/Old"}
    assert {block.cause for block in blocks} == {Cause.DELETE_MAILBOX}
    head = engine.stores.heads.read(engine.user_id, mailbox_id)
    assert head is not None
    assert (head.segments, head.state.exists) == ((), 0)


def test_answers_lead_to_the_thread_of_their_conversation(engine: Engine) -> None:
    first = make_row(thread=111, message_id_hash=111)
    answer = make_row(thread=111, message_id_hash=222)
    lone = make_row(thread=5)
    engine.add(rows=[first, answer, lone])
    engine.fold()
    assert engine.stores.message_ids.find_threads(engine.user_id, [111, 222, 5]) == {222: 111}


def test_events_keep_every_entry_with_its_first_uid(engine: Engine) -> None:
    engine.add(3)
    expunge(engine, UidSet.of([2]))
    engine.add(2)
    engine.fold()
    events = list(engine.stores.events.of_mailbox(engine.user_id, engine.inbox))
    assert [(event.modseq, event.first_uid) for event in events] == [(1, 1), (2, 4), (3, 4)]
    assert [decode_entry(event.entry).stamp.cause for event in events] == [
        Cause.DELIVERY, Cause.EXPUNGE, Cause.DELIVERY,
    ]  # fmt: skip


# -- vanished -----------------------------------------------------------------------------------


@pytest.mark.parametrize("folded", [False, True])
def test_vanished_uids_since_a_modseq(engine: Engine, folded: bool) -> None:
    """QRESYNC, RFC 7162 §3.2"""
    engine.add(6)
    expunge(engine, UidSet.of([1, 2]))
    if folded:
        engine.fold()
    expunge(engine, UidSet.of([4]))
    vanished = engine.services.mailboxes.vanished_since
    assert vanished(engine.user_id, engine.inbox, 0) == UidSet.of([1, 2, 4])
    assert vanished(engine.user_id, engine.inbox, 1) == UidSet.of([1, 2, 4])
    assert vanished(engine.user_id, engine.inbox, 2) == UidSet.of([4])
    assert vanished(engine.user_id, engine.inbox, 3) == UidSet()


def test_below_the_floor_the_complement_of_the_live_uids_answers(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mailcore.store.mailbox.vanished.KEPT_CHANGES", 3)
    monkeypatch.setattr(fold_module, "TRIM_EVERY", 1)
    engine.add(10)
    for uid in (9, 2, 5, 7, 1):
        expunge(engine, UidSet.of([uid]))
        engine.fold()
    floor = engine.head().vanished_floor
    assert floor > 1
    assert engine.stores.vanished.since(engine.user_id, engine.inbox, 0) != UidSet.of([1, 2, 5, 7, 9])
    for modseq in range(floor):
        assert engine.services.mailboxes.vanished_since(engine.user_id, engine.inbox, modseq) == UidSet.of(
            [1, 2, 5, 7, 9]
        )
    assert engine.services.mailboxes.vanished_since(engine.user_id, engine.inbox, 5) == UidSet.of([1])
