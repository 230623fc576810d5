"""How much is in the mailboxes of many users at once: for lists and sums, which look across owners."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from bson import ObjectId
from pymongo.database import Database

from mailcore.model.ids import UserId
from mailcore.store import keys
from mailcore.store.client import Document
from mailcore.store.guard import deadline
from mailcore.store.mailbox.head import MOVING, OPEN
from mailcore.store.mailbox.heads import KEY_BYTES
from mailcore.store.owned import OwnedCollection

BATCH: Final = 10_000
SCAN_S: Final = 300.0
_SIZE: Final = {"size_bytes": 1}
_LIVING: Final = {"$in": [OPEN, MOVING]}


class Sizes:
    """Reads the sizes in the heads of a shard."""

    def __init__(self, database: Database[Document]) -> None:
        self._every = OwnedCollection(database["mailboxes"]).across_owners("lists and sums show many users at once")

    def of_users(self, user_ids: Sequence[UserId]) -> dict[UserId, int]:
        """Return the bytes in the mailboxes of each of these users, 0 without any; one round trip, ranges of `_id`."""
        if not user_ids:
            return {}
        ranges = [{"_id": keys.owner_range(user_id.binary, KEY_BYTES)} for user_id in user_ids]
        found = dict.fromkeys(user_ids, 0)
        with deadline():
            for head in self._every.find({"$or": ranges, "state": _LIVING}, _SIZE, batch_size=BATCH):
                found[_owner(head)] += head["size_bytes"]
        return found

    def each(self) -> Iterator[tuple[UserId, int]]:
        """Return the size of every mailbox of the shard with its user; one round trip for each ten thousand."""
        with deadline(SCAN_S):
            for head in self._every.find({"state": _LIVING}, _SIZE, batch_size=BATCH):
                yield _owner(head), head["size_bytes"]


def _owner(head: Document) -> UserId:
    return UserId(ObjectId(bytes(head["_id"])[: keys.OWNER_BYTES]))
