"""How often each operation asks the database, and that every question names one user's range on one shard."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from bson import Binary
from pymongo import monitoring

from mailcore.model.flags import FLAGGED, SEEN, FlagOperation, FlagSet
from mailcore.model.uid_set import UidSet
from tests.builders import make_services, make_user
from tests.store.mailbox.conftest import ACTOR, Engine

COMMANDS = {"find", "findAndModify", "insert", "update", "delete", "aggregate", "getMore"}


class Listener(monitoring.CommandListener):
    """Every command that reads or writes documents, with its database and the `_id`s it is about."""

    def __init__(self) -> None:
        self.commands: list[tuple[str, str, list[Any]]] = []

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        if event.command_name in COMMANDS:
            self.commands.append((event.database_name, event.command_name, _ids(event.command)))

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None: ...

    def failed(self, event: monitoring.CommandFailedEvent) -> None: ...


def _ids(command: Any) -> list[Any]:
    if "filter" in command:
        return [command["filter"].get("_id")]
    if "query" in command:
        return [command["query"].get("_id")]
    return [
        part.get("_id") if "_id" in part else part["q"].get("_id")
        for field in ("documents", "updates", "deletes")
        for part in command.get(field, ())
    ]


@pytest.fixture
def listener() -> Iterator[Listener]:
    made = Listener()
    monitoring.register(made)
    yield made
    monitoring._LISTENERS.command_listeners.remove(made)


@pytest.fixture
def heard(listener: Listener, directory_uri: str, shard_uris: Any) -> Iterator[Engine]:
    services = make_services(directory_uri, shard_uris)
    engine = Engine(services, make_user(services, shard="b").user_id)
    engine.add(50)
    engine.fold()
    engine.services.mailboxes.open(engine.user_id, "INBOX")
    listener.commands.clear()
    yield engine
    services.close()


def test_round_trips_of_each_operation(heard: Engine, listener: Listener) -> None:
    services, user, inbox = heard.services, heard.user_id, heard.mailbox("INBOX")

    def count(operation: Callable[[], object]) -> int:
        listener.commands.clear()
        operation()
        return len(listener.commands)

    def store(uids: UidSet, bits: int) -> object:
        return services.messages.store(user, ACTOR, inbox, uids, FlagOperation.ADD, FlagSet(bits))

    assert count(lambda: services.mailboxes.open(user, "INBOX")) == 2  # tree, head
    assert count(lambda: services.mailboxes.refresh(user, inbox)) == 1
    assert count(lambda: services.mailboxes.status(user, [entry.id for entry in services.mailboxes.tree(user)])) == 2
    assert count(lambda: store(UidSet(((1, 50),)), SEEN)) == 1
    assert count(lambda: store(UidSet.of([1]), SEEN)) == 1  # the look whether there is really nothing to do
    assert count(lambda: store(UidSet.of(range(1, 50, 2)), FLAGGED)) == 1
    assert count(lambda: services.messages.expunge(user, ACTOR, inbox, UidSet.of([3]), only_deleted=False)) == 1
    assert count(lambda: heard.add(1)) == 2  # the test looks for the mailbox, then the push
    assert count(lambda: heard.add(100)) == 3  # and a row block
    assert count(lambda: services.messages.copy(user, ACTOR, inbox, UidSet.of([5]), "Archive")) == 4
    assert count(lambda: services.messages.move(user, ACTOR, inbox, UidSet.of([6]), "Archive")) == 5
    assert count(lambda: services.messages.move(user, ACTOR, inbox, UidSet.of([7]), "Archive")) == 4  # known by then
    assert count(lambda: services.messages.copy(user, ACTOR, inbox, UidSet.of([8]), "Archive")) == 3
    assert count(lambda: services.messages.fold(user, inbox)) <= 12


def test_every_command_is_about_one_user_on_that_users_shard(
    heard: Engine, listener: Listener, shard_uris: Any
) -> None:
    """Isolation: every `_id` begins with the owner, ranges and lists do not leave it (attack T10)."""
    services, user, inbox = heard.services, heard.user_id, heard.inbox
    listener.commands.clear()
    services.mailboxes.create(user, ACTOR, "A/B")
    services.mailboxes.rename(user, ACTOR, "A", "C")
    services.messages.store(user, ACTOR, inbox, UidSet.of([1]), FlagOperation.ADD, FlagSet(SEEN, ("Work",)))
    services.messages.copy(user, ACTOR, inbox, UidSet(((1, 40),)), "C/B")
    services.messages.move(user, ACTOR, inbox, UidSet(((41, 45),)), "C/B")
    services.messages.expunge(user, ACTOR, inbox, UidSet(((1, 5),)), only_deleted=False)
    services.messages.fold(user, inbox)
    services.messages.fold(user, heard.mailbox("C/B"))
    services.mailboxes.vanished_since(user, inbox, 1)
    services.quotas.use(user, fresh=True)
    heard.stores.heads.bump_collection_epoch(user)
    services.mailboxes.delete(user, ACTOR, "C/B")
    list(heard.stores.purge.of_user(user))
    databases = {database for database, _, _ in listener.commands}
    assert databases == {shard_uris["b"].hot.rpartition("/")[2].partition("?")[0]}
    assert len(listener.commands) > 30
    for _, name, ids in listener.commands:
        assert ids, name
        for bound in ids:
            for key in _keys(bound):
                assert key[:12] == user.binary, (name, key)


def _keys(bound: Any) -> list[bytes]:
    if isinstance(bound, (bytes, Binary)):
        return [bytes(bound)]
    assert isinstance(bound, dict), bound
    if "$in" in bound:
        return [bytes(key) for key in bound["$in"]]
    assert len(bound) == 2, bound
    return [bytes(key) for key in bound.values()]
