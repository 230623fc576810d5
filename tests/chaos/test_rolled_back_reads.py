"""Promise P4, fault F5: a change that a failover takes back is never shown; clients see what a majority has."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from pymongo.read_concern import ReadConcern

from infra.devstack.stack import Stack
from mailcore.errors import MailError, Unavailable
from mailcore.model.actor import SYSTEM
from mailcore.model.flags import FlagSet
from mailcore.model.ids import MailboxId
from mailcore.model.uid_set import UidSet
from mailcore.services import MailServices
from mailcore.services.mailboxes.messages import NewMessage
from mailcore.store.guard import deadline
from mailcore.store.mailbox.heads import Heads
from mailcore.store.mailbox.view import MailboxView
from tests.builders import MadeUser, make_services, make_user
from tests.chaos.test_nodes_lost import stack_primary_among

SOON_S = 0.01
ATTEMPTS = 5


@dataclass
class Scene:
    """A user on a set of three nodes, as two processes see it."""

    stack: Stack
    writer: MailServices
    reader: MailServices
    user: MadeUser
    inbox: MailboxId


@pytest.fixture
def scene(new_stack: Callable[..., Stack]) -> Iterator[Scene]:
    """One message in INBOX and another in Archive, both acknowledged."""
    stack = new_stack(nodes=3, databases=("main",))
    writer = make_services(stack.directory_uri, stack.shards)
    reader = make_services(stack.directory_uri, stack.shards)
    user = make_user(writer)
    writer.messages.append(user.user_id, SYSTEM, "INBOX", [message("first")])
    writer.messages.append(user.user_id, SYSTEM, "Archive", [message("pending")])
    inbox = reader.mailboxes.open(user.user_id, "INBOX").mailbox_id
    yield Scene(stack, writer, reader, user, inbox)
    writer.close()
    reader.close()


def message(subject: str) -> NewMessage:
    """A message by subject."""
    return NewMessage(f"Subject: {subject}\r\n\r\n{subject}\r\n".encode(), FlagSet(), None)


def shown(view: MailboxView) -> dict[int, bytes]:
    """Return which message each UID stands for."""
    return {int(view.uids[row]): view.message_oid(row) for row in range(view.exists)}


def play(scene: Scene) -> None:
    """Followers away, a push pending, a read, failover, another push; raise if a UID changed its message."""
    stack, user_id = scene.stack, scene.user.user_id
    primary, followers, pushing, outcome = leave_a_push_pending(scene)
    during = shown(scene.reader.mailboxes.refresh(user_id, scene.inbox))
    stack.kill(primary)
    pushing.join(60)
    assert outcome, "the pending push hangs"
    assert isinstance(outcome[0], Unavailable), "an unknown outcome was called done"

    for name in followers:
        stack.processes[name].start()
    stack_primary_among(stack, followers)
    deliver_after_failover(scene)
    other = make_services(stack.directory_uri, stack.shards)
    after = shown(other.mailboxes.open(user_id, "INBOX"))
    other.close()
    changed = [uid for uid, oid in during.items() if after.get(uid) != oid]
    assert not changed, f"UID {changed} was shown and is another message now"
    assert len(after) >= 2


def leave_a_push_pending(scene: Scene) -> tuple[str, list[str], threading.Thread, list[MailError | None]]:
    """Kill both followers and push within the two seconds that the primary stays one; again if it was too slow."""
    stack, user_id = scene.stack, scene.user.user_id
    heads = scene.writer.placement.home(user_id).shard.heads
    archive = scene.writer.mailboxes.open(user_id, "Archive").mailbox_id
    for _ in range(ATTEMPTS):
        primary = stack.primary()
        followers = [name for name in stack.pids if name != primary]
        before = scene.writer.mailboxes.refresh(user_id, scene.inbox).uid_next
        outcome: list[MailError | None] = []

        def push(outcome: list[MailError | None] = outcome) -> None:
            try:
                scene.writer.messages.copy(user_id, SYSTEM, archive, UidSet(((1, 1),)), "INBOX")
                outcome.append(None)
            except MailError as error:
                outcome.append(error)

        for name in followers:
            stack.kill(name)
        pushing = threading.Thread(target=push)
        pushing.start()
        while pushing.is_alive():
            if is_pending(heads, scene, before):
                return primary, followers, pushing, outcome
            time.sleep(SOON_S)
        stack.restart(*followers)
    raise AssertionError("the primary always stepped down before the push reached it")


def is_pending(heads: Heads, scene: Scene, before: int) -> bool:
    """Return whether the primary has a push that no follower has."""
    local = heads._collection.with_options(read_concern=ReadConcern("local"))
    try:
        with deadline(1):
            found = local.find_one({"_id": scene.user.user_id.binary + scene.inbox.binary}, {"uid_next": 1})
    except Unavailable:
        return False
    assert found is not None
    return bool(found["uid_next"] > before)


def deliver_after_failover(scene: Scene) -> None:
    """Append another message, as often as it takes."""
    until = time.monotonic() + 40
    while True:
        try:
            scene.writer.messages.append(scene.user.user_id, SYSTEM, "INBOX", [message("second")])
        except Unavailable:
            assert time.monotonic() < until, "the set did not recover"
        else:
            return


@pytest.mark.timeout(150)
def test_uid_of_a_pending_push_is_not_shown(scene: Scene) -> None:
    """The reader sees nothing that the new primary does not have."""
    play(scene)


@pytest.mark.timeout(150)
def test_local_reads_would_show_a_uid_that_becomes_another_message(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control: with heads read locally the same scene turns red."""
    heads = scene.reader.placement.home(scene.user.user_id).shard.heads
    monkeypatch.setattr(heads, "_collection", heads._collection.with_options(read_concern=ReadConcern("local")))
    with pytest.raises(AssertionError, match="is another message now"):
        play(scene)
