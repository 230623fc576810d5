"""The short way to the primary, for the few calls that every message and every command makes.

A call through pymongo costs five times what it takes to encode, send and decode it, and its
implicit sessions and retryable writes make mongod keep books of what needs none here. This way
(`store/lines.py`) knows success only; after anything else pymongo is asked the same again. So only what
may be sent twice goes this way: reads, and writes that their own keys make idempotent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pymongo import UpdateOne
from pymongo.collection import Collection
from pymongo.errors import DuplicateKeyError, WriteConcernError
from pymongo.read_preferences import ReadPreference

from mailcore.store.lines import Document, Line, of_client


@dataclass(frozen=True, slots=True)
class Ahead:
    """A document that the primary alone has acknowledged, and the line by which it did.

    A connection ends with its mongod's process, and a mongod closes those of all clients before it rolls
    anything back. So what the same line writes later follows the document in one and the same oplog: as soon
    as a majority has that, it has the document.
    """

    collection: Collection[Document]
    document: Document
    line: Line

    def confirm(self) -> None:
        """Have the majority acknowledge the document, by whatever line.

        Raises:
            WriteConcernError: it is there, but not the majority's yet.
        """
        try:
            insert_one(self.collection, self.document)
        except DuplicateKeyError:
            if find_one(self.collection, {"_id": self.document["_id"]}, {"_id": 1}) is None:
                raise WriteConcernError("inserted, but not seen by a majority read") from None


def find_one(
    collection: Collection[Document], query: Mapping[str, Any], projection: Mapping[str, Any] | None = None
) -> Document | None:
    """Return the first document that matches, as pymongo's find_one."""
    reply = None
    if collection.read_preference == ReadPreference.PRIMARY:
        command: Document = {"find": collection.name, "filter": query, "limit": 1, "singleBatch": True}
        if projection is not None:
            command["projection"] = projection
        command["readConcern"] = collection.read_concern.document
        reply = _run(collection, command)
    if reply is None:
        return collection.find_one(query, projection)
    batch: list[Document] = reply["cursor"]["firstBatch"]
    return batch[0] if batch else None


def insert_one(collection: Collection[Document], document: Document) -> None:
    """Insert a document that has its `_id`.

    Raises:
        DuplicateKeyError: it is there already, perhaps by this call: a lost answer makes it ask again.
    """
    command = {"insert": collection.name, "documents": [document], "writeConcern": collection.write_concern.document}
    if _run(collection, command) is None:
        collection.insert_one(document)


def insert_ahead(collection: Collection[Document], document: Document) -> Ahead | None:
    """Insert a document that has its `_id`; the primary alone acknowledges it, and waits for no journal.

    Returns:
        What to give to the write that follows: until that has succeeded nobody may rely on the document.
        None if it is not known to be inserted: it is to be inserted as ever.
    """
    command = {"insert": collection.name, "documents": [document], "writeConcern": {"w": 1}}
    database = collection.database
    done = of_client(database.client).run(database.name, command, collection.codec_options)
    return None if done is None else Ahead(collection, document, done[1])


def find_all(
    collection: Collection[Document], query: Mapping[str, Any], projection: Mapping[str, Any] | None, most: int
) -> list[Document]:
    """Return every document that matches, in one answer: the caller knows that there are `most` at the most.

    What does not fit into one answer of the server (16 MiB) comes the long way.
    """
    reply = None
    if collection.read_preference == ReadPreference.PRIMARY:
        command: Document = {"find": collection.name, "filter": query, "batchSize": most + 1}
        if projection is not None:
            command["projection"] = projection
        command["readConcern"] = collection.read_concern.document
        reply = _run(collection, command)
    if reply is None or reply["cursor"]["id"]:
        if reply is not None:
            _run(collection, {"killCursors": collection.name, "cursors": [reply["cursor"]["id"]]})
        return list(collection.find(query, projection, batch_size=most + 1))
    batch: list[Document] = reply["cursor"]["firstBatch"]
    return batch


def insert_many(collection: Collection[Document], documents: Sequence[Document]) -> None:
    """Insert documents that have their `_id`s, in no order; those that can be are.

    Raises:
        BulkWriteError: some are there already, perhaps by this call: a lost answer makes it ask again.
    """
    command: Document = {"insert": collection.name, "documents": documents, "ordered": False}
    command["writeConcern"] = collection.write_concern.document
    if _run(collection, command) is None:
        collection.insert_many(documents, ordered=False)


def update_each(collection: Collection[Document], updates: Sequence[tuple[Mapping[str, Any], Any]]) -> int:
    """Make each update of the one document that its query matches; return how many matched.

    An update may be made twice: a lost answer makes it ask again.
    """
    command: Document = {"update": collection.name, "ordered": False}
    command["updates"] = [{"q": query, "u": update} for query, update in updates]
    command["writeConcern"] = collection.write_concern.document
    reply = _run(collection, command)
    if reply is None:
        requests = [UpdateOne(query, update) for query, update in updates]
        return collection.bulk_write(requests, ordered=False).matched_count
    return int(reply["n"])


def find_one_and_update(
    collection: Collection[Document],
    query: Mapping[str, Any],
    update: Any,
    projection: Mapping[str, Any],
    after: Ahead | None = None,
) -> Document | None:
    """Update one document and return the fields of `projection` after it; None if none matches.

    The query must not match what the update makes: sent twice, it is carried out once, and the
    second answer is None. The majority that acknowledges the update also has what was inserted `ahead`;
    where the update cannot go by the same line, that is confirmed first.
    """
    command: Document = {"findAndModify": collection.name, "query": query, "update": update, "new": True}
    command["fields"] = projection
    command["writeConcern"] = collection.write_concern.document
    reply = _run(collection, command, after.line if after is not None else None)
    found: Document | None = reply["value"] if reply is not None else None
    if found is None and after is not None:
        after.confirm()
    if reply is None:
        return collection.find_one_and_update(query, update, projection=projection, return_document=True)
    return found


def _run(collection: Collection[Document], command: Document, by: Line | None = None) -> Document | None:
    database = collection.database
    done = of_client(database.client).run(database.name, command, collection.codec_options, by)
    return None if done is None else done[0]
