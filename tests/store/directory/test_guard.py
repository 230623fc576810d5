"""Guards of every database call: an owner in each query (attack T10), no operator in a value, each error translated."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from bson import ObjectId
from pymongo import DeleteOne, InsertOne, ReplaceOne, UpdateOne
from pymongo.collection import Collection
from pymongo.errors import BulkWriteError, DuplicateKeyError, OperationFailure

from mailcore.errors import StoreFull, StoreUnavailable
from mailcore.store.client import Clients, open_client
from mailcore.store.guard import deadline, guarded, only_duplicates
from mailcore.store.keys import mailbox_key, owner_range
from mailcore.store.owned import OperatorInValue, OwnedCollection, UnownedQuery

ALICE, BOB = ObjectId(), ObjectId()
INBOX, SENT = ObjectId(), ObjectId()


@pytest.fixture
def bare(directory_uri: str) -> Iterator[Collection[dict[str, Any]]]:
    """An empty collection with one document of Alice's and one of Bob's."""
    clients = Clients({})
    collection = clients.database(directory_uri)["guarded"]
    collection.delete_many({})
    collection.insert_many([{"_id": mailbox_key(ALICE, INBOX), "n": 1}, {"_id": mailbox_key(BOB, INBOX), "n": 1}])
    yield collection
    clients.close()


Call = Callable[[Any], Any]

UNOWNED: list[Any] = [
    pytest.param(lambda c: c.find({}), id="find-all"),
    pytest.param(lambda c: c.find({"n": 1}), id="find-by-other-field"),
    pytest.param(lambda c: c.find_one({"_id": None}), id="none"),
    pytest.param(lambda c: c.find_one({"_id": "alice"}), id="text"),
    pytest.param(lambda c: c.find_one({"_id": {"$ne": ALICE.binary}}), id="not-equal"),
    pytest.param(lambda c: c.find_one({"_id": {"$exists": True}}), id="exists"),
    pytest.param(lambda c: c.find_one({"_id": {"$gte": ALICE.binary}}), id="open-range"),
    pytest.param(lambda c: c.find_one({"_id": {"$gte": b"\0" * 24, "$lte": b"\xff" * 24}}), id="range-of-everybody"),
    pytest.param(lambda c: c.find_one({"_id": {"$in": []}}), id="in-nothing"),
    pytest.param(lambda c: c.find_one({"_id": {"$in": [ALICE.binary, "x"]}}), id="in-with-text"),
    pytest.param(lambda c: c.find_one({"_id": b"short"}), id="short-key"),
    pytest.param(lambda c: c.find_one({"$or": [{"_id": ALICE.binary}, {}]}), id="owner-in-one-branch"),
    pytest.param(lambda c: c.find_one(None), id="no-filter"),
    pytest.param(lambda c: c.count_documents({}), id="count"),
    pytest.param(lambda c: c.update_one({"n": 1}, {"$set": {"n": 2}}), id="update-one"),
    pytest.param(lambda c: c.update_many({}, {"$set": {"n": 2}}), id="update-many"),
    pytest.param(lambda c: c.replace_one({"n": 1}, {"n": 2}), id="replace-one"),
    pytest.param(lambda c: c.find_one_and_update({"n": 1}, {"$set": {"n": 2}}), id="find-one-and-update"),
    pytest.param(lambda c: c.find_one_and_replace({"n": 1}, {"n": 2}), id="find-one-and-replace"),
    pytest.param(lambda c: c.find_one_and_delete({"n": 1}), id="find-one-and-delete"),
    pytest.param(lambda c: c.delete_one({"n": 1}), id="delete-one"),
    pytest.param(lambda c: c.delete_many({}), id="delete-many"),
    pytest.param(lambda c: c.insert_one({"n": 1}), id="insert-one"),
    pytest.param(lambda c: c.insert_many([{"_id": mailbox_key(ALICE, SENT)}, {"n": 1}]), id="insert-many"),
    pytest.param(lambda c: c.bulk_write([UpdateOne({"n": 1}, {"$set": {"n": 2}})]), id="bulk-update"),
    pytest.param(lambda c: c.bulk_write([DeleteOne({})]), id="bulk-delete"),
    pytest.param(lambda c: c.bulk_write([InsertOne({"n": 1})]), id="bulk-insert"),
    pytest.param(lambda c: c.bulk_write([ReplaceOne({"n": 1}, {"n": 2})]), id="bulk-replace"),
    pytest.param(lambda c: c.aggregate([{"$group": {"_id": None}}]), id="aggregate"),
    pytest.param(
        lambda c: c.aggregate([{"$match": {"_id": ALICE.binary}}, {"$lookup": {"from": "users"}}]),
        id="aggregate-lookup",
    ),
]


@pytest.mark.parametrize("call", UNOWNED)
def test_a_query_without_owner_raises_and_does_nothing(call: Call, bare: Collection[dict[str, Any]]) -> None:
    before = list(bare.find({}).sort("_id", 1))
    with pytest.raises(UnownedQuery):
        call(OwnedCollection(bare))
    assert list(bare.find({}).sort("_id", 1)) == before


def test_without_the_guard_such_a_query_reaches_everybody(bare: Collection[dict[str, Any]]) -> None:
    """Negative control: the same calls on the bare collection see and change Bob's document too."""
    assert len(list(bare.find({}))) == 2
    assert bare.update_many({}, {"$set": {"n": 2}}).modified_count == 2
    assert OwnedCollection(bare).across_owners("a test looks at all") is bare
    with pytest.raises(UnownedQuery):
        OwnedCollection(bare).across_owners("")


