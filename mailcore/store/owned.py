"""The third guard of every database call: the owner is in the filter, and no operator inside a value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bson import ObjectId
from pymongo import InsertOne, ReplaceOne
from pymongo.collection import Collection
from pymongo.cursor import Cursor
from pymongo.results import BulkWriteResult, DeleteResult, InsertManyResult, InsertOneResult, UpdateResult

from mailcore.store import direct
from mailcore.store.guard import Document, guarded
from mailcore.store.keys import OWNER_BYTES

Filter = Mapping[str, Any]
Update = Mapping[str, Any] | Sequence[Mapping[str, Any]]
_GUARD = guarded()


class UnownedQuery(RuntimeError):
    """A query does not say whose data it is about: a fault of the program, never of a client."""


class OperatorInValue(RuntimeError):
    """A value holds a key that MongoDB would take for an operator: somebody's input was not checked."""


_FILTER_OPERATORS = frozenset(
    {"$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$in", "$nin", "$exists", "$size", "$all", "$elemMatch", "$not",
     "$bitsAllClear", "$bitsAllSet", "$bitsAnyClear", "$bitsAnySet"}
)  # fmt: skip
_JOINS = frozenset({"$or", "$and", "$nor"})
_UPDATE_OPERATORS = frozenset(
    {"$set", "$unset", "$inc", "$push", "$pull", "$pullAll", "$addToSet", "$max", "$min", "$mul", "$setOnInsert",
     "$currentDate", "$bit", "$pop", "$rename"}
)  # fmt: skip
_UPDATE_MODIFIERS = {
    "$push": frozenset({"$each", "$slice", "$position", "$sort"}),
    "$addToSet": frozenset({"$each"}),
    "$pull": _FILTER_OPERATORS,
    "$currentDate": frozenset({"$type"}),
}
_LEAVING = frozenset({"$lookup", "$graphLookup", "$unionWith", "$out", "$merge"})
_NO_MODIFIERS: frozenset[str] = frozenset()
_SCALARS = frozenset({bytes, str, int, ObjectId})
"""Most values are one of these; whether something is a Mapping takes longer to find out."""


