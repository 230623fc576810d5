"""STORE and EXPUNGE: compare-and-set on what they read, one small update, nothing for nothing."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from mailcore.errors import FlagInvalid, MailboxBusy, MailboxChanged, TooManyKeywords
from mailcore.model.flags import DELETED, FLAGGED, HAS_NOTE, SEEN, FlagOperation, FlagSet
from mailcore.model.ids import ModSeq
from mailcore.model.uid_set import UidSet
from mailcore.services.mailboxes import commits
from mailcore.services.mailboxes.messages import StoreResult
from mailcore.store.mailbox.heads import Heads
from mailcore.store.mailbox.notes import Note
from tests.store.mailbox.conftest import ACTOR, Engine, make_row, same

ADD, REMOVE, REPLACE = FlagOperation.ADD, FlagOperation.REMOVE, FlagOperation.REPLACE


def store(
    engine: Engine, uids: UidSet, operation: FlagOperation, system: int = 0, *keywords: str, since: int | None = None
) -> StoreResult:
    return engine.services.messages.store(
        engine.user_id,
        ACTOR,
        engine.inbox,
        uids,
        operation,
        FlagSet(system, keywords),
        ModSeq(since) if since is not None else None,
    )


def names(engine: Engine, uid: int) -> set[str]:
    view = engine.fresh()
    return set(view.flag_names(int(view.flags[view.row_of(uid)])))


def test_flags_are_added_removed_and_replaced(engine: Engine) -> None:
    engine.add(3)
    assert store(engine, UidSet.of([1, 2]), ADD, SEEN, "Work").changed == UidSet.of([1, 2])
    assert store(engine, UidSet.of([2, 3]), ADD, FLAGGED).changed == UidSet.of([2, 3])
    assert store(engine, UidSet.of([1, 2, 3]), REMOVE, SEEN, "Other").changed == UidSet.of([1, 2])
    assert [names(engine, uid) for uid in (1, 2, 3)] == [{"Work"}, {"Work", "\\Flagged"}, {"\\Flagged"}]
    assert store(engine, UidSet.of([1, 2, 3]), REPLACE, SEEN, "New").changed == UidSet.of([1, 2, 3])
    assert names(engine, 2) == {"\\Seen", "New"}
    assert engine.head().state.unseen == 0


def test_a_store_that_changes_nothing_writes_nothing(engine: Engine) -> None:
    engine.add(2)
    store(engine, UidSet.of([1]), ADD, SEEN)
    before = engine.head().state
    for uids in (UidSet.of([1]), UidSet.of([77]), UidSet()):
        result = store(engine, uids, ADD, SEEN)
        assert not result.changed
    assert engine.head().state == before


def test_any_range_is_one_small_entry(engine: Engine) -> None:
    engine.add(500)
    engine.fold()
    assert len(store(engine, UidSet(((1, 500),)), ADD, SEEN).changed) == 500
    (stored,) = engine.head().state.log
    assert len(stored) < 150
    assert engine.head().state.unseen == 0


def test_scattered_uids_go_to_a_row_block(engine: Engine) -> None:
    engine.add(2000)
    odd = UidSet.of(range(1, 2000, 2))
    result = store(engine, odd, ADD, SEEN)
    assert result.changed == odd
    assert same(result.view, engine.fresh())
    assert len(engine.head().state.log[-1]) < 200
    assert engine.head().state.unseen == 1000
    engine.fold()
    assert same(result.view, engine.fresh())


def test_the_answer_is_the_mailbox_right_after(engine: Engine) -> None:
    """A session needs no further read to answer with FETCH FLAGS."""
    engine.add(2)
    result = store(engine, UidSet.of([2]), ADD, SEEN)
    assert result.view.highest_modseq == 2
    assert result.view.modseqs.tolist() == [1, 2]
    assert engine.services.mailboxes.cached(engine.user_id, engine.inbox) is result.view


def test_unchanged_since_spares_what_changed_later(engine: Engine) -> None:
    """RFC 7162 §3.1.3"""
    engine.add(1)
    engine.add(1)
    store(engine, UidSet.of([1]), ADD, FLAGGED)
    result = store(engine, UidSet.of([1, 2]), ADD, SEEN, since=2)
    assert result.changed == UidSet.of([2])
    assert result.modified == UidSet.of([1])


def test_another_process_changing_flags_first_is_seen(engine: Engine) -> None:
    """The view in memory is outdated: the push fails, the change is planned anew."""
    engine.add(2)
    engine.services.mailboxes.open(engine.user_id, "INBOX")
    store(engine.another(), UidSet.of([1]), ADD, SEEN)
    result = store(engine, UidSet.of([1, 2]), ADD, SEEN)
    assert result.changed == UidSet.of([2])
    assert engine.head().state.unseen == 0
    assert same(result.view, engine.fresh())


def test_an_outdated_view_is_not_believed_that_nothing_is_to_do(engine: Engine) -> None:
    engine.add(1)
    store(engine, UidSet.of([1]), ADD, SEEN)
    store(engine.another(), UidSet.of([1]), REMOVE, SEEN)
    assert store(engine, UidSet.of([1]), ADD, SEEN).changed == UidSet.of([1])


def test_unchanged_since_sees_what_another_process_changed(engine: Engine) -> None:
    engine.add(1)
    engine.services.mailboxes.open(engine.user_id, "INBOX")
    store(engine.another(), UidSet.of([1]), ADD, FLAGGED)
    assert store(engine, UidSet.of([1]), ADD, SEEN, since=1).modified == UidSet.of([1])


def test_deliveries_do_not_disturb_flag_changes(engine: Engine) -> None:
    engine.add(1)
    engine.services.mailboxes.open(engine.user_id, "INBOX")
    engine.another().add(1)
    result = store(engine, UidSet.of([1]), ADD, SEEN)
    assert result.view.exists == 2
    assert result.view.highest_modseq == 3


def test_a_mailbox_that_never_rests_is_busy(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commits, "BUSY_AFTER_S", 0.3)
    monkeypatch.setattr(commits.Patience.__init__, "__defaults__", (0.3,))
    engine.add(1)
    real = type(engine.stores.heads).commit
    other = engine.another()
    flip = [False]

    def disturbed(self: object, *args: object) -> object:
        if not flip[0]:
            flip[0] = True
            view = other.services.mailboxes.refresh(other.user_id, other.inbox)
            store(other, UidSet.of([1]), REMOVE if int(view.flags[0]) & FLAGGED else ADD, FLAGGED)
            flip[0] = False
        return real(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(type(engine.stores.heads), "commit", disturbed)
    with pytest.raises(MailboxBusy):
        store(engine, UidSet.of([1]), ADD, SEEN)


def test_many_sessions_of_one_process_take_turns(engine: Engine) -> None:
    engine.add(20)
    failures: list[BaseException] = []

    def work(uid: int) -> None:
        try:
            store(engine, UidSet.of([uid]), ADD, SEEN, f"k{uid % 3}")
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(uid,)) for uid in range(1, 21)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert engine.head().state.unseen == 0
    assert not engine.services.messages._commits.queues._turns._queues


# -- keywords -----------------------------------------------------------------------------------


def test_keywords_differ_by_more_than_case_and_keep_their_first_spelling(engine: Engine) -> None:
    """RFC 9051 §2.3.2: keywords are case-insensitive."""
    engine.add(1)
    store(engine, UidSet.of([1]), ADD, 0, "Work", "WORK")
    store(engine.another(), UidSet.of([1]), ADD, 0, "wORK", "later")
    assert engine.fresh().keywords == ("Work", "later")
    assert names(engine, 1) == {"Work", "later"}


def test_a_keyword_that_the_view_in_memory_lacks_is_set_all_the_same(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another session may bring an older view between the keyword's addition and the change."""
    engine.add()
    engine.services.mailboxes.forget(engine.user_id, engine.inbox)
    inbox = engine.inbox
    add_keywords = Heads.add_keywords

    def meanwhile(self: Heads, *arguments: Any) -> tuple[str, ...] | None:
        engine.services.mailboxes.refresh(engine.user_id, inbox)
        return add_keywords(self, *arguments)

    monkeypatch.setattr(Heads, "add_keywords", meanwhile)
    result = store(engine, UidSet.of([1]), ADD, SEEN, "Work")
    assert names(engine, 1) == {"\\Seen", "Work"}
    assert set(result.view.flag_names(int(result.view.flags[0]))) == {"\\Seen", "Work"}


