"""App passwords, which lie in their user's document: a login reads them with it, in no round trip of their own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from bson import ObjectId
from pymongo import UpdateOne
from pymongo.database import Database

from mailcore.model.access import Scope
from mailcore.model.app_password import AppPassword, LastUse
from mailcore.model.ids import UserId
from mailcore.store.client import Document
from mailcore.store.guard import deadline
from mailcore.store.owned import OwnedCollection

FIELD = "app_passwords"


class AppPasswords:
    """The array `app_passwords` of `users`."""

    def __init__(self, directory: Database[Document]) -> None:
        self._collection = OwnedCollection(directory["users"], ("_id", "tenant"), ObjectId)

    def add(self, user_id: UserId, password: AppPassword, limit: int) -> bool:
        """Store one more, unless the user has `limit` already or does not exist; one atomic update."""
        with deadline():
            result = self._collection.update_one(
                {"_id": user_id, f"{FIELD}.{limit - 1}": {"$exists": False}},
                {"$push": {FIELD: _document(password)}},
            )
        return result.modified_count == 1

    def list_of_user(self, user_id: UserId) -> list[AppPassword] | None:
        """Return the user's app passwords, the expired too, in order of creation; None if there is no such user."""
        with deadline():
            document = self._collection.find_one({"_id": user_id}, {FIELD: 1})
        return None if document is None else list(read_app_passwords(document))

    def remove(self, user_id: UserId, password_id: ObjectId) -> bool:
        """Remove one; False if the user has none such."""
        with deadline():
            result = self._collection.update_one({"_id": user_id}, {"$pull": {FIELD: {"id": password_id}}})
        return result.modified_count == 1

    def remove_expired(self, user_id: UserId, now: datetime) -> None:
        """Remove those that open nothing any more."""
        with deadline():
            self._collection.update_one({"_id": user_id}, {"$pull": {FIELD: {"expires_at": {"$lte": now}}}})

    def note_uses(self, uses: Mapping[tuple[UserId, ObjectId], tuple[LastUse, timedelta | None]]) -> None:
        """Note last uses, and move the expiry of those that slide; one round trip for all of them."""
        updates = [
            UpdateOne({"_id": user_id, f"{FIELD}.id": password_id}, {"$set": _use(use, slides)})
            for (user_id, password_id), (use, slides) in uses.items()
        ]
        with deadline():
            self._collection.bulk_write(updates, ordered=False)


def read_app_passwords(document: Document) -> tuple[AppPassword, ...]:
    """Return the app passwords of a user's document."""
    stored: Iterable[Document] = document.get(FIELD, ())
    return tuple(
        AppPassword(
            id=one["id"],
            digest=bytes(one.get("digest", b"")),
            scopes=frozenset(Scope(scope) for scope in one["scopes"]),
            description=one["description"],
            created_at=one["created_at"],
            expires_at=one.get("expires_at"),
            slides=timedelta(seconds=one["slides_s"]) if "slides_s" in one else None,
            last_use=LastUse(*one["last_use"]) if "last_use" in one else None,
        )
        for one in stored
    )


def _document(password: AppPassword) -> Document:
    document: Document = {
        "id": password.id,
        "digest": password.digest,
        "scopes": sorted(scope.value for scope in password.scopes),
        "description": password.description,
        "created_at": password.created_at,
    }
    if password.expires_at is not None:
        document["expires_at"] = password.expires_at
    if password.slides is not None:
        document["slides_s"] = password.slides.total_seconds()
    return document


def _use(use: LastUse, slides: timedelta | None) -> dict[str, Any]:
    fields: dict[str, Any] = {f"{FIELD}.$.last_use": [use.at, use.protocol, use.remote_address]}
    if slides is not None:
        fields[f"{FIELD}.$.expires_at"] = use.at + slides
    return fields
