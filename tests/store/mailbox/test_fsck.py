"""fsck: damage of every sort is seen, a rebuild saves what is left, a sweep takes only what nothing names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mailcore import fault
from mailcore.errors import MailboxBusy, StoreDamaged
from mailcore.model.flags import FLAGGED, SEEN, FlagOperation, FlagSet
from mailcore.model.uid_set import UidSet
from mailcore.store.keys import mailbox_key, segment_key
from mailcore.store.mailbox.fsck import (
    ATTEMPTS,
    check_mailbox,
    named_messages,
    rebuild_mailbox,
    unnamed_messages,
)
from mailcore.store.mailbox.heads import Heads
from mailcore.store.mailbox.log_entry import decode_entry
from mailcore.store.mailbox.row_blocks import pieces_of
from mailcore.store.mailbox.sweep import sweep_user
from tests.store.mailbox.conftest import ACTOR, Engine, same


@pytest.fixture
def filled(engine: Engine) -> Engine:
    """40 messages in a segment, 100 in a row block in the log, flags and a gap."""
    engine.add(40)
    engine.services.messages.store(
        engine.user_id, ACTOR, engine.inbox, UidSet.of([4]), FlagOperation.ADD, FlagSet(SEEN, ("Work",))
    )
    engine.fold()
    engine.add(100)
    engine.services.messages.expunge(engine.user_id, ACTOR, engine.inbox, UidSet.of([7, 50]), only_deleted=False)
    engine.services.messages.store(
        engine.user_id, ACTOR, engine.inbox, UidSet.of([60]), FlagOperation.ADD, FlagSet(FLAGGED)
    )
    return engine


def kinds(engine: Engine) -> set[str]:
    return {problem.kind for problem in check_mailbox(engine.stores, engine.user_id, engine.inbox)}


def set_head(engine: Engine, **fields: object) -> None:
    engine.stores.hot["mailboxes"].update_one({"_id": mailbox_key(engine.user_id, engine.inbox)}, {"$set": fields})


def remove_part(engine: Engine, part: bytes) -> None:
    engine.stores.hot["segments"].delete_one({"_id": segment_key(engine.user_id, engine.inbox, part)})


def lose_head(engine: Engine) -> None:
    engine.stores.hot["mailboxes"].delete_one({"_id": mailbox_key(engine.user_id, engine.inbox)})


def lose_flags(engine: Engine) -> None:
    remove_part(engine, engine.head().segments[0].flags_id)


def lose_block(engine: Engine) -> None:
    (block,) = [piece for stored in engine.head().state.log for piece in pieces_of(decode_entry(stored))]
    engine.stores.row_blocks.delete(engine.user_id, engine.inbox, [block])


DAMAGES: list[tuple[Callable[[Engine], None], str]] = [
    (lambda engine: set_head(engine, exists=5), "head.exists"),
    (lambda engine: set_head(engine, unseen=5), "head.unseen"),
    (lambda engine: set_head(engine, size_bytes=5), "head.size_bytes"),
    (lambda engine: set_head(engine, uid_next=999), "head.uid_next"),
    (lambda engine: set_head(engine, log_bytes=1), "head.log_bytes"),
    (lambda engine: set_head(engine, log_base_uid=3), "head.log_base_uid"),
    (lambda engine: set_head(engine, log_base_modseq=0), "head.damaged"),
    (lambda engine: set_head(engine, keywords=[]), "head.keywords"),
    (lambda engine: set_head(engine, segments=b"\x01\x00\x00x"), "head.damaged"),
    (lose_head, "head.missing"),
    (lose_flags, "segment.unreadable"),
    (lose_block, "log.damaged"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("damage", "kind"), DAMAGES, ids=[f"{number}-{kind}" for number, (_, kind) in enumerate(DAMAGES)]
)
def test_damage_is_seen_and_a_rebuild_makes_the_mailbox_sound(
    filled: Engine, damage: Callable[[Engine], None], kind: str
) -> None:
    assert kinds(filled) == set()
    before = filled.fresh()
    damage(filled)
    assert kind in kinds(filled)
    rebuilt = rebuild_mailbox(filled.stores, filled.user_id, filled.inbox)
    assert kinds(filled) == set()
    filled.services.mailboxes.forget(filled.user_id, filled.inbox)
    after = filled.fresh()
    assert after.exists == rebuilt.exists
    if not rebuilt.new_uid_validity:
        assert set(after.uids.tolist()) <= set(before.uids.tolist())
        assert after.uid_validity == before.uid_validity
        assert after.uid_next >= before.uid_next
        assert after.highest_modseq > before.highest_modseq
    assert filled.add().first_uid == after.uid_next
    assert kinds(filled) == set()


def test_counters_counted_anew_cost_nothing(filled: Engine) -> None:
    before = filled.fresh()
    set_head(filled, exists=1, unseen=1)
    assert not rebuild_mailbox(filled.stores, filled.user_id, filled.inbox).new_uid_validity
    after = filled.fresh()
    assert after.uids.tolist() == before.uids.tolist()
    assert after.flags.tolist() == before.flags.tolist()
    assert after.keywords == before.keywords


@pytest.mark.parametrize("times", [3, 10**9])
def test_a_rebuild_among_writers_ends(filled: Engine, times: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each commit that comes between makes it begin anew; it does not go on for ever, and loses nothing."""
    set_head(filled, exists=5)
    replace_head, added = Heads.replace, []

    def after_a_commit(self: Heads, *arguments: Any) -> bool:
        if len(added) < times:
            added.append(filled.add().first_uid)
        return replace_head(self, *arguments)

    monkeypatch.setattr(Heads, "replace", after_a_commit)
    if times == 3:
        rebuild_mailbox(filled.stores, filled.user_id, filled.inbox)
        assert kinds(filled) == set()
    else:
        with pytest.raises(MailboxBusy):
            rebuild_mailbox(filled.stores, filled.user_id, filled.inbox)
        assert len(added) == ATTEMPTS
        assert kinds(filled) == {"head.exists"}
    filled.services.mailboxes.forget(filled.user_id, filled.inbox)
    assert set(added) <= set(filled.fresh().uids.tolist())