def test_a_mailbox_takes_56_keywords(engine: Engine) -> None:
    engine.add(1)
    for start in range(0, 56, 14):
        store(engine, UidSet.of([1]), ADD, 0, *(f"k{number}" for number in range(start, start + 14)))
    with pytest.raises(TooManyKeywords):
        store(engine, UidSet.of([1]), ADD, 0, "k1", "one-more")
    assert len(names(engine, 1)) == 56
    engine.fold()
    assert len(names(engine, 1)) == 56
    store(engine, UidSet.of([1]), REMOVE, 0, "one-more")
    assert len(engine.fresh().keywords) == 56


def test_a_keyword_taken_off_every_message_keeps_its_place(engine: Engine) -> None:
    engine.add(1)
    store(engine, UidSet.of([1]), ADD, 0, "a", "b")
    store(engine, UidSet.of([1]), REMOVE, 0, "a")
    store(engine, UidSet.of([1]), ADD, 0, "c")
    assert engine.fresh().keywords == ("a", "b", "c")


@pytest.mark.parametrize("keyword", ["", "a b", "\\Seen", "a(b", "ä", "x" * 256, "a]", "a\x7f", "%", 'q"'])
def test_what_is_no_keyword_is_refused(engine: Engine, keyword: str) -> None:
    engine.add(1)
    with pytest.raises(FlagInvalid):
        store(engine, UidSet.of([1]), ADD, 0, keyword)
    assert engine.fresh().keywords == ()


