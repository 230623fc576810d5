"""Labels taken away by two at once, of which one dies at any step: the message lies somewhere (promise P18)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mailcore.model.flags import LEAVING, FlagOperation
from mailcore.model.ids import MailboxName
from mailcore.model.labels import LabelSet, SystemLabel
from mailcore.model.uid_set import MAX_NUMBER, UidSet
from mailcore.services import MailServices
from mailcore.services.mailboxes.label_changes import LabelChanges
from mailcore.services.mailboxes.messages import NewMessage
from mailcore.store.mailbox.heads import Heads
from tests.builders import OPERATOR, make_services, make_user

ALL = UidSet(((1, MAX_NUMBER),))
INBOX = LabelSet(frozenset({SystemLabel.INBOX}))
ONE = LabelSet(names=(MailboxName("one"),))
TRASH = LabelSet(frozenset({SystemLabel.TRASH}))
NONE = LabelSet()

Step = tuple[str, FlagOperation, LabelSet]
"""Mailbox in which all is changed, and how."""
SCENES: dict[str, tuple[Step, Step]] = {
    "each other's": (("INBOX", FlagOperation.REMOVE, ONE), ("INBOX", FlagOperation.REMOVE, INBOX)),
    "all others": (("INBOX", FlagOperation.REPLACE, NONE), ("one", FlagOperation.REMOVE, INBOX)),
    "to the trash and out of it": (("INBOX", FlagOperation.ADD, TRASH), ("Trash", FlagOperation.REMOVE, TRASH)),
}

LONG = {"to the trash and out of it": pytest.mark.soak}


class Death(BaseException):
    """The process is gone: nothing handles it."""


@pytest.fixture
def other(directory_uri: str, shard_uris: dict[str, Any], redis_url: str) -> Iterator[MailServices]:
    """Another process."""
    made = make_services(directory_uri, shard_uris, redis_url)
    yield made
    made.close()


class Life:
    """Counts the moments before and after each commit of one process; at some of them something happens."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.at: dict[int, list[Callable[[], None]]] = {}
        self._moment: int | None = None
        whole = Heads.commit

        def commit(heads: Heads, *arguments: Any, **named: Any) -> Any:
            self._pass()
            made = whole(heads, *arguments, **named)
            self._pass()
            return made

        monkeypatch.setattr(Heads, "commit", commit)

    def _pass(self) -> None:
        if self._moment is not None:
            moment, self._moment = self._moment, None  # what happens now is not this process's doing
            for happens in self.at.get(moment, ()):
                happens()
            self._moment = moment + 1

    def live(self, work: Callable[[], object]) -> int:
        """Work, and return how many moments there were."""
        self._moment = 0
        try:
            work()
        except Death:
            return -1
        finally:
            count, self._moment = self._moment, None
        return count or 0


def make(services: MailServices) -> Any:
    """A user with one message in INBOX and "one"."""
    user_id = make_user(services).user_id
    services.mailboxes.create(user_id, OPERATOR, "one")
    services.messages.append(user_id, OPERATOR, "INBOX", [NewMessage(b"Subject: a\r\n\r\na\r\n")])
    inbox = services.mailboxes.find(user_id, "INBOX").id
    services.messages.copy(user_id, OPERATOR, inbox, ALL, "one")
    return user_id


def change(services: MailServices, user_id: Any, step: Step) -> None:
    name, operation, labels = step
    mailbox_id = services.mailboxes.find(user_id, name).id
    services.label_changes.change(user_id, OPERATOR, mailbox_id, ALL, operation, labels)


def places(services: MailServices, user_id: Any) -> list[str]:
    return [
        entry.name
        for entry in services.mailboxes.tree(user_id)
        for _ in range(services.mailboxes.open(user_id, entry.name).exists)
    ]


def check_every_step(life: Life, services: MailServices, other: MailServices, scene: str) -> int:
    first, second = SCENES[scene]
    user_id = make(services)
    moments = life.live(lambda: change(services, user_id, first))
    for of_second in range(moments):
        for of_death in range(of_second, moments):
            user_id = make(services)
            life.at = {of_second: [lambda whose=user_id: change(other, whose, second)]}  # type: ignore[misc]
            life.at.setdefault(of_death, []).append(die)
            life.live(lambda whose=user_id: change(services, whose, first))  # type: ignore[misc]
            found = places(other, user_id)
            assert found, f"nowhere: the second at {of_second}, dead at {of_death} of {moments}"
    return moments


def die() -> None:
    raise Death


@pytest.mark.parametrize("scene", [pytest.param(scene, marks=LONG.get(scene, ())) for scene in SCENES])
def test_whoever_dies_at_any_step_leaves_the_message_somewhere(
    services: MailServices, other: MailServices, monkeypatch: pytest.MonkeyPatch, scene: str
) -> None:
    assert check_every_step(Life(monkeypatch), services, other, scene) >= 4


def test_without_the_mark_a_death_would_lose_it(
    services: MailServices, other: MailServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control."""
    monkeypatch.setattr(LabelChanges, "_mark", lambda *_, **__: None)
    with pytest.raises(AssertionError, match="nowhere"):
        check_every_step(Life(monkeypatch), services, other, "each other's")


def test_a_mark_that_was_left_behind_shows_nowhere_and_loses_nothing(
    services: MailServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    life, user_id = Life(monkeypatch), make(services)
    life.at = {1: [die]}
    assert life.live(lambda: change(services, user_id, SCENES["each other's"][0])) == -1
    one = services.mailboxes.open(user_id, "one")
    assert int(one.flags[0]) & LEAVING
    assert one.flag_names(int(one.flags[0])) == ()
    change(services, user_id, ("one", FlagOperation.REMOVE, INBOX))
    assert sorted(places(services, user_id)) == ["Archive", "one"]
    change(services, user_id, ("one", FlagOperation.REMOVE, ONE))
    assert places(services, user_id) == ["Archive"]
    assert not int(services.mailboxes.open(user_id, "Archive").flags[0]) & LEAVING
