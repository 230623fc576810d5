"""Which mailboxes of a shard changed, and their logs: what the sequencer of events looks at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from pymongo.change_stream import ChangeStream
from pymongo.database import Database

from mailcore.store.guard import Document, deadline
from mailcore.store.owned import OwnedCollection

_LOG: Final = {"log": 1, "log_base_modseq": 1, "log_base_uid": 1}


@dataclass(frozen=True, slots=True)
class LogSlice:
    """A head's log, and where it begins."""

    base_modseq: int
    base_uid: int
    entries: tuple[bytes, ...]


class HeadChanges:
    """The heads of all users of a shard, by key (user ‖ mailbox)."""

    def __init__(self, database: Database[Document]) -> None:
        self._collection = OwnedCollection(database["mailboxes"])
        self._all = self._collection.across_owners("the sequencer follows every mailbox")

    def logs(self, head_keys: Sequence[bytes]) -> dict[bytes, LogSlice]:
        """Return the logs of mailboxes: one read; those without a head are missing."""
        if not head_keys:
            return {}
        with deadline(30):
            found = list(self._collection.find({"_id": {"$in": list(head_keys)}}, _LOG, batch_size=len(head_keys) + 1))
        return {
            bytes(head["_id"]): LogSlice(head["log_base_modseq"], head["log_base_uid"], tuple(head["log"]))
            for head in found
        }

    def watch(self, resume_token: Document | None, wait_ms: int) -> ChangeStream[Document]:
        """Return the change stream of all heads: each change names a head, and nothing of its content.

        Raises:
            PyMongoError: the token is too old, or the set does not answer.
        """
        return self._all.watch([{"$project": {"documentKey": 1}}], resume_after=resume_token, max_await_time_ms=wait_ms)

    def each_modseq(self) -> Iterator[tuple[bytes, int]]:
        """Yield the key and HIGHESTMODSEQ of every head."""
        with deadline(3600):
            for head in self._all.find({}, {"highest_modseq": 1}, batch_size=5000):
                yield bytes(head["_id"]), head["highest_modseq"]
