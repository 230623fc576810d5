"""Promise P1: a row never names a message that a failover took back, though one node alone acknowledged that first.

A primary is frozen with messages that only it has; the others elect another and go on. Back again it
rolls those messages back and is made primary once more, while our process still has its old lines to it.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.collection import Collection
from pymongo.errors import PyMongoError

from infra.devstack.stack import Stack
from mailcore.errors import Unavailable
from mailcore.store import direct
from mailcore.store.client import CODEC, open_client
from mailcore.store.guard import deadline
from mailcore.store.lines import Lines
from tests.chaos.test_nodes_lost import stack_primary_among

Document = dict[str, Any]
ATTEMPTS = 5
CLOSED = b"closed"
CONFIRMED = b"confirmed"
CARELESS = b"careless"


@dataclass
class Scene:
    """Messages and mailboxes on a set of three nodes, and a process with lines to the primary."""

    stack: Stack
    client: MongoClient[Document]
    messages: Collection[Document]
    mailboxes: Collection[Document]


@pytest.fixture
def scene(new_stack: Callable[..., Stack]) -> Iterator[Scene]:
    stack = new_stack(nodes=3, databases=("main",))
    client = open_client(stack.directory_uri)
    database = client.get_default_database(codec_options=CODEC)
    for name in (CLOSED, CONFIRMED, CARELESS):
        database["mailboxes"].insert_one({"_id": name, "rows": []})
    yield Scene(stack, client, database["messages"], database["mailboxes"])
    client.close()


def insert_where_nobody_else_hears(scene: Scene) -> tuple[str, list[direct.Ahead]]:
    """Insert three messages on a primary whose followers are dead, and freeze it before it notices."""
    for _ in range(ATTEMPTS):
        primary = scene.stack.primary()
        followers = [name for name in scene.stack.pids if name != primary]
        scene.messages.insert_one({"_id": time.monotonic_ns()})  # the client knows the primary
        for name in followers:
            scene.stack.kill(name)
        ahead = [direct.insert_ahead(scene.messages, {"_id": name}) for name in (CLOSED, CONFIRMED, CARELESS)]
        scene.stack.pause(primary)
        if all(ahead):
            for name in followers:
                scene.stack.processes[name].start()
            stack_primary_among(scene.stack, followers)
            return primary, [one for one in ahead if one is not None]
        scene.stack.resume(primary)
        scene.stack.restart(*followers)
        scene.messages.delete_many({"_id": {"$in": [CLOSED, CONFIRMED, CARELESS]}})
    raise AssertionError("the primary always stepped down before the messages reached it")


def until_done(what: Callable[[], object], seconds: float = 60) -> None:
    """Repeat until it is true and nothing is away."""
    until = time.monotonic() + seconds
    while True:
        with contextlib.suppress(Unavailable, PyMongoError):
            if what():
                return
        assert time.monotonic() < until, "the set did not recover"
        time.sleep(0.1)


def bring_back(scene: Scene, name: str) -> None:
    """Let the others' primary commit something, wake the old one up, and see it primary again, its messages gone."""
    until_done(lambda: _write(scene))
    scene.stack.resume(name)
    until_done(lambda: _step_up(scene, name))
    until_done(lambda: _write(scene))
    assert scene.stack.primary() == name
    with deadline(10):
        assert not list(scene.messages.find({"_id": {"$in": [CLOSED, CONFIRMED, CARELESS]}})), "nothing was rolled back"


def _write(scene: Scene) -> bool:
    with deadline(5):
        scene.messages.insert_one({"_id": time.monotonic_ns()})
    return True


def _step_up(scene: Scene, name: str) -> bool:
    if scene.stack.primary() == name:
        return True
    port = next(port for process, port in scene.stack.sets["main"].members if process.name == name)
    with MongoClient[Document]("127.0.0.1", port, directConnection=True, serverSelectionTimeoutMS=1000) as node:
        node.admin.command("replSetStepUp")
    return scene.stack.primary() == name


def commit(scene: Scene, ahead: direct.Ahead) -> None:
    """Name a message in its mailbox."""
    name = ahead.document["_id"]
    with deadline(10):
        direct.find_one_and_update(
            scene.mailboxes, {"_id": name, "rows": {"$ne": name}}, {"$push": {"rows": name}}, {"rows": 1}, ahead
        )


def rows_without_message(scene: Scene) -> set[bytes]:
    with deadline(10):
        named = {row for mailbox in scene.mailboxes.find({}) for row in mailbox["rows"]}
        return named - {message["_id"] for message in scene.messages.find({}, {"_id": 1})}


@pytest.mark.timeout(240)
def test_row_never_names_a_message_that_was_rolled_back(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing goes by a line from before the rollback; and two negative controls on the same messages."""
    primary, (closed, confirmed, careless) = insert_where_nobody_else_hears(scene)
    bring_back(scene, primary)

    for ahead in (closed, confirmed, careless):
        assert ahead.line._socket.fileno() >= 0, "we never closed it"
        with pytest.raises(ConnectionError):  # the server did, before it rolled back
            ahead.line.call("admin", {"ping": 1}, CODEC, time.monotonic() + 5)
    commit(scene, confirmed)
    assert rows_without_message(scene) == set()

    run = Lines.run
    monkeypatch.setattr(direct.Ahead, "confirm", lambda _: None)
    commit(scene, closed)
    assert rows_without_message(scene) == {CLOSED}, "control: without the confirmation the row lacks its message"
    monkeypatch.undo()

    monkeypatch.setattr(Lines, "run", lambda self, *command, by=None: run(self, *command[:3]))
    commit(scene, careless)
    assert rows_without_message(scene) == {CLOSED, CARELESS}, "control: by any line the row lacks its message"
