"""Sealed fields of the directory, wherever they are: read for rotation, replaced by compare-and-set."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pymongo.database import Database

from mailcore.store.client import Document
from mailcore.store.guard import deadline


@dataclass(frozen=True, slots=True)
class SealedValue:
    """One sealed value, and the document it is in (the fields that its purpose is made of)."""

    owner: Document
    sealed: bytes


class SealedFields:
    """Fields by collection and dotted path."""

    def __init__(self, directory: Database[Document]) -> None:
        self._database = directory

    def each(self, collection: str, path: str, purpose_field: str) -> Iterator[SealedValue]:
        """Yield every value of a field, with `_id` and the field its purpose names."""
        projection = {path: 1, purpose_field: 1}
        with deadline(3600):
            for document in self._database[collection].find({path: {"$type": "binData"}}, projection, batch_size=500):
                yield SealedValue(document, bytes(_at(document, path)))

    def replace(self, collection: str, path: str, value: SealedValue, sealed: bytes) -> bool:
        """Put another sealing in place of a value; False if somebody changed it meanwhile."""
        query = {"_id": value.owner["_id"], path: value.sealed}
        with deadline():
            result = self._database[collection].update_one(query, {"$set": {path: sealed}})
        return result.matched_count == 1


def _at(document: Document, path: str) -> Any:
    value: Any = document
    for name in path.split("."):
        value = value[name]
    return value
