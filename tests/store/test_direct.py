"""The short way to the primary: same answers as pymongo, and pymongo's care whenever something goes wrong."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pymongo import MongoClient, WriteConcern, monitoring
from pymongo.collection import Collection
from pymongo.errors import BulkWriteError, DuplicateKeyError, WriteConcernError

from infra.devstack.stack import MAIN, Stack
from mailcore.errors import StoreUnavailable
from mailcore.store import direct
from mailcore.store.client import CODEC, open_client
from mailcore.store.guard import deadline, only_duplicates
from mailcore.store.lines import MAX_LINES, Lines, of_client

Document = dict[str, Any]


class Heard(monitoring.CommandListener):
    def __init__(self) -> None:
        self.started_commands: list[str] = []
        self.concerns: list[tuple[str, Document]] = []
        self.succeeded_commands: list[str] = []

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        self.started_commands.append(event.command_name)
        self.concerns.append((event.command_name, event.command.get("writeConcern", {})))

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        self.succeeded_commands.append(event.command_name)

    def failed(self, event: monitoring.CommandFailedEvent) -> None: ...


@pytest.fixture
def heard() -> Iterator[Heard]:
    listener = Heard()
    monitoring.register(listener)
    yield listener
    monitoring._LISTENERS.command_listeners.remove(listener)


@pytest.fixture
def collection(heard: Heard, directory_uri: str) -> Iterator[Collection[Document]]:
    client = open_client(directory_uri)
    found = client.get_default_database(codec_options=CODEC)["direct"]
    found.drop()
    found.insert_one({"_id": b"one", "n": 1, "text": "grün"})
    heard.started_commands.clear()
    heard.succeeded_commands.clear()
    heard.concerns.clear()
    yield found
    found.drop()
    of_client(client).close()
    client.close()


def lines(client: MongoClient[Document]) -> Lines:
    return of_client(client)


def test_answers_are_those_of_pymongo(collection: Collection[Document]) -> None:
    for query, projection in (({"_id": b"one"}, None), ({"n": {"$gt": 0}}, {"text": 1}), ({"_id": b"none"}, None)):
        assert direct.find_one(collection, query, projection) == collection.find_one(query, projection)
    direct.insert_one(collection, {"_id": b"two", "n": 2, "data": b"\x00" * 3_000_000})
    assert direct.find_one(collection, {"_id": b"two"}) == collection.find_one({"_id": b"two"})
    after = direct.find_one_and_update(collection, {"_id": b"one", "n": 1}, {"$inc": {"n": 1}}, {"n": 1})
    assert after == {"_id": b"one", "n": 2}
    assert direct.find_one_and_update(collection, {"_id": b"one", "n": 1}, {"$inc": {"n": 1}}, {"n": 1}) is None
    assert collection.find_one({"_id": b"one"}, {"n": 1}) == {"_id": b"one", "n": 2}


def test_many_at_once_are_those_of_pymongo(collection: Collection[Document], heard: Heard) -> None:
    documents = [{"_id": b"%03d" % number, "n": number, "data": b"x" * 100_000} for number in range(100)]
    direct.insert_many(collection, documents)
    query = {"n": {"$lt": 50}, "data": {"$exists": True}}
    found = direct.find_all(collection, query, {"n": 1}, 50)
    assert {document["_id"]: document["n"] for document in found} == {b"%03d" % n: n for n in range(50)}
    updates = [({"_id": b"%03d" % n, "n": n}, {"$inc": {"n": 1000}}) for n in (3, 5, 777)]
    assert direct.update_each(collection, updates) == 2
    assert collection.count_documents({"n": {"$gte": 1000}}) == 2
    assert heard.started_commands[:3] == ["insert", "find", "update"]


def test_more_than_one_answer_holds_comes_whole(collection: Collection[Document], heard: Heard) -> None:
    """A server's answer ends at 16 MiB; its cursor is closed, and the driver asked for everything."""
    for number in range(20):
        direct.insert_one(collection, {"_id": b"%02d" % number, "data": b"x" * 1_000_000})
    heard.started_commands.clear()
    found = direct.find_all(collection, {"data": {"$exists": True}}, None, 100)
    assert [len(document["data"]) for document in found] == [1_000_000] * 20
    assert heard.started_commands[:3] == ["find", "killCursors", "find"]


