"""`correspondents`: whom a user has written to, one document each, so that a client can complete addresses."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from bson import ObjectId
from pymongo import UpdateOne
from pymongo.database import Database

from mailcore.model.ids import UserId
from mailcore.store import keys
from mailcore.store.directory.text_match import part
from mailcore.store.guard import Document, deadline
from mailcore.store.owned import OwnedCollection

KEY_BYTES: Final = 24
KEPT_FOR: Final = timedelta(days=730)
"""Whom nobody has written to for so long is forgotten."""


@dataclass(frozen=True, slots=True)
class Correspondent:
    """Somebody a user has written to."""

    id: ObjectId
    name: str
    address: str


class Correspondents:
    """The people of all users of a shard."""

    def __init__(self, hot: Database[Document]) -> None:
        self._collection = OwnedCollection(hot["correspondents"])

    def note(self, user_id: UserId, people: Mapping[str, str], at: datetime) -> None:
        """Note that a user wrote to people, names by addresses; a name that is known stays where none is given.

        One round trip. What the user changed or hid stays so.
        """
        requests = []
        for address, name in people.items():
            set_: Document = {"used_at": at, "expires_at": at + KEPT_FOR}
            seen: Document = {"$set": set_, "$setOnInsert": {"address": address}}
            seen["$set" if name else "$setOnInsert"]["name"] = name
            requests.append(UpdateOne({"_id": _key(user_id, address)}, seen, upsert=True))
        with deadline():
            self._collection.bulk_write(requests, ordered=False)

    def find(self, user_id: UserId, text: str, limit: int) -> list[Correspondent]:
        """Return whose name or address has a text in it, those written to last first; one round trip."""
        query: Document = {
            "_id": keys.owner_range(user_id.binary, KEY_BYTES),
            "is_hidden": {"$exists": False},
            "$or": [{"address": part(text)}, {"name": part(text)}, {"own_name": part(text)}],
        }
        with deadline():
            return [_read(one) for one in self._collection.find(query).sort("used_at", -1).limit(limit)]

    def change(self, user_id: UserId, person: ObjectId, *, hidden: bool, name: str | None) -> bool:
        """Hide somebody, or show again, under a name of the user's choice; False if there is none such."""
        update: Document = {"$set": {"is_hidden": True}} if hidden else {"$unset": {"is_hidden": ""}}
        if name is not None:
            update.setdefault("$set", {})["own_name"] = name
        with deadline():
            return self._collection.update_one({"_id": user_id.binary + person.binary}, update).matched_count == 1


def _key(user_id: UserId, address: str) -> bytes:
    return user_id.binary + hashlib.sha256(address.casefold().encode("utf-8", "surrogatepass")).digest()[:12]


def _read(document: Document) -> Correspondent:
    name = document.get("own_name") or document.get("name", "")
    return Correspondent(ObjectId(document["_id"][keys.OWNER_BYTES :]), name, document["address"])
