"""The tree of mailboxes: one compare-and-set for each change, UIDVALIDITY from its own counter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from bson import ObjectId

from mailcore.errors import (
    MailboxExists,
    MailboxNameInvalid,
    MailboxNotFound,
    MailboxProtected,
    StoreUnavailable,
    TooManyMailboxes,
    UserNotFound,
)
from mailcore.model.ids import MailboxId, UserId
from mailcore.model.limits import DEFAULT_LIMITS
from mailcore.model.mailbox import RECOVERED, MailboxEntry, SpecialUse
from mailcore.model.uid_set import UidSet
from mailcore.store.mailbox.fsck import Problem, check_user
from mailcore.store.mailbox.sweep import sweep_user
from mailcore.store.mailbox.tree import MailboxTrees
from tests.store.mailbox.conftest import ACTOR, Engine


def names(engine: Engine) -> list[str]:
    return [entry.name for entry in engine.services.mailboxes.tree(engine.user_id)]


def entry(engine: Engine, name: str) -> MailboxEntry:
    return engine.services.mailboxes.find(engine.user_id, name)


def create(engine: Engine, *wanted: str) -> list[MailboxId]:
    return [engine.services.mailboxes.create(engine.user_id, ACTOR, name) for name in wanted]


def test_a_user_begins_with_the_usual_mailboxes(engine: Engine) -> None:
    assert names(engine) == ["INBOX", "Archive", "Drafts", "Junk", "Sent Mail", "Trash"]
    assert {each.special_use for each in engine.services.mailboxes.tree(engine.user_id)} == {
        None, SpecialUse.ARCHIVE, SpecialUse.DRAFTS, SpecialUse.JUNK, SpecialUse.SENT, SpecialUse.TRASH,
    }  # fmt: skip
    engine.services.mailboxes.create_defaults(engine.user_id, ACTOR)
    assert len(names(engine)) == 6


def test_every_mailbox_has_a_uid_validity_of_its_own_for_ever(engine: Engine) -> None:
    """RFC 9051 §2.3.1.1: a mailbox deleted and made again has a higher one."""
    create(engine, "a", "b")
    first = entry(engine, "b").uid_validity
    assert first == entry(engine, "a").uid_validity + 1
    engine.services.mailboxes.delete(engine.user_id, ACTOR, "b")
    create(engine, "b")
    assert entry(engine, "b").uid_validity == first + 1
    assert engine.fresh("b").uid_validity == first + 1
    validities = [each.uid_validity for each in engine.services.mailboxes.tree(engine.user_id)]
    assert len(set(validities)) == len(validities)


def test_a_mailbox_of_that_name_exists(engine: Engine) -> None:
    create(engine, "Entwürfe")
    for name in ("Entwu\u0308rfe", "Entwürfe/", "INBOX", "inbox"):
        with pytest.raises(MailboxExists):
            create(engine, name)
    with pytest.raises(MailboxNameInvalid):
        create(engine, "a//b")


def overtake(monkeypatch: pytest.MonkeyPatch, meanwhile: Callable[[], object]) -> None:
    """Have something done between the next reading of a tree and what is to replace it."""
    real = MailboxTrees.replace

    def overtaken(self: MailboxTrees, *args: object) -> object:
        monkeypatch.setattr(MailboxTrees, "replace", real)
        meanwhile()
        return real(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(MailboxTrees, "replace", overtaken)


def test_two_processes_making_the_same_mailbox_make_one(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    other = engine.another()
    overtake(monkeypatch, lambda: create(other, "Same", "Other"))
    with pytest.raises(MailboxExists):
        create(engine, "Same")
    assert names(engine).count("Same") == 1
    assert len(engine.stores.heads.list_mailboxes(engine.user_id)) == len(names(engine))


def test_a_creation_overtaken_by_another_takes_the_next_uid_validity(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = engine.another()
    overtake(monkeypatch, lambda: create(other, "First"))
    create(engine, "Second")
    assert entry(engine, "Second").uid_validity == entry(engine, "First").uid_validity + 1
    assert engine.fresh("Second").uid_validity == entry(engine, "Second").uid_validity
    assert check_user(engine.stores, engine.user_id) == {}


MORE_DEFAULTS = (("INBOX", None), ("Snoozed", None), ("Later", None))


def test_usual_mailboxes_that_two_processes_make_at_once_are_there_once(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = engine.another()

    def meanwhile() -> None:
        create(other, "Later")
        other.services.mailboxes.create_defaults(engine.user_id, ACTOR)

    overtake(monkeypatch, meanwhile)
    monkeypatch.setattr("mailcore.services.mailboxes.mailboxes.DEFAULT_MAILBOXES", MORE_DEFAULTS)
    engine.services.mailboxes.create_defaults(engine.user_id, ACTOR)
    assert sorted(names(engine)) == sorted(
        ["INBOX", "Archive", "Drafts", "Junk", "Later", "Sent Mail", "Snoozed", "Trash"]
    )
    assert entry(engine, "Snoozed").uid_validity == entry(engine, "Later").uid_validity + 1
    assert len(engine.stores.heads.list_mailboxes(engine.user_id)) == len(names(engine))
    assert check_user(engine.stores, engine.user_id) == {}


def test_usual_mailboxes_that_are_too_many_are_not_made(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mailcore.services.mailboxes.mailboxes.DEFAULT_MAILBOXES", MORE_DEFAULTS)
    monkeypatch.setattr("mailcore.services.mailboxes.mailboxes.DEFAULT_LIMITS", replace(DEFAULT_LIMITS, mailboxes=7))
    with pytest.raises(TooManyMailboxes):
        engine.services.mailboxes.create_defaults(engine.user_id, ACTOR)
    assert len(names(engine)) == len(engine.stores.heads.list_mailboxes(engine.user_id)) == 6


def test_too_many_mailboxes(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mailcore.services.mailboxes.mailboxes.DEFAULT_LIMITS", replace(DEFAULT_LIMITS, mailboxes=7))
    create(engine, "seven")
    with pytest.raises(TooManyMailboxes):
        create(engine, "eight")


def test_deleting_a_mailbox_leaves_those_below_it(engine: Engine) -> None:
    create(engine, "a", "a/b")
    engine.services.mailboxes.delete(engine.user_id, ACTOR, "a")
    assert "a/b" in names(engine)
    assert "a" not in names(engine)
    with pytest.raises(MailboxNotFound):
        engine.services.mailboxes.open(engine.user_id, "a")
    with pytest.raises(MailboxNotFound):
        engine.services.mailboxes.delete(engine.user_id, ACTOR, "a")


@pytest.mark.parametrize("name", ["INBOX", "inbox", "Trash"])
def test_inbox_and_special_mailboxes_cannot_be_deleted(engine: Engine, name: str) -> None:
    with pytest.raises(MailboxProtected):
        engine.services.mailboxes.delete(engine.user_id, ACTOR, name)


def test_renaming_takes_everything_below_along(engine: Engine) -> None:
    ids = create(engine, "a", "a/b", "a/b/c", "ab")
    engine.add(2, "a/b")
    engine.services.mailboxes.rename(engine.user_id, ACTOR, "a", "x/y")
    assert [entry(engine, name).id for name in ("x/y", "x/y/b", "x/y/b/c", "ab")] == ids
    assert engine.fresh("x/y/b").exists == 2
    with pytest.raises(MailboxNotFound):
        entry(engine, "a")


def test_renaming_a_name_that_has_only_mailboxes_below_it(engine: Engine) -> None:
    create(engine, "a/b")
    engine.services.mailboxes.rename(engine.user_id, ACTOR, "a", "x")
    assert entry(engine, "x/b")


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        ("nothing", "x", MailboxNotFound),
        ("a", "INBOX", MailboxExists),
        ("a", "a", MailboxExists),
        ("a", "a/b/c", MailboxNameInvalid),
        ("a", "taken", MailboxExists),
        ("a", "/".join("x" * 32), MailboxNameInvalid),
        ("a", "x\x00", MailboxNameInvalid),
    ],
)
def test_names_that_a_mailbox_cannot_get(engine: Engine, old: str, new: str, error: type[Exception]) -> None:
    create(engine, "a", "a/b", "taken/b")
    before = names(engine)
    if new == "taken":
        create(engine, "taken")
        before = names(engine)
    with pytest.raises(error):
        engine.services.mailboxes.rename(engine.user_id, ACTOR, old, new)
    assert names(engine) == before


def test_a_mailbox_cannot_be_renamed_over_one_below_the_target(engine: Engine) -> None:
    create(engine, "a", "a/b", "x/b")
    with pytest.raises(MailboxExists):
        engine.services.mailboxes.rename(engine.user_id, ACTOR, "a", "x")


def test_subscriptions_belong_to_names(engine: Engine) -> None:
    """RFC 9051 §6.3.7: a name stays subscribed when its mailbox goes."""
    mailboxes = engine.services.mailboxes
    create(engine, "a")
    assert not entry(engine, "a").subscribed
    mailboxes.subscribe(engine.user_id, ACTOR, "a")
    mailboxes.subscribe(engine.user_id, ACTOR, "ghost")
    assert entry(engine, "a").subscribed
    assert mailboxes.tree(engine.user_id).subscribed_names == {"ghost"}
    mailboxes.delete(engine.user_id, ACTOR, "a")
    assert mailboxes.tree(engine.user_id).subscribed_names == {"ghost", "a"}
    create(engine, "ghost")
    assert entry(engine, "ghost").subscribed
    mailboxes.unsubscribe(engine.user_id, ACTOR, "ghost")
    mailboxes.unsubscribe(engine.user_id, ACTOR, "a")
    mailboxes.unsubscribe(engine.user_id, ACTOR, "never was")
    assert not entry(engine, "ghost").subscribed
    assert mailboxes.tree(engine.user_id).subscribed_names == frozenset()


def test_a_tree_changed_by_another_process_is_seen(engine: Engine) -> None:
    other = engine.another()
    names(engine)
    create(other, "new")
    assert "new" in names(engine)
    assert (
        engine.services.mailboxes.tree_cached(engine.user_id).version
        == other.services.mailboxes.tree(engine.user_id).version
    )


def test_status_of_many_is_one_answer_and_of_the_gone_is_deleted(engine: Engine) -> None:
    engine.add(3)
    ghost = MailboxId(ObjectId())
    found = engine.services.mailboxes.status(engine.user_id, [engine.inbox, engine.mailbox("Trash"), ghost])
    assert (found[engine.inbox].exists, found[engine.inbox].unseen, found[engine.inbox].uid_next) == (3, 3, 4)
    assert found[engine.mailbox("Trash")].exists == 0
    assert found[ghost].deleted


def test_a_user_without_mail_is_not_found(engine: Engine) -> None:
    with pytest.raises(UserNotFound):
        engine.services.mailboxes.tree(UserId(ObjectId()))


# -- crashes ------------------------------------------------------------------------------------


def test_a_head_without_its_tree_is_swept(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(*_: object) -> None:
        raise StoreUnavailable("tree")

    monkeypatch.setattr(MailboxTrees, "replace", die)
    with pytest.raises(StoreUnavailable):
        create(engine, "lost")
    monkeypatch.undo()
    assert "lost" not in names(engine)
    assert list(check_user(engine.stores, engine.user_id).values()) == [[Problem("head.not_in_tree")]]
    sweep_user(engine.stores, engine.user_id)  # young: somebody may be about to write the tree
    assert check_user(engine.stores, engine.user_id)
    later = datetime.now(UTC) + timedelta(days=2)
    assert sweep_user(engine.stores, engine.user_id, later).heads == 1
    assert check_user(engine.stores, engine.user_id) == {}
    assert len(engine.stores.heads.list_mailboxes(engine.user_id)) == 6


def test_a_deletion_that_died_after_the_tree_is_finished_by_the_sweep(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    create(engine, "a")
    engine.add(2, "a")

    def die(*_: object) -> None:
        raise StoreUnavailable("head")

    monkeypatch.setattr(type(engine.stores.heads), "delete", die)
    with pytest.raises(StoreUnavailable):
        engine.services.mailboxes.delete(engine.user_id, ACTOR, "a")
    monkeypatch.undo()
    sweep_user(engine.stores, engine.user_id, datetime.now(UTC) + timedelta(hours=2))
    assert sum(len(block.rows) for block in engine.stores.purge.of_user(engine.user_id)) == 2
    assert check_user(engine.stores, engine.user_id) == {}
    assert engine.services.restoring.restore(ACTOR, engine.user_id, datetime(2000, 1, 1, tzinfo=UTC)) == 2
    assert engine.services.mailboxes.open(engine.user_id, RECOVERED).exists == 2, "nobody knows where they were"


def test_a_fold_between_the_two_steps_of_a_deletion_leaves_the_name_to_it(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    (mailbox_id,) = create(engine, "a")
    engine.add(2, "a")
    engine.services.messages.expunge(engine.user_id, ACTOR, mailbox_id, UidSet.of([1]), only_deleted=False)
    heads = type(engine.stores.heads)
    delete = heads.delete

    def folded_first(self: Any, *arguments: Any) -> Any:
        assert not engine.services.messages.fold(engine.user_id, mailbox_id)
        return delete(self, *arguments)

    monkeypatch.setattr(heads, "delete", folded_first)
    engine.services.mailboxes.delete(engine.user_id, ACTOR, "a")
    assert {block.path for block in engine.stores.purge.of_user(engine.user_id)} == {"a"}