def test_some_that_are_there_are_reported_and_the_others_stored(collection: Collection[Document]) -> None:
    with pytest.raises(BulkWriteError) as caught:
        direct.insert_many(collection, [{"_id": b"new"}, {"_id": b"one"}, {"_id": b"newer"}])
    assert only_duplicates(caught.value)
    assert collection.count_documents({}) == 3


def test_it_is_one_command_on_one_line_and_listeners_hear_it(collection: Collection[Document], heard: Heard) -> None:
    for _ in range(5):
        direct.find_one(collection, {"_id": b"one"})
    assert heard.started_commands == heard.succeeded_commands == ["find"] * 5
    assert lines(collection.database.client)._count == 1


def test_a_duplicate_is_reported_as_by_pymongo(collection: Collection[Document]) -> None:
    with pytest.raises(DuplicateKeyError):
        direct.insert_one(collection, {"_id": b"one"})
    assert collection.find_one({"_id": b"one"}, {"n": 1}) == {"_id": b"one", "n": 1}


def test_what_the_majority_did_not_acknowledge_is_no_success(collection: Collection[Document]) -> None:
    weak = collection.with_options(write_concern=WriteConcern(w=2, wtimeout=100))
    with pytest.raises(WriteConcernError):
        direct.insert_one(weak, {"_id": b"three"})
    with pytest.raises(StoreUnavailable), deadline():
        direct.find_one_and_update(weak, {"_id": b"one"}, {"$inc": {"n": 1}}, {"n": 1})


def test_a_line_that_broke_is_replaced_and_the_call_is_repeated(collection: Collection[Document], heard: Heard) -> None:
    client = collection.database.client
    direct.find_one(collection, {"_id": b"one"})
    before = lines(client)._idle[0]
    before._socket.shutdown(2)
    found = direct.find_one(collection, {"_id": b"one"})
    assert found is not None
    assert heard.started_commands == ["find"] * 3  # one died on the way, pymongo did it again
    direct.find_one(collection, {"_id": b"one"})
    assert lines(client)._idle[0] is not before
    assert lines(client)._count == 1


def test_a_long_reply_is_byte_for_byte_what_is_stored(collection: Collection[Document]) -> None:
    direct.find_one(collection, {"_id": b"one"})
    line = lines(collection.database.client)._idle[0]
    for size in (65_000, 65_536, 1_026_000, 9_000_000):
        data = os.urandom(size)
        direct.insert_one(collection, {"_id": b"%d" % size, "data": data})
        found = direct.find_one(collection, {"_id": b"%d" % size})
        assert found is not None
        assert found["data"] == data
    assert lines(collection.database.client)._idle[0] is line


def test_a_reply_longer_than_any_is_not_waited_for(collection: Collection[Document]) -> None:
    client = collection.database.client
    direct.find_one(collection, {"_id": b"one"})
    line = lines(client)._idle[0]
    real = line._socket

    class Boasting:
        """Says that its replies are of 2 GiB."""

        def __getattr__(self, name: str) -> Any:
            return getattr(real, name)

        def recv(self, size: int) -> bytes:
            data = bytearray(real.recv(size))
            data[:4] = (2**31 - 1).to_bytes(4, "little")
            return bytes(data)

        def recv_into(self, _left: memoryview) -> int:
            raise AssertionError("waited for more")

    line._socket = Boasting()
    assert direct.find_one(collection, {"_id": b"one"}) == collection.find_one({"_id": b"one"})
    assert lines(client)._count == 0


def test_a_reply_of_another_request_is_never_taken(collection: Collection[Document]) -> None:
    client = collection.database.client
    direct.find_one(collection, {"_id": b"one"})
    line = lines(client)._idle[0]
    real = line._socket

    class Shifted:
        """Answers each request with the reply to the one before."""

        def __getattr__(self, name: str) -> Any:
            return getattr(real, name)

        def recv(self, size: int) -> bytes:
            data = bytearray(real.recv(size))
            data[8:12] = (line.request_id - 1).to_bytes(4, "little")
            return bytes(data)

    line._socket = Shifted()
    assert direct.find_one(collection, {"_id": b"one"}) == collection.find_one({"_id": b"one"})
    assert lines(client)._count == 0


