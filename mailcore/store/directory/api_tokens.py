"""`api_tokens`: bearer tokens by the hash of their value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from bson import ObjectId
from pymongo import UpdateOne
from pymongo.database import Database

from mailcore.model.app_password import LastUse
from mailcore.model.ids import TenantId, UserId
from mailcore.model.roles import Role
from mailcore.model.token import Token, TokenOwner, TokenScope
from mailcore.store import direct
from mailcore.store.client import Document
from mailcore.store.guard import deadline

PAGE = 1000


class ApiTokens:
    """One document for each token; the token itself establishes its owner."""

    def __init__(self, directory: Database[Document]) -> None:
        self._collection = directory["api_tokens"]

    def insert(self, token: Token, digest: bytes) -> None:
        """Store a new token."""
        with deadline():
            self._collection.insert_one(_document(token, digest))

    def find(self, digest: bytes) -> Token | None:
        """Return the token with that hash, the expired too, or None; one round trip."""
        with deadline():
            document = direct.find_one(self._collection, {"digest": bytes(digest)}, {"digest": 0})
        return None if document is None else _token(document)

    def list_of(self, owner: TokenOwner, after: ObjectId | None = None) -> list[Token]:
        """Return a page of an owner's tokens by id, those after `after`."""
        query = _owner(owner)
        if after is not None:
            query["_id"] = {"$gt": after}
        with deadline():
            return [_token(found) for found in self._collection.find(query, {"digest": 0}).sort("_id", 1).limit(PAGE)]

    def delete(self, owner: TokenOwner, token_id: ObjectId) -> bool:
        """Remove an owner's token; False if it has none such."""
        with deadline():
            return self._collection.delete_one({"_id": token_id, **_owner(owner)}).deleted_count == 1

    def delete_of_user(self, user_id: UserId) -> None:
        """Remove every token of a user."""
        with deadline():
            self._collection.delete_many({"scope": TokenScope.USER.value, "user": user_id})

    def alive(self, ids: Sequence[ObjectId], now: datetime) -> set[ObjectId]:
        """Return which of these tokens are still there and have not expired; one round trip."""
        query = {"_id": {"$in": list(ids)}, "$or": [{"expires_at": None}, {"expires_at": {"$gt": now}}]}
        with deadline():
            return {found["_id"] for found in self._collection.find(query, {"_id": 1})}

    def note_uses(self, uses: Mapping[ObjectId, tuple[LastUse, datetime | None]]) -> None:
        """Note last uses, and the new expiry of those that slide; one round trip for all of them."""
        with deadline():
            self._collection.bulk_write([_use(*item) for item in uses.items()], ordered=False)


def _use(token_id: ObjectId, use: tuple[LastUse, datetime | None]) -> UpdateOne:
    last, expires_at = use
    fields: dict[str, Any] = {"last_use": [last.at, last.protocol, last.remote_address], "expires_at": expires_at}
    return UpdateOne({"_id": token_id}, {"$set": fields})


def _owner(owner: TokenOwner) -> dict[str, Any]:
    return {"scope": owner.scope.value, "tenant": owner.tenant_id, "user": owner.user_id}


def _document(token: Token, digest: bytes) -> Document:
    return {
        "_id": token.id,
        "digest": digest,
        **_owner(token.owner),
        "role": token.role.value,
        "description": token.description,
        "created_at": token.created_at,
        "expires_at": token.expires_at,
        "ends_at": token.ends_at,
        "slides_s": token.slides.total_seconds() if token.slides is not None else None,
        "auth_version": token.auth_version,
        **({"made_by": token.made_by} if token.made_by else {}),
        **({"change_first": True} if token.change_first else {}),
    }


def _token(document: Document) -> Token:
    tenant_id, user_id = document["tenant"], document["user"]
    return Token(
        id=document["_id"],
        owner=TokenOwner(
            TokenScope(document["scope"]),
            TenantId(tenant_id) if tenant_id is not None else None,
            UserId(user_id) if user_id is not None else None,
        ),
        role=Role(document["role"]),
        description=document["description"],
        created_at=document["created_at"],
        expires_at=document["expires_at"],
        ends_at=document["ends_at"],
        slides=timedelta(seconds=document["slides_s"]) if document["slides_s"] is not None else None,
        auth_version=document["auth_version"],
        made_by=document.get("made_by", ""),
        change_first=document.get("change_first", False),
        last_use=LastUse(*document["last_use"]) if "last_use" in document else None,
    )
