"""Promise P7: what a process remembers of a target spares a read, and lets nothing happen that a read would forbid."""

from __future__ import annotations

from dataclasses import replace

import pytest
from bson import ObjectId

from mailcore import fault
from mailcore.errors import MailboxNotFound
from mailcore.model.ids import MailboxId, UserId
from mailcore.model.uid_set import UidSet
from mailcore.services.mailboxes.latest_targets import MOST, REMEMBERED_S, LatestTargets
from mailcore.store.mailbox.head import HeadState
from tests.store.mailbox.conftest import ACTOR, Engine
from tests.store.mailbox.test_copy_move import Death, copy, die, move, oids


def move_begun_elsewhere(engine: Engine, uids: UidSet) -> None:
    """Another process puts messages into Archive and dies before it takes them from INBOX."""
    fault.install({"move.after_copy": die})
    with pytest.raises(Death):
        move(engine.another(), uids)
    fault.install({})


def move_what_another_has_begun(engine: Engine) -> tuple[list[bytes], list[bytes]]:
    """Return what is in Archive, and what should be."""
    engine.add(4)
    before = oids(engine, "INBOX")
    move(engine, UidSet.of([1]))  # this process knows the target from now on
    move_begun_elsewhere(engine, UidSet.of([2, 3]))
    move(engine, UidSet.of([3, 4]))
    return oids(engine, "Archive"), before


def test_a_move_that_another_process_has_begun_is_found_though_the_target_is_remembered(engine: Engine) -> None:
    """Promise P7: nothing is taken twice by one target."""
    found, expected = move_what_another_has_begun(engine)
    assert found == expected
    engine.fold("Archive")
    assert oids(engine, "INBOX") == []


def test_without_its_condition_the_same_would_be_there_twice(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: a memory that lies about how far it goes."""
    get_finished = LatestTargets.get_finished

    def lie(latest: LatestTargets, user: UserId, target: MailboxId, source: MailboxId) -> HeadState | None:
        state = get_finished(latest, user, target, source)
        now = engine.stores.heads.state_of(user, target)
        return replace(state, highest_modseq=now.highest_modseq) if state is not None and now is not None else None

    monkeypatch.setattr(LatestTargets, "get_finished", lie)
    found, expected = move_what_another_has_begun(engine)
    assert len(found) == len(expected) + 1


def test_an_own_move_that_ended_in_the_middle_is_not_remembered_as_finished(engine: Engine) -> None:
    engine.add(3)
    before = oids(engine, "INBOX")
    move(engine, UidSet.of([1]))
    fault.install({"move.after_copy": die})
    with pytest.raises(Death):
        move(engine, UidSet.of([2]))
    fault.install({})
    move(engine, UidSet.of([2, 3]))
    assert oids(engine, "Archive") == before
    assert oids(engine, "INBOX") == []


def test_what_else_the_target_took_is_not_forgotten_by_a_move_of_other_messages(engine: Engine) -> None:
    """The first MOVE sees in the log what another began and does not ask for it; the second asks for it."""
    engine.add(3)
    before = oids(engine, "INBOX")
    move_begun_elsewhere(engine, UidSet.of([1]))
    move(engine, UidSet.of([2]))
    move(engine, UidSet.of([1, 3]))
    assert oids(engine, "Archive") == before
    assert oids(engine, "INBOX") == []


def test_a_collection_between_two_copies_has_the_second_begin_anew(engine: Engine) -> None:
    """An epoch remembered is the target's no more: what is copied is read after the collector began."""
    engine.add(2)
    copy(engine, UidSet.of([1]))
    pushes = []

    def look() -> None:
        pushes.append(engine.head("Archive").state.collection_epoch)

    engine.stores.heads.bump_collection_epoch(engine.user_id)
    fault.install({"commit.before_push": look})
    assert copy(engine, UidSet.of([2])).source == UidSet.of([2])
    assert len(pushes) == 2  # with the epoch remembered, then with the one read
    assert engine.fresh("Archive").exists == 2


def test_a_target_deleted_since_is_not_found(engine: Engine) -> None:
    engine.add(2)
    copy(engine, UidSet.of([1]))
    fault.install({"commit.before_push": lambda: _delete_archive(engine)})
    with pytest.raises(MailboxNotFound):
        copy(engine, UidSet.of([2]))


def _delete_archive(engine: Engine) -> None:
    fault.install({})
    other = engine.another()
    entry = other.services.mailboxes.find(engine.user_id, "Archive")
    other.services.mailboxes._delete_head(engine.user_id, entry, ACTOR)


def test_memory_ends_by_age_and_by_number(engine: Engine) -> None:
    now = [0.0]
    latest = LatestTargets(lambda: now[0])
    state = engine.stores.heads.state_of(engine.user_id, engine.inbox)
    assert state is not None
    source, other = MailboxId(ObjectId()), MailboxId(ObjectId())
    latest.put(engine.user_id, engine.inbox, state, source)
    assert latest.get(engine.user_id, engine.inbox) is state
    assert latest.get_finished(engine.user_id, engine.inbox, source) is state
    assert latest.get_finished(engine.user_id, engine.inbox, other) is None
    now[0] = REMEMBERED_S
    assert latest.get(engine.user_id, engine.inbox) is None
    assert latest.get_finished(engine.user_id, engine.inbox, source) is None
    for _ in range(MOST + 1):
        latest.put(engine.user_id, MailboxId(ObjectId()), state)
    assert len(latest._latest) <= MOST