def test_lines_are_few_however_many_call_at_once(collection: Collection[Document]) -> None:
    client = collection.database.client
    answers: list[Document | None] = []
    gate = threading.Barrier(MAX_LINES + 8)

    def call() -> None:
        gate.wait()
        for _ in range(20):
            answers.append(direct.find_one(collection, {"_id": b"one"}))

    threads = [threading.Thread(target=call) for _ in range(MAX_LINES + 8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 20 * len(threads)
    assert all(answer is not None and answer["n"] == 1 for answer in answers)
    assert 0 < lines(client)._count == len(lines(client)._idle) <= MAX_LINES


def test_equal_clients_have_lines_of_their_own(collection: Collection[Document], directory_uri: str) -> None:
    other = open_client(directory_uri)
    other.admin.command("ping")
    assert other == collection.database.client
    assert lines(other) is not lines(collection.database.client)
    other.close()


def test_a_silent_primary_costs_no_more_than_the_deadline(new_stack: Callable[..., Stack]) -> None:
    stack = new_stack(databases=(MAIN,))
    client = open_client(stack.directory_uri)
    found = client.get_default_database()["direct"]
    found.insert_one({"_id": b"one"})
    assert direct.find_one(found, {"_id": b"one"}) is not None
    stack.pause(MAIN)
    began = time.monotonic()
    with pytest.raises(StoreUnavailable), deadline(1.0):
        direct.find_one(found, {"_id": b"one"})
    assert time.monotonic() - began < 10  # a hang, not a timing
    stack.resume(MAIN)
    with deadline(30.0):
        assert direct.find_one(found, {"_id": b"one"}) is not None
    stack.kill(MAIN)
    stack.restart(MAIN)
    with deadline(30.0):
        assert direct.find_one(found, {"_id": b"one"}) is not None
    client.close()


def concerns(heard: Heard) -> list[tuple[str, Any]]:
    """Return the commands heard, each with its write concern."""
    return [(name, concern.get("w")) for name, concern in heard.concerns]


def commit_after(collection: Collection[Document], ahead: direct.Ahead | None) -> Document | None:
    query, update = {"_id": b"one", "named": {"$ne": b"new"}}, {"$push": {"named": b"new"}}
    return direct.find_one_and_update(collection, query, update, {"named": 1}, ahead)


def test_a_document_ahead_is_proven_by_the_write_after_it(collection: Collection[Document], heard: Heard) -> None:
    """Two commands on one line, of which only the second waits for the majority."""
    ahead = direct.insert_ahead(collection, {"_id": b"new"})
    assert ahead is not None
    assert commit_after(collection, ahead) == {"_id": b"one", "named": [b"new"]}
    assert concerns(heard) == [("insert", 1), ("findAndModify", "majority")]
    assert collection.find_one({"_id": b"new"}) == {"_id": b"new"}


def test_a_write_that_cannot_go_by_the_same_line_confirms_first(collection: Collection[Document], heard: Heard) -> None:
    for spoil in (
        lambda ahead: lines(collection.database.client).close(),
        lambda ahead: ahead.line._socket.shutdown(2),
        lambda ahead: lines(collection.database.client)._idle.remove(ahead.line),
    ):
        collection.delete_one({"_id": b"new"})
        collection.update_one({"_id": b"one"}, {"$unset": {"named": 1}})
        heard.concerns.clear()
        ahead = direct.insert_ahead(collection, {"_id": b"new"})
        assert ahead is not None
        spoil(ahead)
        assert commit_after(collection, ahead) == {"_id": b"one", "named": [b"new"]}
        assert concerns(heard)[0] == ("insert", 1)
        first_update = [name for name, concern in heard.concerns if concern.get("w") == "majority"]
        assert first_update.index("insert") < len(first_update) - 1 - first_update[::-1].index("findAndModify")


def test_a_write_that_matches_nothing_leaves_the_document_confirmed(
    collection: Collection[Document], heard: Heard
) -> None:
    ahead = direct.insert_ahead(collection, {"_id": b"new"})
    assert direct.find_one_and_update(collection, {"_id": b"none"}, {"$set": {"n": 2}}, {"n": 1}, ahead) is None
    assert ("insert", "majority") in concerns(heard)


def test_what_is_there_already_is_not_inserted_ahead(collection: Collection[Document]) -> None:
    assert direct.insert_ahead(collection, {"_id": b"one"}) is None