def test_owned_queries_work_and_stay_with_their_owner(bare: Collection[dict[str, Any]]) -> None:
    owned = OwnedCollection(bare)
    mine = owner_range(ALICE.binary, 24)
    assert [found["n"] for found in owned.find({"_id": mine, "n": {"$gt": 0}})] == [1]
    assert (
        owned.update_many(
            {"_id": mine}, {"$set": {"n": 5}, "$push": {"log": {"$each": [b"x"], "$slice": -3}}}
        ).modified_count
        == 1
    )
    assert owned.find_one({"_id": mailbox_key(BOB, INBOX)}) == {"_id": mailbox_key(BOB, INBOX), "n": 1}
    assert owned.count_documents({"_id": {"$in": [mailbox_key(ALICE, INBOX), mailbox_key(BOB, INBOX)]}}) == 2
    owned.bulk_write([UpdateOne({"_id": mailbox_key(ALICE, SENT)}, {"$setOnInsert": {"n": 7}}, upsert=True)])
    assert owned.find_one_and_delete({"_id": mailbox_key(ALICE, SENT)}) == {"_id": mailbox_key(ALICE, SENT), "n": 7}
    assert owned.delete_many({"_id": mine}).deleted_count == 1
    assert bare.count_documents({}) == 1


OPERATORS: list[Any] = [
    pytest.param(lambda c, k: c.find_one({"_id": k, "name": {"$regex": ".*"}}), id="regex"),
    pytest.param(lambda c, k: c.find_one({"_id": k, "$where": "sleep(1)"}), id="where"),
    pytest.param(lambda c, k: c.find_one({"_id": k, "$expr": {"$gt": ["$n", 0]}}), id="expr"),
    pytest.param(lambda c, k: c.find_one({"_id": k, "name": {"$in": [{"$gt": ""}]}}), id="operator-in-list"),
    pytest.param(lambda c, k: c.find_one({"_id": k, "name": {"$eq": {"$gt": ""}}}), id="operator-in-operand"),
    pytest.param(lambda c, k: c.find_one({"_id": k, "name": {"first": {"$gt": ""}}}), id="operator-deeper"),
    pytest.param(lambda c, k: c.update_one({"_id": k}, {"$set": {"name": {"$gt": ""}}}), id="set-operator"),
    pytest.param(lambda c, k: c.update_one({"_id": k}, {"$set": {"names": [{"$gt": ""}]}}), id="set-operator-in-list"),
    pytest.param(lambda c, k: c.update_one({"_id": k}, {"$push": {"log": {"$where": ""}}}), id="push-operator"),
    pytest.param(lambda c, k: c.update_one({"_id": k}, {"$where": {"n": 1}}), id="unknown-update"),
    pytest.param(lambda c, k: c.insert_one({"_id": k, "name": {"$gt": ""}}), id="insert-operator"),
    pytest.param(lambda c, k: c.replace_one({"_id": k}, {"a": {"b": [{"$c": 1}]}}), id="replace-operator-deep"),
]


@pytest.mark.parametrize("call", OPERATORS)
def test_an_operator_inside_a_value_raises(call: Callable[[Any, bytes], Any], bare: Collection[dict[str, Any]]) -> None:
    """NoSQL operator injection: whatever reaches a repository unchecked stops here."""
    before = list(bare.find({}).sort("_id", 1))
    with pytest.raises(OperatorInValue):
        call(OwnedCollection(bare), mailbox_key(ALICE, INBOX))
    assert list(bare.find({}).sort("_id", 1)) == before


def test_an_operator_where_the_owner_belongs_raises(bare: Collection[dict[str, Any]]) -> None:
    users = OwnedCollection(bare, ("_id", "tenant"), ObjectId)
    for smuggled in ({"$gt": ObjectId("0" * 24)}, {"$ne": None}, str(ALICE), None, 1):
        with pytest.raises(UnownedQuery):
            users.find_one({"_id": smuggled})
    assert users.find_one({"tenant": ALICE}) is None


def test_errors_of_the_driver_are_translated() -> None:
    with pytest.raises(StoreUnavailable), guarded():
        raise OperationFailure("not primary", 10107)
    for full in (OperationFailure("x", 14031), OperationFailure("write failed: No space left on device", 8)):
        with pytest.raises(StoreFull), guarded():
            raise full
    with pytest.raises(DuplicateKeyError), guarded():
        raise DuplicateKeyError("there already", 11000)
    twice = BulkWriteError({"writeErrors": [{"code": 11000}], "writeConcernErrors": []})
    assert only_duplicates(twice)
    with pytest.raises(BulkWriteError), deadline(1):
        raise twice
    with pytest.raises(StoreUnavailable), guarded():
        raise BulkWriteError({"writeErrors": [{"code": 11000}, {"code": 8}], "writeConcernErrors": []})
    with pytest.raises(ValueError, match="ours"), guarded():
        raise ValueError("ours")


def test_a_dead_server_is_unavailable_within_the_deadline() -> None:
    client = open_client("mongodb://127.0.0.1:1/")
    collection = OwnedCollection(client["eider"]["mailboxes"])
    begun = time.monotonic()
    with pytest.raises(StoreUnavailable), deadline(0.3):
        collection.find_one({"_id": ALICE.binary})
    assert time.monotonic() - begun < 4  # the driver's own limit would be 5 s
    client.close()


def test_the_earlier_of_two_deadlines_counts(bare: Collection[dict[str, Any]]) -> None:
    with pytest.raises(StoreUnavailable), deadline(0.2), deadline(30):
        list(bare.aggregate([{"$match": {"$expr": {"$function": {
            "body": "function() { sleep(3000); return true; }", "args": [], "lang": "js"}}}}]))  # fmt: skip