class OwnedCollection:
    """A collection that takes no query without its owner, and no operator inside a value.

    The owner field must be bound to one key, to the range of one owner, or to a list of keys.
    Ranges begin and end with the same owner. What must look across owners (collectors, sweeps)
    says so by `across_owners`.
    """

    __slots__ = ("_collection", "_owner_fields", "_owner_type")

    def __init__(
        self,
        collection: Collection[Document],
        owner_field: str | tuple[str, ...] = "_id",
        owner_type: type[bytes | ObjectId] = bytes,
    ) -> None:
        self._collection = collection
        self._owner_fields = (owner_field,) if isinstance(owner_field, str) else owner_field
        self._owner_type = owner_type

    @property
    def name(self) -> str:
        """The collection's name."""
        return self._collection.name

    def across_owners(self, reason: str) -> Collection[Document]:
        """Return the bare collection, for work that concerns every owner; `reason` says why, for the reader."""
        if not reason:
            raise UnownedQuery(self.name)
        return self._collection

    def with_options(self, **options: Any) -> OwnedCollection:
        """Return the same collection with other options (a local read that only feeds a compare-and-set)."""
        return OwnedCollection(self._collection.with_options(**options), self._owner_fields, self._owner_type)

    def find(self, query: Filter, *args: Any, **options: Any) -> Cursor[Document]:
        """As pymongo; iterate it within `deadline` or `guarded`."""
        self._check_filter(query)
        return self._collection.find(query, *args, **options)

    def find_one(self, query: Filter, projection: Mapping[str, Any] | None = None, **options: Any) -> Document | None:
        """As pymongo; the short way where there are no options."""
        self._check_filter(query)
        with _GUARD:
            if not options:
                return direct.find_one(self._collection, query, projection)
            return self._collection.find_one(query, projection, **options)

    def count_documents(self, query: Filter, **options: Any) -> int:
        """As pymongo."""
        self._check_filter(query)
        with _GUARD:
            return self._collection.count_documents(query, **options)

    def find_one_and_update(self, query: Filter, update: Update, **options: Any) -> Document | None:
        """As pymongo."""
        self._check_filter(query)
        _check_update(update)
        with _GUARD:
            return self._collection.find_one_and_update(query, update, **options)

    def commit_one(
        self, query: Filter, update: Update, projection: Mapping[str, Any], after: direct.Ahead | None = None
    ) -> Document | None:
        """Update one document the short way; return it as it is then, None if none matches.

        It may be sent twice: the query must not match what the update makes, and a caller that is
        answered None looks whether an earlier sending did it. What was stored `ahead` is the majority's too then.
        """
        self._check_filter(query)
        _check_update(update)
        with _GUARD:
            return direct.find_one_and_update(self._collection, query, update, projection, after)

    def find_one_and_replace(self, query: Filter, document: Document, **options: Any) -> Document | None:
        """As pymongo."""
        self._check_filter(query)
        _check_value(document)
        with _GUARD:
            return self._collection.find_one_and_replace(query, document, **options)

    def find_one_and_delete(self, query: Filter, **options: Any) -> Document | None:
        """As pymongo."""
        self._check_filter(query)
        with _GUARD:
            return self._collection.find_one_and_delete(query, **options)

    def update_one(self, query: Filter, update: Update, **options: Any) -> UpdateResult:
        """As pymongo."""
        self._check_filter(query)
        _check_update(update)
        with _GUARD:
            return self._collection.update_one(query, update, **options)

    def update_many(self, query: Filter, update: Update, **options: Any) -> UpdateResult:
        """As pymongo."""
        self._check_filter(query)
        _check_update(update)
        with _GUARD:
            return self._collection.update_many(query, update, **options)

    def replace_one(self, query: Filter, document: Document, **options: Any) -> UpdateResult:
        """As pymongo."""
        self._check_filter(query)
        _check_value(document)
        with _GUARD:
            return self._collection.replace_one(query, document, **options)

    def delete_one(self, query: Filter, **options: Any) -> DeleteResult:
        """As pymongo."""
        self._check_filter(query)
        with _GUARD:
            return self._collection.delete_one(query, **options)

    def delete_many(self, query: Filter, **options: Any) -> DeleteResult:
        """As pymongo."""
        self._check_filter(query)
        with _GUARD:
            return self._collection.delete_many(query, **options)

    def insert_one(self, document: Document, **options: Any) -> InsertOneResult:
        """As pymongo; the document names its owner."""
        self._check_document(document)
        with _GUARD:
            return self._collection.insert_one(document, **options)

    def store_one(self, document: Document) -> None:
        """Insert a document the short way; sent twice after a lost answer, it is a duplicate of itself.

        Raises:
            DuplicateKeyError: its `_id` is there.
        """
        self._check_document(document)
        with _GUARD:
            direct.insert_one(self._collection, document)

    def store_ahead(self, document: Document) -> direct.Ahead | None:
        """Insert a document on the primary, to be followed by a `commit_one` that names it; None: not known to be."""
        self._check_document(document)
        with _GUARD:
            return direct.insert_ahead(self._collection, document)

    def find_all(self, query: Filter, projection: Mapping[str, Any] | None = None, *, most: int) -> list[Document]:
        """Return all that match, `most` at the most, the short way."""
        self._check_filter(query)
        with _GUARD:
            return direct.find_all(self._collection, query, projection, most)

    def store_many(self, documents: Sequence[Document]) -> None:
        """Insert documents the short way, in no order; after a lost answer they are duplicates of themselves.

        Raises:
            BulkWriteError: some `_id`s are there; the others are stored.
        """
        for document in documents:
            self._check_document(document)
        with _GUARD:
            direct.insert_many(self._collection, documents)

    def update_each(self, updates: Sequence[tuple[Filter, Update]]) -> int:
        """Make updates of one document each the short way, some perhaps twice; return how many matched."""
        for query, update in updates:
            self._check_filter(query)
            _check_update(update)
        with _GUARD:
            return direct.update_each(self._collection, updates)

    def insert_many(self, documents: Sequence[Document], **options: Any) -> InsertManyResult:
        """As pymongo; every document names its owner."""
        for document in documents:
            self._check_document(document)
        with _GUARD:
            return self._collection.insert_many(documents, **options)

    def bulk_write(self, requests: Sequence[Any], **options: Any) -> BulkWriteResult:
        """As pymongo; every request names its owner."""
        for request in requests:
            content = getattr(request, "_doc", None)  # pymongo names no public way to look at a request
            if isinstance(request, InsertOne):
                self._check_document(content)
                continue
            self._check_filter(getattr(request, "_filter", {}))
            if isinstance(request, ReplaceOne):
                _check_value(content)
            elif content is not None:
                _check_update(content)
        with _GUARD:
            return self._collection.bulk_write(requests, **options)

    def aggregate(self, pipeline: Sequence[Mapping[str, Any]], **options: Any) -> Any:
        """As pymongo; the first stage is a $match that names the owner, and none leaves the collection."""
        if not pipeline or "$match" not in pipeline[0]:
            raise UnownedQuery(self.name)
        self._check_filter(pipeline[0]["$match"])
        if any(not _LEAVING.isdisjoint(stage) for stage in pipeline):
            raise UnownedQuery(self.name)
        with _GUARD:
            return self._collection.aggregate(list(pipeline), **options)

    def _check_document(self, document: Any) -> None:
        if not any(self._is_owner(document.get(field)) for field in self._owner_fields):
            raise UnownedQuery(self.name)
        _check_value(document)

    def _check_filter(self, query: Filter) -> None:
        if not isinstance(query, Mapping) or not any(self._is_bound(query.get(name)) for name in self._owner_fields):
            raise UnownedQuery(self.name)
        _check_conditions(query)

    def _is_owner(self, value: object) -> bool:
        if self._owner_type is bytes:
            return isinstance(value, bytes) and len(value) >= OWNER_BYTES
        return isinstance(value, self._owner_type)

    def _is_bound(self, bound: object) -> bool:
        """Return whether a condition on the owner field confines the query to named owners."""
        if type(bound) in _SCALARS or not isinstance(bound, Mapping):
            return self._is_owner(bound)
        if "$in" in bound:
            keys = bound["$in"]
            return isinstance(keys, list) and bool(keys) and all(self._is_owner(key) for key in keys)
        low = bound.get("$gte", bound.get("$gt"))
        high = bound.get("$lte", bound.get("$lt"))
        return (
            isinstance(low, bytes)
            and isinstance(high, bytes)
            and self._is_owner(low)
            and low[:OWNER_BYTES] == high[:OWNER_BYTES]
        )


