"""Erasure of one user from a shard: everything of a user is one `_id` range in each collection."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from pymongo.database import Database

from mailcore.model.ids import UserId
from mailcore.store import keys
from mailcore.store.guard import Document, deadline
from mailcore.store.message.blob_refs import OwnerKind
from mailcore.store.owned import OwnedCollection

REFERRING: Final[Mapping[str, OwnerKind]] = {
    "messages": OwnerKind.MESSAGE,
    "outbound": OwnerKind.OUTBOUND,
    "files": OwnerKind.FILE,
}
"""Collections whose documents refer to blobs, by `attempt` and `splices`; they come first."""
RANGES: Final[Mapping[str, int]] = {
    "messages": 24,
    "outbound": 24,
    "files": 24,
    "mailboxes": 24,
    "segments": 32,
    "row_blocks": 32,
    "vanished": 36,
    "notes": 28,
    "annotations": 24,
    "message_ids": 20,
    "blocks": 33,
    "purge": 36,
    "spam_reports": 36,
    "filters": 12,
    "correspondents": 24,
    "auth_log": 24,
    "autoreplies": 28,
    "mailbox_trees": 12,
}
"""Bytes of the keys of every collection that belongs to users; the tree of names goes last."""
KEPT: Final[Mapping[str, str]] = {
    "events": "the audit trail and its numbers stay until they expire",
    "streams": "belongs to tenants",
    "suppressions": "belongs to tenants",
    "trace": "belongs to tenants and expires after 30 days",
    "tallies": "belongs to tenants: numbers that name no user, for some days",
    "rollups": "belongs to tenants: numbers that name no user",
    "complaints": "belongs to tenants, which are judged by them, and expires after 400 days",
    "sending_counts": "belongs to tenants, which are judged by them, and goes after nine days",
    "audit_pieces": "an audit's copies stay until the audit expires, whatever becomes of the user",
    "blobs": "belongs to tenants; goes with its last reference",
    "blob_refs": "belongs to tenants; goes with what refers",
}
"""What is not erased with a user, and why."""
PAGE: Final = 500


class Erasure:
    """The ranges of one shard."""

    def __init__(self, hot: Database[Document]) -> None:
        self._collections = {name: OwnedCollection(hot[name]) for name in RANGES}

    def pages(self, name: str, user_id: UserId) -> Iterator[list[Document]]:
        """Yield what refers to blobs of a collection in REFERRING, page by page; each page is gone before the next."""
        query = {"_id": keys.owner_range(user_id.binary, RANGES[name])}
        while True:
            with deadline(30.0):
                fields = {"attempt": 1, "splices": 1}
                page = list(self._collections[name].find(query, fields, sort=[("_id", 1)], limit=PAGE))
            if not page:
                return
            yield page
            with deadline(30.0):
                self._collections[name].delete_many({"_id": {"$in": [document["_id"] for document in page]}})

    def delete(self, name: str, user_id: UserId) -> int:
        """Remove a user's range from a collection; return how many documents went. One round trip."""
        with deadline(600.0):
            found = self._collections[name].delete_many({"_id": keys.owner_range(user_id.binary, RANGES[name])})
        return int(found.deleted_count)

    def waits_to_be_sent(self, user_id: UserId) -> bool:
        """Whether mail that was taken from a user is still on its way."""
        query = {"_id": keys.owner_range(user_id.binary, RANGES["outbound"]), "next_at": {"$exists": True}}
        with deadline():
            return self._collections["outbound"].find_one(query, {"_id": 1}) is not None