# -- expunge ------------------------------------------------------------------------------------


def test_expunge_removes_what_is_deleted_and_asked_for(engine: Engine) -> None:
    engine.add(rows=[make_row(DELETED, 10), make_row(DELETED | SEEN, 20), make_row(0, 40)])
    result = engine.services.messages.expunge(engine.user_id, ACTOR, engine.inbox, UidSet.of([1, 3]))
    assert result.expunged == UidSet.of([1])
    result = engine.services.messages.expunge(engine.user_id, ACTOR, engine.inbox, None)
    assert result.expunged == UidSet.of([2])
    assert result.view.uids.tolist() == [3]
    state = engine.head().state
    assert (state.exists, state.unseen, state.size_bytes, state.uid_next) == (1, 1, 40, 4)


def test_expunging_the_same_twice_counts_once(engine: Engine) -> None:
    engine.add(3)
    other = engine.another()
    other.services.mailboxes.open(engine.user_id, "INBOX")
    expunge = engine.services.messages.expunge
    assert len(expunge(engine.user_id, ACTOR, engine.inbox, UidSet.of([1, 2]), only_deleted=False).expunged) == 2
    result = other.services.messages.expunge(engine.user_id, ACTOR, engine.inbox, UidSet.of([2, 3]), only_deleted=False)
    assert result.expunged == UidSet.of([3])
    assert engine.head().state.exists == 0


def test_a_session_of_a_deleted_mailbox_is_told(engine: Engine) -> None:
    mailbox_id = engine.services.mailboxes.create(engine.user_id, ACTOR, "Short")
    engine.add(1, "Short")
    engine.another().services.mailboxes.delete(engine.user_id, ACTOR, "Short")
    with pytest.raises(MailboxChanged):
        engine.services.messages.store(engine.user_id, ACTOR, mailbox_id, UidSet.of([1]), ADD, FlagSet(SEEN))
    with pytest.raises(MailboxChanged):
        engine.services.mailboxes.refresh(engine.user_id, mailbox_id)


# -- notes --------------------------------------------------------------------------------------


def test_a_note_belongs_to_its_copy_and_is_never_shown_as_flag(engine: Engine) -> None:
    engine.add(2)
    note = Note(b'{"a": 1}')
    engine.services.messages.put_note(engine.user_id, ACTOR, engine.inbox, 2, note)
    assert int(engine.fresh().flags[1]) & HAS_NOTE
    assert names(engine, 2) == set()
    store(engine, UidSet.of([1, 2]), REPLACE, SEEN)
    assert int(engine.fresh().flags[1]) & HAS_NOTE
    notes = engine.stores.notes
    assert notes.get(engine.user_id, engine.inbox, [1, 2]) == {2: note}
    moved = engine.services.messages.move(engine.user_id, ACTOR, engine.inbox, UidSet.of([2]), "Archive")
    (uid,) = moved.target
    assert notes.get(engine.user_id, engine.mailbox("Archive"), [uid]) == {uid: note}
    engine.fold()
    assert notes.get(engine.user_id, engine.inbox, [2]) == {}
    engine.services.messages.put_note(engine.user_id, ACTOR, engine.mailbox("Archive"), uid, None)
    assert notes.get(engine.user_id, engine.mailbox("Archive"), [uid]) == {}
    assert not int(engine.fresh("Archive").flags[0]) & HAS_NOTE
