"""Promise P7: COPY and MOVE are one push whatever the number; a move that dies is finished, never doubled or lost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from mailcore import fault
from mailcore.errors import MailboxBusy, MailboxNotFound, OverQuota
from mailcore.model.changes import Cause
from mailcore.model.flags import FLAGGED, SEEN, FlagOperation, FlagSet
from mailcore.model.uid_set import UidSet
from mailcore.services.mailboxes.messages import CopyResult, MoveResult
from mailcore.store.mailbox import row_blocks
from mailcore.store.mailbox.fsck import check_mailbox
from mailcore.store.mailbox.log_entry import decode_entry
from mailcore.store.mailbox.notes import Note
from tests.builders import make_user
from tests.store.mailbox.conftest import ACTOR, Engine, make_row, same


class Death(BaseException):
    """The process is gone."""


def die() -> None:
    raise Death


def copy(engine: Engine, uids: UidSet, target: str = "Archive") -> CopyResult:
    return engine.services.messages.copy(engine.user_id, ACTOR, engine.inbox, uids, target)


def move(engine: Engine, uids: UidSet, target: str = "Archive", source: str = "INBOX") -> MoveResult:
    return engine.services.messages.move(engine.user_id, ACTOR, engine.mailbox(source), uids, target)


def oids(engine: Engine, name: str) -> list[bytes]:
    return [bytes(oid) for oid in engine.fresh(name).message_oids]


def test_a_copy_has_new_uids_and_the_same_message_flags_and_dates(engine: Engine) -> None:
    row = make_row(SEEN, 321, thread=5)
    engine.add(rows=[make_row(), row])
    engine.add(2, "Archive")
    result = copy(engine, UidSet.of([2, 99]))
    assert (result.source, result.target) == (UidSet.of([2]), UidSet.of([3]))
    view = engine.fresh("Archive")
    assert result.uid_validity == view.uid_validity
    assert view.message_oid(2) == row.message_oid
    assert (int(view.flags[2]), view.sizes[2], view.threads[2]) == (SEEN, 321, 5)
    assert view.internal_dates[2] == row.internal_date
    assert view.saved_dates[2] > row.saved_date  # RFC 8514: when it was saved in this mailbox
    assert engine.fresh().exists == 2


def test_keywords_are_translated_to_the_list_of_the_target(engine: Engine) -> None:
    engine.add(2)
    engine.add(1, "Archive")
    store = engine.services.messages.store
    store(engine.user_id, ACTOR, engine.inbox, UidSet.of([1]), FlagOperation.ADD, FlagSet(FLAGGED, ("Red", "Blue")))
    store(engine.user_id, ACTOR, engine.mailbox("Archive"), UidSet.of([1]), FlagOperation.ADD, FlagSet(0, ("blue",)))
    copy(engine, UidSet.of([1, 2]))
    view = engine.fresh("Archive")
    assert view.keywords == ("blue", "Red")
    assert set(view.flag_names(int(view.flags[1]))) == {"\\Flagged", "Red", "blue"}
    assert view.flag_names(int(view.flags[2])) == ()


def test_any_number_of_messages_is_one_entry(engine: Engine) -> None:
    engine.add(3000)
    engine.fold()
    copy(engine, UidSet(((1, 3000),)))
    head = engine.head("Archive")
    assert len(head.state.log) == 1
    assert len(head.state.log[0]) < 300
    assert oids(engine, "Archive") == oids(engine, "INBOX")


def test_very_many_rows_go_to_several_documents(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_blocks, "PIECE_BYTES", 5000)
    engine.add(500)
    copy(engine, UidSet(((1, 500),)))
    assert len(engine.stores.row_blocks.list_blocks(engine.user_id, engine.mailbox("Archive"))) == 7
    assert oids(engine, "Archive") == oids(engine, "INBOX")
    engine.fold("Archive")
    assert oids(engine, "Archive") == oids(engine, "INBOX")


def test_a_copy_into_the_same_mailbox(engine: Engine) -> None:
    engine.add(2)
    assert copy(engine, UidSet.of([1, 2]), "inbox").target == UidSet.of([3, 4])
    assert engine.fresh().exists == 4


def test_copying_nothing_writes_nothing(engine: Engine) -> None:
    engine.add(1)
    assert not copy(engine, UidSet.of([5])).target
    assert engine.head("Archive").state.highest_modseq == 0


def test_a_missing_target_is_not_found(engine: Engine) -> None:
    """The edge answers NO [TRYCREATE]."""
    engine.add(1)
    with pytest.raises(MailboxNotFound):
        copy(engine, UidSet.of([1]), "Nowhere")
    with pytest.raises(MailboxNotFound):
        move(engine, UidSet.of([1]), "Nowhere")
    assert engine.fresh().exists == 1


def test_copies_count_in_the_quota_moves_do_not(engine: Engine) -> None:
    small = Engine(engine.services, make_user(engine.services, quota_bytes=1500).user_id)
    small.add(1)
    with pytest.raises(OverQuota):
        copy(small, UidSet.of([1]))
    assert move(small, UidSet.of([1])).target


def test_a_copy_that_slept_across_a_collection_begins_again(engine: Engine) -> None:
    """The collector may have destroyed what was read before it began."""
    engine.add(2)

    def collect() -> None:
        fault.install({})
        engine.stores.heads.bump_collection_epoch(engine.user_id)
        engine.services.messages.expunge(engine.user_id, ACTOR, engine.inbox, UidSet.of([1]), only_deleted=False)

    fault.install({"commit.before_push": collect})
    result = copy(engine, UidSet.of([1, 2]))
    assert result.source == UidSet.of([2])
    assert engine.fresh("Archive").exists == 1
    assert engine.head("Archive").state.collection_epoch == 1


# -- move ---------------------------------------------------------------------------------------


def test_a_move_takes_messages_from_one_mailbox_to_the_other(engine: Engine) -> None:
    engine.add(3)
    before = oids(engine, "INBOX")
    result = move(engine, UidSet.of([1, 3]))
    assert (result.source, result.target) == (UidSet.of([1, 3]), UidSet.of([1, 2]))
    assert result.view.uids.tolist() == [2]
    assert same(result.view, engine.fresh())
    assert oids(engine, "Archive") == [before[0], before[2]]
    assert decode_entry(engine.head("Archive").state.log[0]).stamp.cause is Cause.MOVE_FROM
    assert decode_entry(engine.head().state.log[-1]).stamp.cause is Cause.MOVE_TO


def test_a_move_within_a_mailbox_gives_new_uids(engine: Engine) -> None:
    """RFC 6851 §3.3"""
    engine.add(2)
    result = move(engine, UidSet.of([1]), "INBOX")
    assert (result.source, result.target) == (UidSet.of([1]), UidSet.of([3]))
    assert engine.fresh().uids.tolist() == [2, 3]


@pytest.mark.parametrize("finisher", ["the same again", "other messages too", "the fold"])
def test_a_move_that_died_in_the_middle_is_finished(engine: Engine, finisher: str) -> None:
    """Promise P7: killed when the target has the messages and the source still has them too."""
    engine.add(4)
    before = oids(engine, "INBOX")
    fault.install({"move.after_copy": die})
    with pytest.raises(Death):
        move(engine, UidSet.of([2, 3]))
    fault.install({})
    assert engine.fresh().exists == 4  # in both: nothing is lost
    assert engine.fresh("Archive").exists == 2
    other = engine.another()
    match finisher:
        case "the same again":
            result = move(other, UidSet.of([2, 3]))
            assert (result.source, result.target) == (UidSet.of([2, 3]), UidSet.of([1, 2]))
        case "other messages too":
            assert move(other, UidSet.of([1, 2, 3])).source == UidSet.of([1])
            assert oids(engine, "Archive") == [before[1], before[2], before[0]]
            return
        case "the fold":
            other.fold("Archive")
    assert oids(engine, "Archive") == before[1:3]
    assert oids(engine, "INBOX") == [before[0], before[3]]
    other.fold()
    assert list(engine.stores.purge.of_user(engine.user_id)) == []
    for name in ("INBOX", "Archive"):
        assert check_mailbox(engine.stores, engine.user_id, engine.mailbox(name)) == []


def test_the_fold_brings_the_notes_of_a_move_that_died(engine: Engine) -> None:
    engine.add(2)
    engine.services.messages.put_note(engine.user_id, ACTOR, engine.inbox, 2, Note(b"{}"))
    notes = engine.stores.notes

    def die_before_the_notes(*_: object) -> None:
        raise Death

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(notes), "copy", die_before_the_notes)
        with pytest.raises(Death):
            move(engine, UidSet.of([2]))
    engine.another().fold("Archive")
    assert notes.get(engine.user_id, engine.mailbox("Archive"), [1]) == {1: Note(b"{}")}
    assert engine.fresh().uids.tolist() == [1]


def test_two_sessions_moving_the_same_move_it_once(engine: Engine) -> None:
    engine.add(3)
    other = engine.another()

    def overtake() -> None:
        fault.install({})
        move(other, UidSet.of([1, 2]))

    fault.install({"commit.before_push": overtake})
    move(engine, UidSet.of([2, 3]))
    assert engine.fresh().exists == 0
    assert len(set(oids(engine, "Archive"))) == len(oids(engine, "Archive")) == 3


def test_the_same_move_is_the_same_push_even_where_nobody_looked(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pushed blindly by two processes at once, it happens once: its key says what it moves."""
    monkeypatch.setattr("mailcore.services.mailboxes.transfers.BLIND_AFTER_S", float("inf"))
    engine.add(2)
    other = engine.another()

    def overtake() -> None:
        fault.install({"move.after_copy": die})
        with pytest.raises(Death):
            move(other, UidSet.of([1, 2]))
        fault.install({})

    fault.install({"commit.before_push": overtake})
    assert move(engine, UidSet.of([1, 2])).target == UidSet.of([1, 2])
    assert engine.fresh("Archive").exists == 2