def _check_conditions(query: Filter) -> None:
    for name, condition in query.items():
        if name in _JOINS:
            for part in condition:
                _check_conditions(part)
        elif name.startswith("$"):
            raise OperatorInValue(name)
        elif type(condition) not in _SCALARS and isinstance(condition, Mapping):
            _check_condition(condition)


def _check_condition(condition: Mapping[str, Any]) -> None:
    for name, operand in condition.items():
        if not name.startswith("$"):
            _check_value(operand)
        elif name not in _FILTER_OPERATORS:
            raise OperatorInValue(name)
        elif name in {"$elemMatch", "$not"} and isinstance(operand, Mapping):
            if name == "$not" or any(key.startswith("$") for key in operand):
                _check_condition(operand)
            else:
                _check_conditions(operand)
        else:
            _check_value(operand)


def _check_update(update: Update) -> None:
    if not isinstance(update, Mapping):
        return  # a pipeline is code of ours throughout; its literals are the caller's to check
    for operator, changes in update.items():
        if operator not in _UPDATE_OPERATORS:
            raise OperatorInValue(operator)
        modifiers = _UPDATE_MODIFIERS.get(operator, _NO_MODIFIERS)
        for value in changes.values():
            if operator == "$pull" and isinstance(value, Mapping) and not any(name.startswith("$") for name in value):
                _check_conditions(value)
            elif modifiers and isinstance(value, Mapping):
                for name, operand in value.items():
                    if name.startswith("$") and name not in modifiers:
                        raise OperatorInValue(name)
                    _check_value(operand)
            elif isinstance(value, (dict, list)):
                _check_value(value)


def _check_value(value: object) -> None:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            if isinstance(name, str) and name.startswith("$"):
                raise OperatorInValue(name)
            if isinstance(inner, (dict, list)):
                _check_value(inner)
    elif isinstance(value, list):
        for inner in value:
            if isinstance(inner, (dict, list)):
                _check_value(inner)
