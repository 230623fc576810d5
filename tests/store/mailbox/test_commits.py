"""A change of a mailbox is one push to its head: once, in order, and only where it may be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from mailcore import fault
from mailcore.errors import MailboxChanged, MailboxMoving, StoreUnavailable, UidsExhausted
from mailcore.model.changes import Cause
from mailcore.model.flags import SEEN
from mailcore.model.limits import DEFAULT_LIMITS
from mailcore.model.uid_set import UidSet
from mailcore.store import keys
from mailcore.store.mailbox.fsck import check_user
from mailcore.store.mailbox.head import MOVING, OPEN
from mailcore.store.mailbox.log_entry import decode_entry
from tests.store.mailbox.conftest import ACTOR, Engine, make_row, same


def test_modseq_is_the_place_in_the_log_and_uids_follow(engine: Engine) -> None:
    first, second = engine.add(3), engine.add(2)
    assert (first.modseq, first.first_uid) == (1, 1)
    assert (second.modseq, second.first_uid) == (2, 4)
    view = engine.fresh()
    assert view.uids.tolist() == [1, 2, 3, 4, 5]
    assert view.modseqs.tolist() == [1, 1, 1, 2, 2]
    assert (view.uid_next, view.highest_modseq) == (6, 2)


def test_a_mailbox_gives_no_uid_that_there_is_not(engine: Engine) -> None:
    """Who copies large mailboxes within themselves comes near the last UID (RFC 9051 §2.3.1.1: 32 bits)."""
    messages, key = engine.services.messages, keys.mailbox_key(engine.user_id, engine.inbox)
    left = 3
    near = {"uid_next": 0xFFFFFFFF - left, "log_base_uid": 0xFFFFFFFF - left}
    engine.stores.heads._collection.update_one({"_id": key}, {"$set": near})
    engine.add(2)
    with pytest.raises(UidsExhausted):
        messages.copy(engine.user_id, ACTOR, engine.inbox, UidSet(((1, 0xFFFFFFFF),)), "INBOX")
    engine.add(1)
    with pytest.raises(UidsExhausted):
        engine.add(1)
    assert not check_user(engine.stores, engine.user_id)
    for _ in range(2):
        view = engine.fresh()
        assert view.uids.tolist() == [0xFFFFFFFC, 0xFFFFFFFD, 0xFFFFFFFE]
        assert view.uid_next == 0xFFFFFFFF
        engine.fold()
    assert messages.move(engine.user_id, ACTOR, engine.inbox, UidSet(((1, 0xFFFFFFFF),)), "Archive").view.exists == 0


def test_rows_come_back_as_they_were_given(engine: Engine) -> None:
    row = replace(make_row(SEEN, 0xFFFFFFFF, thread=(1 << 64) - 1), header_date=-5)
    engine.add(rows=[row])
    for _ in range(2):
        view = engine.fresh()
        assert view.message_oid(0) == row.message_oid
        assert (view.flags[0], view.sizes[0], view.threads[0]) == (SEEN, 0xFFFFFFFF, (1 << 64) - 1)
        assert (view.internal_dates[0], view.saved_dates[0]) == (row.internal_date, row.saved_date)
        assert view.header_dates[0] == -5
        engine.fold()


def test_counters_equal_the_fold(engine: Engine) -> None:
    engine.add(rows=[make_row(0, 10), make_row(SEEN, 20)])
    state = engine.head().state
    assert (state.exists, state.unseen, state.size_bytes) == (2, 1, 30)


@pytest.mark.parametrize("folds", [0, 1, 2])
def test_the_same_key_commits_once_and_is_told_the_same(engine: Engine, folds: int) -> None:
    """A delivery whose acknowledgement was lost is sent again as it is, perhaps after a fold."""
    engine.add(2)
    rows = [make_row(), make_row()]
    first = engine.add(rows=rows, key=b"k" * 16)
    engine.add(1)
    for _ in range(folds):
        engine.fold()
        engine.add(1)
    again = engine.another().add(rows=rows, key=b"k" * 16)
    assert (again.modseq, again.first_uid, again.uid_validity) == (first.modseq, first.first_uid, first.uid_validity)
    assert engine.fresh().exists == 5 + folds


def test_a_key_is_known_for_64_changes_whatever_is_folded(engine: Engine) -> None:
    key, rows = b"k" * 16, [make_row()]
    first = engine.add(rows=rows, key=key)
    for _ in range(DEFAULT_LIMITS.recent_keys - 1):
        engine.add(1)
    assert engine.add(rows=rows, key=key).first_uid == first.first_uid
    assert len(engine.head().recent_keys) == DEFAULT_LIMITS.recent_keys


def test_a_commit_that_dies_after_the_push_is_found_by_its_key(engine: Engine) -> None:
    def die() -> None:
        raise StoreUnavailable("the answer got lost")

    rows = [make_row()]
    fault.install({"commit.after_push": die})
    with pytest.raises(StoreUnavailable):
        engine.add(rows=rows, key=b"k" * 16)
    fault.install({})
    assert engine.add(rows=rows, key=b"k" * 16).first_uid == 1
    assert engine.fresh().exists == 1


def test_nothing_is_committed_to_a_deleted_mailbox(engine: Engine) -> None:
    mailbox_id = engine.services.mailboxes.create(engine.user_id, ACTOR, "Short")
    engine.services.mailboxes.delete(engine.user_id, ACTOR, "Short")
    with pytest.raises(MailboxChanged):
        engine.services.messages.commit_rows(engine.user_id, mailbox_id, [make_row()], Cause.DELIVERY, ACTOR, b"k" * 16)


def test_nothing_is_committed_to_a_mailbox_on_its_way_to_another_shard(engine: Engine) -> None:
    engine.stores.heads.set_state(engine.user_id, OPEN, MOVING)
    with pytest.raises(MailboxMoving):
        engine.add()
    engine.stores.heads.set_state(engine.user_id, MOVING, OPEN)
    assert engine.add().first_uid == 1


def test_what_does_not_fit_into_an_entry_goes_to_a_row_block(engine: Engine) -> None:
    commit = engine.add(1000)
    (stored,) = engine.head().state.log
    entry = decode_entry(stored)
    assert len(stored) <= DEFAULT_LIMITS.log_entry_bytes
    assert (entry.count, entry.payload, entry.block is not None) == (1000, b"", True)
    assert commit.first_uid == 1
    view = engine.fresh()
    assert view.exists == 1000
    engine.fold()
    assert same(engine.fresh(), view)


def test_a_full_log_is_folded_before_the_next_change(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The log cannot pass the limit of a document, even if every writer died before folding."""
    monkeypatch.setattr(type(engine.services.messages._commits), "settle", lambda *_: None)
    small = replace(DEFAULT_LIMITS, log_bytes=4096)
    monkeypatch.setattr("mailcore.store.mailbox.heads.DEFAULT_LIMITS", small)
    monkeypatch.setattr("mailcore.services.mailboxes.commits.DEFAULT_LIMITS", small)
    for _ in range(100):
        engine.add(3)
    assert engine.fresh().exists == 300
    assert engine.head().state.log_bytes < 4096 + DEFAULT_LIMITS.log_entry_bytes
    assert engine.head().state.generation >= 2