def test_renaming_inbox_moves_its_messages_and_leaves_it(engine: Engine) -> None:
    """RFC 9051 §6.3.6"""
    engine.services.mailboxes.create(engine.user_id, ACTOR, "INBOX/sub")
    engine.add(3)
    before = oids(engine, "INBOX")
    engine.services.mailboxes.rename(engine.user_id, ACTOR, "inbox", "Old/Mail")
    assert oids(engine, "Old/Mail") == before
    assert engine.fresh().exists == 0
    assert engine.services.mailboxes.find(engine.user_id, "INBOX/sub")


@pytest.mark.parametrize("point", ["commit.before_push", "move.after_copy", "expunge.before_push"])
def test_renaming_inbox_that_died_in_the_middle_loses_nothing(engine: Engine, point: str) -> None:
    """Promise P7: the messages are in INBOX until the new mailbox has them; its fold finishes what was begun."""
    engine.add(3)
    before = oids(engine, "INBOX")
    fault.install({point: die})
    with pytest.raises(Death):
        engine.services.mailboxes.rename(engine.user_id, ACTOR, "INBOX", "Old")
    fault.install({})
    assert oids(engine, "INBOX") == before
    other = engine.another()
    other.fold("Old")
    expected = ([], before) if point != "commit.before_push" else (before, [])
    assert (oids(other, "INBOX"), oids(other, "Old")) == expected
    for name in ("INBOX", "Old"):
        assert check_mailbox(engine.stores, engine.user_id, engine.mailbox(name)) == []


