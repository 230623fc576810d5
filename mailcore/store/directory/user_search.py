"""Finding users among many, for lists: by part of an address, by tags, by where their mail is sent on to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bson import ObjectId
from pymongo.database import Database

from mailcore.model.ids import UserId
from mailcore.model.tenant import User
from mailcore.model.user_filter import UserFilter
from mailcore.store.client import Document
from mailcore.store.directory.text_match import part, whole
from mailcore.store.directory.users import WITHOUT_PASSWORD, read_user
from mailcore.store.guard import deadline
from mailcore.store.owned import OwnedCollection


class UserSearch:
    """Reads `users` in the order of their ids."""

    def __init__(self, directory: Database[Document]) -> None:
        self._collection = OwnedCollection(directory["users"], ("_id", "tenant"), ObjectId)
        self._every = self._collection.across_owners("the platform lists the users of every tenant")

    def find(self, wanted: UserFilter, *, after: UserId | None, before: UserId | None, limit: int) -> list[User]:
        """Return users after an id, or before one, the nearest first; one round trip."""
        query = _query(wanted)
        if after is not None:
            query["_id"] = {"$gt": after}
        if before is not None:
            query["_id"] = {"$lt": before}
        with deadline():
            found = self._of(wanted).find(query, WITHOUT_PASSWORD)
            return [read_user(one) for one in found.sort("_id", 1 if before is None else -1).limit(limit)]

    def count(self, wanted: UserFilter) -> int:
        """Return how many there are; one round trip."""
        with deadline():
            return int(self._of(wanted).count_documents(_query(wanted)))

    def passwords_set(self, user_ids: Sequence[UserId]) -> set[UserId]:
        """Return which of these users have a password; one round trip."""
        with deadline():
            found = self._collection.find({"_id": {"$in": list(user_ids)}, "password": {"$ne": None}}, {"_id": 1})
            return {UserId(one["_id"]) for one in found}

    def _of(self, wanted: UserFilter) -> Any:
        return self._every if wanted.tenant_id is None else self._collection


def _query(wanted: UserFilter) -> dict[str, Any]:
    query: dict[str, Any] = {}
    if wanted.tenant_id is not None:
        query["tenant"] = wanted.tenant_id
    if wanted.address and wanted.name_too:
        query["$or"] = [{"address": part(wanted.address)}, {"name": part(wanted.address)}]
    elif wanted.address:
        query["address"] = part(wanted.address)
    if wanted.is_shared is not None:
        query["is_shared"] = True if wanted.is_shared else {"$ne": True}
    if wanted.forward:
        query["settings.targets"] = part(wanted.forward)
    if wanted.any_tags:
        query["settings.tags"] = {"$in": [whole(tag) for tag in wanted.any_tags]}
    if wanted.all_tags:
        query["$and"] = [{"settings.tags": whole(tag)} for tag in wanted.all_tags]
    return query