def test_writers_fold_the_log_when_it_is_long(engine: Engine) -> None:
    for _ in range(DEFAULT_LIMITS.fold_entries):
        engine.add()
    head = engine.head()
    assert head.state.generation == 1
    assert head.state.log == ()
    assert head.state.log_bytes == 0


def test_a_failing_fold_does_not_fail_the_commit(engine: Engine) -> None:
    def die() -> None:
        raise StoreUnavailable("fold")

    fault.install({"fold.after_segments": die})
    for _ in range(DEFAULT_LIMITS.fold_entries + 3):
        engine.add()
    assert engine.fresh().exists == DEFAULT_LIMITS.fold_entries + 3


def test_a_head_that_is_older_than_what_was_seen_is_not_believed(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A primary that was cut off may answer with an older head; its client is told nothing rather than less."""
    heads = type(engine.stores.heads)
    read: Callable[..., Any] = heads.refresh
    engine.add(2)
    engine.services.mailboxes.open(engine.user_id, "INBOX")
    old = engine.stores.heads.refresh(engine.user_id, engine.inbox, 0, 0)
    engine.add(1)
    answers = [old, old]
    monkeypatch.setattr(heads, "refresh", lambda *args: answers.pop() if answers else read(*args))
    assert engine.services.mailboxes.refresh(engine.user_id, engine.inbox).exists == 3
    monkeypatch.setattr(heads, "refresh", lambda *_: old)
    with pytest.raises(StoreUnavailable):
        engine.services.mailboxes.refresh(engine.user_id, engine.inbox)


def test_an_entry_says_who_did_it_and_why(engine: Engine) -> None:
    engine.add()
    stamp = decode_entry(engine.head().state.log[0]).stamp
    assert stamp.cause is Cause.DELIVERY
    assert (stamp.kind, stamp.door) == (ACTOR.kind, ACTOR.door)
    assert stamp.party.split("\n") == [ACTOR.identity, ACTOR.remote_address, ACTOR.request_id]


def test_a_restore_commits_only_in_the_epoch_it_read(engine: Engine) -> None:
    epoch = engine.head().state.collection_epoch
    rows = [make_row()]
    commit = engine.services.messages.commit_rows
    engine.stores.heads.bump_collection_epoch(engine.user_id)
    with pytest.raises(MailboxChanged):
        commit(engine.user_id, engine.inbox, rows, Cause.RESTORE, ACTOR, b"k" * 16, collection_epoch=epoch)
    commit(engine.user_id, engine.inbox, rows, Cause.RESTORE, ACTOR, b"k" * 16, collection_epoch=epoch + 1)
    assert engine.fresh().exists == 1


def test_a_head_beyond_what_memory_knows_is_read_whole_after_a_fold(engine: Engine) -> None:
    engine.add(3)
    engine.services.mailboxes.open(engine.user_id, "INBOX")
    other = engine.another()
    other.add(2)
    other.fold()
    other.add(1)
    view = engine.services.mailboxes.refresh(engine.user_id, engine.inbox)
    assert same(view, engine.fresh())
    assert view.exists == 6


def test_a_fold_elsewhere_does_not_make_memory_outdated(engine: Engine) -> None:
    engine.add(3)
    view = engine.services.mailboxes.open(engine.user_id, "INBOX")
    other = engine.another()
    other.fold()
    assert engine.services.mailboxes.refresh(engine.user_id, engine.inbox).uids is not None
    other.add(1)
    newer = engine.services.mailboxes.refresh(engine.user_id, engine.inbox)
    assert np.shares_memory(newer.sizes, view.sizes)  # grown, not read anew
    assert same(newer, engine.fresh())