def test_deliveries_to_the_target_only_delay_a_move(engine: Engine) -> None:
    engine.add(1)
    other = engine.another()
    left = [5]

    def deliver() -> None:
        if left[0]:
            left[0] -= 1
            install: Callable[[dict[str, Any]], None] = fault.install
            install({})
            other.add(1, "Archive")
            install({"commit.before_push": deliver})

    fault.install({"commit.before_push": deliver})
    assert move(engine, UidSet.of([1])).target == UidSet.of([6])


@pytest.mark.parametrize("transfer", [copy, move])
def test_keyword_that_the_view_in_memory_lacks_has_its_name_after_a_copy(
    engine: Engine, transfer: Callable[[Engine, UidSet], Any]
) -> None:
    """Sessions here share the view: a bit without a name would be a flag they never hear of."""
    engine.add()
    engine.services.messages.store(
        engine.user_id, ACTOR, engine.inbox, UidSet.of([1]), FlagOperation.ADD, FlagSet(0, ("Label",))
    )
    assert engine.services.mailboxes.open(engine.user_id, "Archive").keywords == ()
    archive = engine.mailbox("Archive")
    engine.stores.heads.add_keywords(engine.user_id, archive, 0, ["Label"])  # by a STORE elsewhere that came too late
    transfer(engine, UidSet.of([1]))
    view = engine.services.mailboxes.cached(engine.user_id, archive)
    assert view is not None
    if view.exists:
        assert view.flag_names(int(view.flags[0])) == ("Label",)
    view = engine.services.mailboxes.refresh(engine.user_id, archive)
    assert view.flag_names(int(view.flags[0])) == ("Label",)


def test_move_into_a_mailbox_whose_log_cannot_be_read_gives_up(engine: Engine) -> None:
    """A row block that is gone for good looks like one folded since; the source's queue must not wait for ever."""
    engine.add(201)
    move(engine, UidSet.of(range(1, 201)))
    (stored,) = engine.head("Archive").state.log
    pieces = row_blocks.pieces_of(decode_entry(stored))
    assert pieces
    engine.stores.row_blocks.delete(engine.user_id, engine.mailbox("Archive"), pieces)
    with pytest.raises(MailboxBusy):
        move(engine.another(), UidSet.of([201]))
    assert engine.fresh().uids.tolist() == [201]
