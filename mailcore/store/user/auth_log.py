"""`auth_log`: sign-ins of each user, grouped, kept for a while on the user's shard.

A row is user ‖ hour ‖ hash of what is grouped (24 bytes), so a user's rows lie in order of time without an index. The
networks a user signed in from are rows of an hour that never comes, after one that says that there was any.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from pymongo import ASCENDING, DESCENDING, UpdateOne
from pymongo.database import Database

from mailcore.model.ids import UserId
from mailcore.store.guard import Document, deadline
from mailcore.store.owned import OwnedCollection

WINDOW_S: Final = 3600
KEY_BYTES: Final = 24
_NETWORKS: Final = b"\xff\xff\xff\xff"
_ANY_NETWORK: Final = _NETWORKS + bytes(8)
_HASH_BYTES: Final = 8


@dataclass(frozen=True, slots=True)
class SignIn:
    """What is grouped: everything that two tries to sign in have in common."""

    protocol: str
    remote_address: str
    result: str
    """"accepted", or why not."""
    credential: str
    """What was offered, "" if that is not known."""


@dataclass(frozen=True, slots=True)
class AuthLogRow:
    """One group of sign-ins within an hour."""

    key: bytes
    sign_in: SignIn
    count: int
    first_at: datetime
    last_at: datetime


@dataclass(frozen=True, slots=True)
class RowFilter:
    """Which rows are meant; empty: all."""

    result: str = ""
    remote_address: str = ""


class AuthLogRows:
    """The authentication log of all users of a shard."""

    def __init__(self, database: Database[Document]) -> None:
        self._collection = OwnedCollection(database["auth_log"])

    def note(
        self,
        rows: Sequence[AuthLogRow],
        kept_for: timedelta,
        seen: Sequence[tuple[UserId, str, datetime]] = (),
        networks_kept_for: timedelta = timedelta(0),
    ) -> list[tuple[UserId, str]]:
        """Count sign-ins up and note from which networks users were in; return those new to who was in from others.

        One round trip for all of them. A user is in `seen` once.
        """
        requests = [_count_up(row, kept_for) for row in rows]
        for user_id, network, at in seen:
            requests += _see(user_id, network, at, networks_kept_for)
        with deadline():
            result = self._collection.bulk_write(requests, ordered=False)
        upserted = set(result.upserted_ids or ())
        places = range(len(rows), len(requests), 2)
        return [
            (user_id, network)
            for place, (user_id, network, _) in zip(places, seen, strict=True)
            if _is_new(place, upserted)
        ]

    def list_of_user(self, user_id: UserId, before: bytes | None, limit: int) -> list[AuthLogRow]:
        """Return a page of a user's log, latest hour first, from right before a row."""
        bounds = _bounds(user_id)
        if before is not None:
            bounds["$lt"] = min(before, bounds["$lt"])
        with deadline():
            found = list(self._collection.find({"_id": bounds}).sort("_id", DESCENDING).limit(limit))
        return [_row(document) for document in found]

    def page_of_user(
        self, user_id: UserId, wanted: RowFilter, edge: bytes | None, limit: int, *, newer: bool
    ) -> list[AuthLogRow]:
        """Return rows older than an edge, latest first, or newer than it, oldest first; one round trip."""
        query = _query(user_id, wanted)
        if edge is not None:
            query["_id"]["$gt" if newer else "$lt"] = (
                max(edge, query["_id"].pop("$gte")) if newer else min(edge, query["_id"]["$lt"])
            )
        with deadline():
            found = self._collection.find(query).sort("_id", ASCENDING if newer else DESCENDING).limit(limit)
            return [_row(document) for document in found]

    def count_of_user(self, user_id: UserId, wanted: RowFilter) -> int:
        """Return how many rows there are; one round trip."""
        with deadline():
            return int(self._collection.count_documents(_query(user_id, wanted)))

    def find(self, user_id: UserId, key: bytes) -> AuthLogRow | None:
        """Return one row of a user."""
        bounds = _bounds(user_id)
        if not bounds["$gte"] <= key < bounds["$lt"]:
            return None
        with deadline():
            found = self._collection.find_one({"_id": key})
        return None if found is None else _row(found)


def _count_up(row: AuthLogRow, kept_for: timedelta) -> UpdateOne:
    return UpdateOne(
        {"_id": row.key},
        {
            "$inc": {"count": row.count},
            "$min": {"first_at": row.first_at},
            "$max": {"last_at": row.last_at, "expires_at": row.last_at + kept_for},
            "$setOnInsert": {
                "protocol": row.sign_in.protocol,
                "remote_address": row.sign_in.remote_address,
                "result": row.sign_in.result,
                "credential": row.sign_in.credential,
            },
        },
        upsert=True,
    )


def _see(user_id: UserId, network: str, at: datetime, kept_for: timedelta) -> list[UpdateOne]:
    """Return what notes a network, then what notes that there was one, for as long as the last of them is kept."""
    kept = {"$max": {"last_at": at, "expires_at": at + kept_for}}
    told = {"$setOnInsert": {"network": network, "first_at": at}}
    return [
        UpdateOne({"_id": _network_key(user_id, network)}, kept | told, upsert=True),
        UpdateOne({"_id": user_id.binary + _ANY_NETWORK}, kept, upsert=True),
    ]


def _is_new(place: int, upserted: Collection[int]) -> bool:
    """Whether a network was not there, but another was, by what was written at its place and the next."""
    return place in upserted and place + 1 not in upserted


def _bounds(user_id: UserId) -> dict[str, bytes]:
    return {"$gte": user_id.binary + bytes(12), "$lt": user_id.binary + _ANY_NETWORK}


def _query(user_id: UserId, wanted: RowFilter) -> dict[str, Any]:
    query: dict[str, Any] = {"_id": _bounds(user_id)}
    if wanted.result:
        query["result"] = str(wanted.result)
    if wanted.remote_address:
        query["remote_address"] = str(wanted.remote_address)
    return query


def row_key(user_id: UserId, sign_in: SignIn, at: datetime) -> bytes:
    """Return the key of the row that a sign-in counts in."""
    parts = (sign_in.protocol, sign_in.remote_address, sign_in.result, sign_in.credential)
    return user_id.binary + struct.pack(">I", int(at.timestamp()) // WINDOW_S) + _hash("\n".join(parts))


def _network_key(user_id: UserId, network: str) -> bytes:
    return user_id.binary + _NETWORKS + _hash(network)


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:_HASH_BYTES]


def _row(document: Document) -> AuthLogRow:
    sign_in = SignIn(document["protocol"], document["remote_address"], document["result"], document["credential"])
    return AuthLogRow(bytes(document["_id"]), sign_in, document["count"], document["first_at"], document["last_at"])
