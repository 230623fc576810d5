"""`site_settings`: what the operator set for the whole site, by name; none of it is a secret."""

from __future__ import annotations

from pymongo.database import Database

from mailcore.store.client import Document
from mailcore.store.guard import deadline


class SiteSettings:
    """One document for each setting that was changed."""

    def __init__(self, directory: Database[Document]) -> None:
        self._collection = directory["site_settings"]

    def read_all(self) -> dict[str, object]:
        """Return every value that was set, by name; one round trip."""
        with deadline():
            return {document["_id"]: document["value"] for document in self._collection.find()}

    def put(self, name: str, value: str | int | bool) -> None:
        """Keep a value."""
        with deadline():
            self._collection.replace_one({"_id": str(name)}, {"value": value}, upsert=True)
