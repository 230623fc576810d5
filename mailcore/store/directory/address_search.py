"""Finding addresses among many, for lists: by part of the address, by tags, by where mail goes on to."""

from __future__ import annotations

from typing import Any

from bson import ObjectId
from pymongo.database import Database

from mailcore.model.address_data import AddressFilter
from mailcore.model.routing import ForwardedAddress
from mailcore.model.tenant import AddressRoute
from mailcore.store.client import Document
from mailcore.store.directory.address_entries import GROUP, RESERVED, TARGETS, read_entry
from mailcore.store.directory.text_match import part, whole
from mailcore.store.guard import deadline
from mailcore.store.owned import OwnedCollection


class AddressSearch:
    """Reads `addresses` in the order of their ids: those of users and forwarded ones; groups are not among them."""

    def __init__(self, directory: Database[Document]) -> None:
        self._collection = OwnedCollection(directory["addresses"], ("user", "tenant"), ObjectId)
        self._every = self._collection.across_owners("the platform lists the addresses of every tenant")

    def find(
        self, wanted: AddressFilter, *, after: ObjectId | None, before: ObjectId | None, limit: int
    ) -> list[AddressRoute | ForwardedAddress]:
        """Return addresses after an id, or before one, the nearest first; one round trip."""
        query = _query(wanted)
        if after is not None:
            query["_id"] = {"$gt": after}
        if before is not None:
            query["_id"] = {"$lt": before}
        with deadline():
            found = self._of(wanted).find(query).sort("_id", 1 if before is None else -1).limit(limit)
            entries = [read_entry(one) for one in found]
        return [one for one in entries if isinstance(one, AddressRoute | ForwardedAddress)]

    def count(self, wanted: AddressFilter) -> int:
        """Return how many there are; one round trip."""
        with deadline():
            return int(self._of(wanted).count_documents(_query(wanted)))

    def _of(self, wanted: AddressFilter) -> Any:
        return self._every if wanted.tenant_id is None else self._collection


def _query(wanted: AddressFilter) -> dict[str, Any]:
    query: dict[str, Any] = {GROUP: {"$exists": False}, RESERVED: {"$exists": False}}
    if wanted.tenant_id is not None:
        query["tenant"] = wanted.tenant_id
    if wanted.address:
        query["display"] = part(wanted.address)
    if wanted.forward:
        query[TARGETS] = part(wanted.forward)
    if wanted.any_tags:
        query["data.tags"] = {"$in": [whole(tag) for tag in wanted.any_tags]}
    if wanted.all_tags:
        query["$and"] = [{"data.tags": whole(tag)} for tag in wanted.all_tags]
    return query