def test_without_a_head_the_segments_give_what_was_folded(filled: Engine) -> None:
    old = filled.fresh()
    lose_head(filled)
    rebuilt = rebuild_mailbox(filled.stores, filled.user_id, filled.inbox)
    assert rebuilt.new_uid_validity
    view = filled.fresh()
    assert view.uids.tolist() == list(range(1, 41))
    assert view.highest_modseq > old.highest_modseq
    assert view.uid_validity > old.uid_validity
    assert filled.services.mailboxes.find(filled.user_id, "INBOX").uid_validity == view.uid_validity
    assert int(view.flags[3]) == SEEN | 1 << 8
    assert view.keywords == ("Recovered1",)


def test_rows_without_a_message_are_left_out(filled: Engine) -> None:
    missing = filled.fresh().message_oid(0)

    def present(oids: Sequence[bytes]) -> set[bytes]:
        return {oid for oid in oids if oid != missing}

    assert [problem.kind for problem in check_mailbox(filled.stores, filled.user_id, filled.inbox, present)] == [
        "message.missing"
    ]
    rebuild_mailbox(filled.stores, filled.user_id, filled.inbox, present)
    assert check_mailbox(filled.stores, filled.user_id, filled.inbox, present) == []
    assert filled.fresh().row_of(1) == -1


def test_messages_that_no_row_names_are_found(filled: Engine) -> None:
    named = list(named_messages(filled.stores, filled.user_id))
    assert len(set(named)) == 140  # expunged ones too, as long as they are in the log
    lost = b"lost message"
    assert unnamed_messages(filled.stores, filled.user_id, iter([*named, lost])) == [lost]
    filled.fold()
    assert len(set(named_messages(filled.stores, filled.user_id))) == 138
    assert unnamed_messages(filled.stores, filled.user_id, iter([*named, lost])) == [lost]


def test_a_sweep_takes_what_crashed_folds_left_and_nothing_else(filled: Engine) -> None:
    class Death(BaseException):
        pass

    def die() -> None:
        raise Death

    filled.fold()
    filled.services.messages.store(
        filled.user_id, ACTOR, filled.inbox, UidSet.of([1]), FlagOperation.ADD, FlagSet(SEEN)
    )
    fault.install({"fold.after_segments": die})
    with pytest.raises(Death):
        filled.fold()
    fault.install({"commit.before_push": die})
    with pytest.raises(Death):
        filled.add(100)
    fault.install({})
    before = filled.fresh()
    assert sweep_user(filled.stores, filled.user_id).parts == 0
    assert sweep_user(filled.stores, filled.user_id, datetime.now(UTC) + timedelta(days=2)).parts == 2
    assert same(filled.fresh(), before)
    assert kinds(filled) == set()


def test_a_mailbox_whose_segment_is_lost_says_so(filled: Engine) -> None:
    lose_flags(filled)
    filled.services.mailboxes.forget(filled.user_id, filled.inbox)
    with pytest.raises(StoreDamaged):
        filled.services.mailboxes.open(filled.user_id, "INBOX")


def test_a_lost_row_block_costs_its_messages_only(filled: Engine) -> None:
    lose_block(filled)
    rebuilt = rebuild_mailbox(filled.stores, filled.user_id, filled.inbox)
    assert not rebuilt.new_uid_validity
    view = filled.fresh()
    assert view.uids.tolist() == [uid for uid in range(1, 41) if uid != 7]
    assert view.uid_next == 141


def test_what_is_committed_while_a_rebuild_works_is_kept(filled: Engine) -> None:
    """A delivery acknowledged, and a keyword added, between the rebuild's look and its write."""
    set_head(filled, exists=1)
    late: list[int] = []

    def present(oids: Sequence[bytes]) -> set[bytes]:
        if not late:
            late.append(filled.add().first_uid)
            filled.stores.heads.add_keywords(filled.user_id, filled.inbox, 1, ["Late"])
        return set(oids)

    rebuild_mailbox(filled.stores, filled.user_id, filled.inbox, present)
    after = filled.fresh()
    assert after.row_of(late[0]) >= 0
    assert after.keywords == ("Work", "Late")
    assert kinds(filled) == set()
