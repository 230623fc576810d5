"""Heads: one document for each mailbox, with its counters and the short log of its latest changes.

Every change of a mailbox is one atomic update of its head. An entry's place in the log is its
MODSEQ, counted from `log_base_modseq`; UIDs count from `log_base_uid` through the appended rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from bson import ObjectId
from pymongo.database import Database
from pymongo.errors import BulkWriteError, DuplicateKeyError

from mailcore import fault
from mailcore.errors import MailboxChanged, MailboxExists
from mailcore.model.changes import Commit
from mailcore.model.ids import MailboxId, ModSeq, Uid, UidValidity, UserId
from mailcore.model.limits import DEFAULT_LIMITS
from mailcore.model.mailbox import MailboxStatus
from mailcore.model.uid_set import MAX_NUMBER
from mailcore.store import keys
from mailcore.store.direct import Ahead
from mailcore.store.guard import Document, deadline
from mailcore.store.mailbox.head import (
    DELETED,
    MOVING,
    NO_CONDITIONS,
    OPEN,
    Committed,
    Conditions,
    Counters,
    Head,
    HeadState,
    NoMatch,
    Swap,
    head_from,
    new_head,
    pack_first_uids,
    state_from,
    status_from,
)
from mailcore.store.mailbox.log_entry import LogEntry, Op, encode_entry
from mailcore.store.mailbox.segments import pack_table
from mailcore.store.owned import OwnedCollection

KEY_BYTES: Final = 24

_COUNTERS: Final = (
    "state", "uid_validity", "uid_next", "highest_modseq", "flag_sequence", "exists", "unseen", "size_bytes",
    "log_base_modseq", "log_bytes", "generation", "collection_epoch",
)  # fmt: skip
_COMMITTED: Final = dict.fromkeys(_COUNTERS, 1) | {"_id": 0}
_REFRESHED: Final = dict.fromkeys((*_COUNTERS, "keywords"), 1) | {"_id": 0}
_LOGGED: Final = dict.fromkeys((*_COUNTERS, "keywords", "log", "log_base_uid"), 1) | {"_id": 0}
_WHOLE: Final = dict.fromkeys(
    (*_COUNTERS, "keywords", "segments", "log", "log_base_uid", "recent_keys", "folded_uids", "old_segments",
     "vanished_floor", "name"), 1,
) | {"_id": 0, "now": "$$NOW"}  # fmt: skip
_STATUS: Final = dict.fromkeys(
    ("state", "exists", "unseen", "size_bytes", "uid_next", "uid_validity", "highest_modseq"), 1
)
_ALL: Final = 1_000_000


class Heads:
    """Heads of all mailboxes of a shard."""

    def __init__(self, database: Database[Document]) -> None:
        self._collection = OwnedCollection(database["mailboxes"])

    # -- life -----------------------------------------------------------------------------------

    def create(self, user_id: UserId, validities: Mapping[MailboxId, UidValidity]) -> None:
        """Add empty mailboxes, each with its UIDVALIDITY.

        Raises:
            MailboxExists: one of the ids is taken; those before it are made.
        """
        try:
            with deadline():
                self._collection.insert_many([new_head(user_id, *each) for each in validities.items()])
        except BulkWriteError:
            raise MailboxExists(user_id) from None

    def discard_empty(self, user_id: UserId, mailbox_id: MailboxId) -> bool:
        """Remove a head that never had a change: one that never got into its user's tree."""
        with deadline():
            result = self._collection.delete_one({"_id": keys.mailbox_key(user_id, mailbox_id), "highest_modseq": 0})
        return bool(result.deleted_count)

    def discard_deleted(self, user_id: UserId, mailbox_id: MailboxId) -> bool:
        """Remove the head of a deleted mailbox whose log is folded and whose segments are gone."""
        with deadline():
            result = self._collection.delete_one(
                {
                    "_id": keys.mailbox_key(user_id, mailbox_id),
                    "state": DELETED,
                    "log": {"$size": 0},
                    "old_segments": {"$size": 0},
                }
            )
        return bool(result.deleted_count)

    def delete(self, user_id: UserId, mailbox_id: MailboxId, entry: LogEntry, name: str) -> ModSeq | None:
        """Close a mailbox for good and clear it: the fold puts its rows into `purge`.

        Returns the MODSEQ of that, None if it was not open: a second call changes nothing.
        """
        encoded = encode_entry(entry)
        with deadline():
            after = self._collection.find_one_and_update(
                {"_id": keys.mailbox_key(user_id, mailbox_id), "state": {"$in": [OPEN, MOVING]}},
                {
                    "$set": {"state": DELETED, "name": name, "exists": 0, "unseen": 0, "size_bytes": 0},
                    "$push": _pushed(encoded, entry.key),
                    "$inc": {"highest_modseq": 1, "flag_sequence": 1, "log_bytes": len(encoded)},
                },
                projection={"highest_modseq": 1},
                return_document=True,
            )
        return ModSeq(after["highest_modseq"]) if after is not None else None

    # -- commit ---------------------------------------------------------------------------------

    def commit(
        self,
        user_id: UserId,
        mailbox_id: MailboxId,
        entry: LogEntry,
        changes: Counters,
        conditions: Conditions = NO_CONDITIONS,
        after: Ahead | None = None,
    ) -> Committed:
        """Change a mailbox: one atomic update, one round trip.

        Without conditions it never conflicts with other writers. Sent twice it commits once: the
        entry's key is in the filter and in the update. Messages must be stored before (majority), but
        for the one that was stored `ahead`.

        Raises:
            NoMatch: deleted, moving, log full, no UIDs left, or a condition unmet.
            StoreUnavailable: outcome unknown; send it again as it is.
        """
        encoded = encode_entry(entry)
        query: dict[str, Any] = {
            "_id": keys.mailbox_key(user_id, mailbox_id),
            "state": OPEN,
            "recent_keys": {"$ne": entry.key},
            "log_bytes": {"$lt": DEFAULT_LIMITS.log_bytes},
        }
        if conditions.flag_sequence is not None:
            query["flag_sequence"] = conditions.flag_sequence
        if conditions.highest_modseq is not None:
            query["highest_modseq"] = conditions.highest_modseq
        if conditions.collection_epoch is not None:
            query["collection_epoch"] = conditions.collection_epoch
        increments = {"highest_modseq": 1, "log_bytes": len(encoded)}
        if entry.changes_flags:
            increments["flag_sequence"] = 1
        if changes.exists:
            increments["exists"] = changes.exists
        if changes.unseen:
            increments["unseen"] = changes.unseen
        if changes.size_bytes:
            increments["size_bytes"] = changes.size_bytes
        if changes.uid_next:
            increments["uid_next"] = changes.uid_next
            query["uid_next"] = {"$lte": MAX_NUMBER - changes.uid_next}
        fault.hit("expunge.before_push" if entry.op is Op.EXPUNGE else "commit.before_push")
        with deadline():
            found = self._collection.commit_one(
                query, {"$push": _pushed(encoded, entry.key), "$inc": increments}, _COMMITTED, after
            )
        fault.hit("commit.after_push")
        if found is None:
            return self._explain(user_id, mailbox_id, entry.key)
        state = state_from(found)
        return Committed(
            Commit(
                ModSeq(state.highest_modseq),
                Uid(state.uid_next - changes.uid_next),
                state.uid_validity,
                ModSeq(state.highest_modseq),
            ),
            state,
            encoded,
        )

    def _explain(self, user_id: UserId, mailbox_id: MailboxId, key: bytes) -> Committed:
        head = self.read(user_id, mailbox_id)
        if head is not None:
            commit = head.find_commit(key)
            if commit is not None:
                return Committed(commit, head.state, None)
        raise NoMatch(head)

    def add_keywords(
        self, user_id: UserId, mailbox_id: MailboxId, known: int, names: Sequence[str]
    ) -> tuple[str, ...] | None:
        """Append keywords if the list still has `known` entries; return the list, None if it had others."""
        with deadline():
            after = self._collection.find_one_and_update(
                {"_id": keys.mailbox_key(user_id, mailbox_id), "state": OPEN, "keywords": {"$size": known}},
                {"$push": {"keywords": {"$each": list(names)}}},
                projection={"keywords": 1},
                return_document=True,
            )
        return tuple(after["keywords"]) if after is not None else None

    def swap(self, user_id: UserId, mailbox_id: MailboxId, swap: Swap) -> bool:
        """Put folded segments in place of log entries, unless another fold was faster."""
        old: dict[str, Any] = {
            "$filter": {"input": "$old_segments", "cond": {"$gte": ["$$this.at", swap.keep_replaced_since]}}
        }
        if swap.replaced:
            old = {"$concatArrays": [old, [{"at": "$$NOW", "keys": list(swap.replaced)}]]}
        with deadline():
            result = self._collection.update_one(
                {"_id": keys.mailbox_key(user_id, mailbox_id), "generation": swap.generation},
                [
                    {
                        "$set": {
                            "log": {"$slice": ["$log", swap.entries, _ALL]},
                            "log_bytes": {"$subtract": ["$log_bytes", swap.entry_bytes]},
                            "log_base_modseq": {"$add": ["$log_base_modseq", swap.entries]},
                            "log_base_uid": swap.log_base_uid,
                            "segments": pack_table(swap.segments),
                            "folded_uids": pack_first_uids(swap.folded_uids),
                            "generation": swap.generation + 1,
                            "vanished_floor": swap.vanished_floor,
                            "old_segments": old,
                        }
                    }
                ],
            )
        return bool(result.matched_count)

    # -- read -----------------------------------------------------------------------------------

    def read(self, user_id: UserId, mailbox_id: MailboxId) -> Head | None:
        """Return a head whole, None if there is none."""
        with deadline():
            found = self._collection.find_one({"_id": keys.mailbox_key(user_id, mailbox_id)}, _WHOLE)
        return head_from(found) if found is not None else None

    def refresh(self, user_id: UserId, mailbox_id: MailboxId, modseq: int, log_base_modseq: int) -> HeadState | None:
        """Return the counters and the log entries after `modseq`: one small read.

        `log_base_modseq` is where the log began when last seen; if a fold moved it, the entries
        are read again from the right place (`log` is empty if `modseq` lies before the log).
        """
        key = keys.mailbox_key(user_id, mailbox_id)
        for _ in range(8):
            skip = modseq - log_base_modseq
            with deadline():
                found = self._collection.find_one({"_id": key}, _REFRESHED | {"log": {"$slice": [skip, _ALL]}})
            if found is None:
                return None
            base = found["log_base_modseq"]
            if base == log_base_modseq or base > modseq or found["highest_modseq"] <= modseq:
                state = state_from(found)
                return state if base <= modseq else replace(state, log=())
            log_base_modseq = base
        raise MailboxChanged(mailbox_id)

    def state_of(self, user_id: UserId, mailbox_id: MailboxId) -> HeadState | None:
        """Return the counters without the log: one small read."""
        with deadline():
            found = self._collection.find_one({"_id": keys.mailbox_key(user_id, mailbox_id)}, _REFRESHED)
        return state_from(found) if found is not None else None

    def log_of(self, user_id: UserId, mailbox_id: MailboxId) -> tuple[HeadState, int] | None:
        """Return the counters with the whole log, and the UID that its first appended row got: one read."""
        with deadline():
            found = self._collection.find_one({"_id": keys.mailbox_key(user_id, mailbox_id)}, _LOGGED)
        return (state_from(found), found["log_base_uid"]) if found is not None else None

    def vanished_floor(self, user_id: UserId, mailbox_id: MailboxId) -> int:
        """Return the MODSEQ below which vanished UIDs are not kept: one small read."""
        with deadline():
            found = self._collection.find_one({"_id": keys.mailbox_key(user_id, mailbox_id)}, {"vanished_floor": 1})
        return int(found["vanished_floor"]) if found is not None else 0

    def status(self, user_id: UserId, mailbox_ids: Sequence[MailboxId]) -> dict[MailboxId, MailboxStatus]:
        """Return the counters of several mailboxes in one read; those without a head are missing."""
        by_key = {keys.mailbox_key(user_id, mailbox_id): mailbox_id for mailbox_id in mailbox_ids}
        if not by_key:
            return {}
        with deadline():
            found = list(self._collection.find({"_id": {"$in": list(by_key)}}, _STATUS, batch_size=len(by_key) + 1))
        return {by_key[bytes(head["_id"])]: status_from(head) for head in found}

    def highest_modseqs(self, head_keys: Sequence[bytes]) -> dict[bytes, int]:
        """Return HIGHESTMODSEQ by head key (user ‖ mailbox) for mailboxes of many users: the poll of all sessions.

        A mailbox that is not open counts as -1, one without a head is missing.
        """
        if not head_keys:
            return {}
        with deadline():
            found = list(
                self._collection.find(
                    {"_id": {"$in": list(head_keys)}}, {"highest_modseq": 1, "state": 1}, batch_size=len(head_keys) + 1
                )
            )
        return {bytes(head["_id"]): head["highest_modseq"] if head["state"] != DELETED else -1 for head in found}

    def unchanged(self, user_id: UserId, seen: Mapping[MailboxId, int]) -> set[MailboxId]:
        """Return which mailboxes are open and have the HIGHESTMODSEQ that was seen of them: one small read."""
        if not seen:
            return set()
        by_key = {keys.mailbox_key(user_id, mailbox_id): mailbox_id for mailbox_id in seen}
        query = {"_id": {"$in": list(by_key)}, "state": OPEN}
        with deadline():
            found = self._collection.find_all(query, {"highest_modseq": 1}, most=len(by_key))
        named = ((by_key[bytes(head["_id"])], head["highest_modseq"]) for head in found)
        return {mailbox_id for mailbox_id, modseq in named if seen[mailbox_id] == modseq}

    def user_bytes(self, user_id: UserId) -> int:
        """Return the sum of the sizes of a user's mailboxes."""
        with deadline():
            return sum(
                head["size_bytes"]
                for head in self._collection.find(
                    {"_id": keys.owner_range(user_id.binary, KEY_BYTES), "state": {"$in": [OPEN, MOVING]}},
                    {"size_bytes": 1, "_id": 0},
                    batch_size=2000,
                )
            )

    def list_mailboxes(self, user_id: UserId) -> list[tuple[MailboxId, str]]:
        """Return every mailbox of a user that has a head, with its state."""
        with deadline(30):
            return [
                (MailboxId(_mailbox_of(head["_id"])), head["state"])
                for head in self._collection.find(
                    {"_id": keys.owner_range(user_id.binary, KEY_BYTES)}, {"state": 1}, batch_size=2000
                )
            ]

    # -- collection -----------------------------------------------------------------------------

    def bump_collection_epoch(self, user_id: UserId) -> int:
        """Open a new epoch in every head of a user, so that copies under way fail and begin again.

        A collector of messages does this before it looks for references. A copy reads its
        target's epoch first, then the source rows, then commits only if that epoch is still the
        target's; so it either lands before the collector reads the target, or reads its source
        after every head was bumped. In the second case its source row is there when the
        collector reads that mailbox, or went less than the collector's run ago: hence the
        collector must also spare what any log, segment or *young* purge row names.

        Returns the number of heads.
        """
        with deadline(30):
            result = self._collection.update_many(
                {"_id": keys.owner_range(user_id.binary, KEY_BYTES)}, {"$inc": {"collection_epoch": 1}}
            )
        return result.matched_count

    def set_state(self, user_id: UserId, old: str, new: str) -> int:
        """Change the state of every head of a user that has the old one: around a move between shards."""
        with deadline(30):
            result = self._collection.update_many(
                {"_id": keys.owner_range(user_id.binary, KEY_BYTES), "state": old}, {"$set": {"state": new}}
            )
        return result.matched_count

    def each(self, user_id: UserId) -> Iterator[tuple[MailboxId, Head]]:
        """Read every head of a user whole."""
        for mailbox_id, _ in self.list_mailboxes(user_id):
            head = self.read(user_id, mailbox_id)
            if head is not None:
                yield mailbox_id, head

    def replace(self, user_id: UserId, mailbox_id: MailboxId, document: Document, seen: HeadState | None) -> bool:
        """Put a rebuilt head in place of the one that was seen, or where there was none (None).

        Returns False if anything was committed, folded or named since: read it again.
        """
        key = keys.mailbox_key(user_id, mailbox_id)
        with deadline():
            if seen is None:
                try:
                    self._collection.insert_one(document)
                except DuplicateKeyError:
                    return False
                return True
            unchanged = {
                "_id": key,
                "state": seen.state,
                "generation": seen.generation,
                "highest_modseq": seen.highest_modseq,
                "collection_epoch": seen.collection_epoch,
                "keywords": {"$size": len(seen.keywords)},
            }
            result = self._collection.replace_one(unchanged, document)
        return bool(result.matched_count)


def _pushed(encoded: bytes, key: bytes) -> dict[str, Any]:
    return {"log": encoded, "recent_keys": {"$each": [key], "$slice": -DEFAULT_LIMITS.recent_keys}}


def _mailbox_of(key: bytes) -> ObjectId:
    return ObjectId(bytes(key)[12:24])
