"""`outbound`: messages on their way out, one document each, on the shard of the user who sends.

An entry is due when `next_at` is over, by the database's clock. A lease moves `next_at` to where the lease ends and
raises its number: what its holder writes names that number, so one that is too late changes nothing, and an entry
whose holder died is due again by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from bson import ObjectId
from pymongo import DESCENDING, ReturnDocument
from pymongo.database import Database
from pymongo.errors import DuplicateKeyError

from mailcore.model.ids import TenantId, UserId
from mailcore.model.outbound import BURST, EntryState, RecipientState
from mailcore.store.guard import Document, deadline
from mailcore.store.keys import message_key, owner_range
from mailcore.store.owned import OwnedCollection

KEY_BYTES: Final = 24
CONTENT_FIELDS: Final = ("format", "skeleton", "splices", "attempt")
WITHOUT_CONTENT: Final = {"skeleton": 0, "splices": 0}
_WAITING: Final = {"$in": [EntryState.QUEUED.value, EntryState.HELD.value]}


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waits: entries, those of them that were tried, and since when the first."""

    waiting: int = 0
    tried: int = 0
    oldest_at: datetime | None = None


class OutboundEntries:
    """The queue of one shard."""

    def __init__(self, database: Database[Document]) -> None:
        self._collection = OwnedCollection(database["outbound"], ("_id", "tenant"))
        self._of_everybody = self._collection.across_owners("a relay serves every owner")

    # -- senders ----------------------------------------------------------------------------

    def insert(self, document: Document, *, delay: timedelta, not_before: datetime | None, kept: timedelta) -> bool:
        """Store a new entry (majority), one round trip; False if it is there already, whatever became of it.

        Times are the database's: it is due after `delay` and not before `not_before`, unless it is held, and given up
        after `kept` from then on.
        """
        due: Any = {"$add": ["$$NOW", _ms(delay)]}
        if not_before is not None:
            due = {"$max": [due, not_before]}
        times: Document = {"created_at": "$$NOW", "expires_at": {"$add": [due, _ms(kept)]}}
        times["next_at" if document["state"] == EntryState.QUEUED.value else "resume_at"] = due
        fresh = {"$mergeObjects": [{"$literal": document}, times]}
        once = [{"$replaceWith": {"$cond": [{"$gt": ["$created_at", None]}, "$$ROOT", fresh]}}]
        with deadline():
            try:
                result = self._collection.update_one({"_id": document["_id"]}, once, upsert=True)
            except DuplicateKeyError:
                return False
        return result.upserted_id is not None

    def find(self, user_id: UserId, oid: bytes, *, with_content: bool = False) -> Document | None:
        """Return a user's entry, or None."""
        with deadline():
            return self._collection.find_one(
                {"_id": message_key(user_id, oid)}, None if with_content else dict(WITHOUT_CONTENT)
            )

    def list_of_user(self, user_id: UserId, limit: int, *, waiting: bool) -> list[Document]:
        """Return entries of a user, those still waiting or all that are remembered."""
        return self._list({"_id": owner_range(user_id.binary, KEY_BYTES)}, limit, waiting=waiting)

    def list_for_reasons(
        self, user_id: UserId, reasons: Sequence[str], before: Document | None, limit: int
    ) -> list[Document]:
        """Return entries of a user that were queued for one of these reasons, latest first, those after an entry."""
        query: Document = {"_id": owner_range(user_id.binary, KEY_BYTES), "reason": {"$in": list(reasons)}}
        if before is not None:
            query["$or"] = _before(before["created_at"], before["_id"])
        return self._list(query, limit, waiting=False)

    def list_of_tenant(
        self,
        tenant_id: TenantId,
        limit: int,
        *,
        waiting: bool,
        since: datetime | None,
        until: datetime | None,
        after: tuple[datetime, bytes] | None = None,
    ) -> list[Document]:
        """Return entries of a tenant on this shard, latest first: made `since` then and before `until`, and after one.

        The entry after which they come is named by when it was made and its key.
        """
        bounds = {"$gte": since, "$lt": until, "$lte": after and after[0]}
        made = {name: at for name, at in bounds.items() if at is not None}
        query: Document = {"tenant": tenant_id.binary} | ({"created_at": made} if made else {})
        if after is not None:
            query["$or"] = _before(*after)
        return self._list(query, limit, waiting=waiting)

    def list_of_message(self, user_id: UserId, message_id: str, limit: int) -> list[Document]:
        """Return the entries of one message of a user, by its Message-ID, latest first."""
        query = {"_id": owner_range(user_id.binary, KEY_BYTES), "message_id": message_id}
        return self._list(query, limit, waiting=False)

    def _list(self, query: Document, limit: int, *, waiting: bool) -> list[Document]:
        query = query | ({"state": _WAITING} if waiting else {})
        with deadline():
            found = self._collection.find(query, dict(WITHOUT_CONTENT))
            return list(found.sort([("created_at", DESCENDING), ("_id", DESCENDING)]).limit(limit))

    def hold(self, user_id: UserId, oid: bytes, why: str) -> bool:
        """Keep an entry back until it is released; False if it does not wait, or is being sent at this moment."""
        return self._change(user_id, oid, _WAITING, _held(why))

    def release(self, user_id: UserId, oid: bytes, kept: timedelta) -> bool:
        """Let a held entry go, as soon as it is due; False if it is not held."""
        with deadline():
            query = {"_id": message_key(user_id, oid), "state": EntryState.HELD.value}
            return self._collection.update_one(query, _released(kept)).matched_count == 1

    def hold_all(self, tenant_id: TenantId, user_id: UserId | None, reasons: Sequence[str], why: str) -> int:
        """Keep back what waits of a user, or of a tenant, and is not being sent at this moment; return how much.

        What was held for a burst is held for this cause from now on. One round trip.
        """
        query = _of(tenant_id, user_id) | {
            "$or": [{"state": EntryState.QUEUED.value}, {"state": EntryState.HELD.value, "held": BURST}],
            "is_leased": False,
            "reason": {"$in": list(reasons)},
        }
        with deadline(60.0):
            return self._collection.update_many(query, _held(why)).modified_count

    def release_all(self, tenant_id: TenantId, user_id: UserId | None, held: Sequence[str], kept: timedelta) -> int:
        """Let go what is held of a user, or of a tenant, for one of these causes; return how much. One round trip."""
        query = _of(tenant_id, user_id) | {"held": {"$in": list(held)}, "state": EntryState.HELD.value}
        with deadline(60.0):
            return self._collection.update_many(query, _released(kept)).modified_count

    def release_others(self, held: str, tenants: Sequence[TenantId], users: Sequence[UserId], kept: timedelta) -> int:
        """Let go what is held for a cause and is of none of these tenants and users; return how much."""
        query: Document = {"held": held, "state": EntryState.HELD.value}
        if tenants:
            query["tenant"] = {"$nin": [each.binary for each in tenants]}
        if users:
            query["$nor"] = [{"_id": owner_range(each.binary, KEY_BYTES)} for each in users]
        with deadline(60.0):
            return self._of_everybody.update_many(query, _released(kept)).modified_count

    def count_held(self, tenant_id: TenantId, user_id: UserId | None, held: Sequence[str]) -> int:
        """Return how many entries are held for these causes; one round trip."""
        query = _of(tenant_id, user_id) | {"held": {"$in": list(held)}, "state": EntryState.HELD.value}
        with deadline():
            return self._collection.count_documents(query)

    def senders_held(self, held: str) -> set[tuple[TenantId, UserId]]:
        """Return of whom anything is held for a cause, whosever it is; one round trip for each thousand entries."""
        query = {"held": held, "state": EntryState.HELD.value}
        with deadline(10.0):
            found = self._of_everybody.find(query, {"tenant": 1}).batch_size(1000)
            return {(TenantId(_oid(one["tenant"])), UserId(_oid(one["_id"][:12]))) for one in found}

    def list_posts(self, tenant_id: TenantId, groups: Sequence[str], limit: int) -> list[Document]:
        """Return what waits for moderators of these groups of a tenant, latest first; one round trip."""
        query: Document = {"group": {"$in": list(groups), "$exists": True}, "tenant": tenant_id.binary}
        with deadline():
            found = self._collection.find(query | {"state": EntryState.HELD.value}, dict(WITHOUT_CONTENT))
            return list(found.sort("created_at", DESCENDING).limit(limit))

    def list_posts_since(self, since: datetime) -> list[Document]:
        """Return what came since then and waits for moderators, whosever it is, in order: no more than is told of."""
        query: Document = {"group": {"$exists": True}, "state": EntryState.HELD.value, "created_at": {"$gte": since}}
        shown = {"tenant": 1, "group": 1, "message_id": 1, "sha256": 1, "told": 1}
        with deadline(10.0):
            return list(self._of_everybody.find(query, shown).sort("created_at", 1))

    def note_told(self, keys: Sequence[bytes], user_id: UserId) -> None:
        """Remember that a moderator was written to about entries (`_id`s); one round trip."""
        with deadline():
            self._collection.update_many({"_id": {"$in": list(keys)}}, {"$addToSet": {"told": user_id}})

    def retry(self, user_id: UserId, oid: bytes) -> bool:
        """Try an entry that waits for another attempt now; False if none does."""
        update = {"$currentDate": {"next_at": True}, "$set": {"recipients.$[one].due_at": datetime(1970, 1, 2)}}  # noqa: DTZ001
        return self._change(user_id, oid, EntryState.QUEUED.value, update)

    def cancel(self, user_id: UserId, oid: bytes, forget_at: datetime) -> Document | None:
        """End an entry for its recipients that still wait; return it as it was, None if it does not wait.

        One that is being sent at this moment is left alone.
        """
        update = {
            "$set": {
                "state": EntryState.CANCELLED.value,
                "forget_at": forget_at,
                "recipients.$[one].state": RecipientState.CANCELLED.value,
            },
            "$unset": dict.fromkeys((*CONTENT_FIELDS, "next_at", "held"), ""),
        }
        query = {"_id": message_key(user_id, oid), "state": _WAITING, "is_leased": False}
        with deadline():
            return self._collection.find_one_and_update(
                query, update, array_filters=_STILL_QUEUED, return_document=ReturnDocument.BEFORE
            )

    def _change(self, user_id: UserId, oid: bytes, state: Any, update: Document | list[Document]) -> bool:
        query = {"_id": message_key(user_id, oid), "state": state, "is_leased": False}
        names = () if isinstance(update, list) else update.get("$set", ())
        filters = _STILL_QUEUED if any("$[one]" in name for name in names) else None
        with deadline():
            return self._collection.update_one(query, update, array_filters=filters).matched_count == 1

    # -- relays -----------------------------------------------------------------------------

    def claim(self, lease: timedelta, not_of: Sequence[TenantId]) -> Document | None:
        """Lease the entry that has been due longest and is of none of these tenants; None if none is due.

        `leased_at` is the database's time. `was_leased` tells that the lease before ended without a word.
        """
        query: Document = {"$expr": {"$lte": ["$next_at", "$$NOW"]}, "next_at": {"$gt": _NEVER}}
        if not_of:
            query["tenant"] = {"$nin": [tenant_id.binary for tenant_id in not_of]}
        leased = {
            "was_leased": "$is_leased",
            "is_leased": True,
            "lease": {"$add": ["$lease", 1]},
            "leased_at": "$$NOW",
            "next_at": {"$add": ["$$NOW", _ms(lease)]},
        }
        with deadline():
            return self._of_everybody.find_one_and_update(
                query, [{"$set": leased}], sort=[("next_at", 1)], return_document=ReturnDocument.AFTER
            )

    def hold_leased(self, key: bytes, lease_number: int, why: str) -> bool:
        """End a lease by keeping the entry back (majority); False if the lease is lost.

        When it was due is not known any more, so once released it is due at once.
        """
        fields = {"state": EntryState.HELD.value, "held": why, "is_leased": False}
        with deadline():
            update = {"$set": fields, "$unset": {"next_at": ""}}
            return self._collection.update_one(_held_lease(key, lease_number), update).matched_count == 1

    def renew(self, key: bytes, lease_number: int, lease: timedelta) -> bool:
        """Prolong a lease; False if it is lost."""
        until = [{"$set": {"next_at": {"$add": ["$$NOW", _ms(lease)]}}}]
        with deadline():
            return self._collection.update_one(_held_lease(key, lease_number), until).matched_count == 1

    def record(self, key: bytes, lease_number: int, fields: Mapping[str, Any]) -> bool:
        """Write down what became of recipients (majority); twice is once. False if the lease is lost."""
        with deadline():
            result = self._collection.update_one(_held_lease(key, lease_number), {"$set": dict(fields)})
        return result.matched_count == 1

    def give_back(self, key: bytes, lease_number: int, next_at: datetime, fields: Mapping[str, Any]) -> bool:
        """End a lease; the entry is due again at `next_at`. False if the lease is lost."""
        update = {"$set": {**fields, "next_at": next_at, "is_leased": False}}
        with deadline():
            return self._collection.update_one(_held_lease(key, lease_number), update).matched_count == 1

    def finish(self, key: bytes, lease_number: int, forget_at: datetime, fields: Mapping[str, Any]) -> bool:
        """End an entry: its content goes, its states are remembered until `forget_at`. False if the lease is lost."""
        update = {
            "$set": {**fields, "state": EntryState.DONE.value, "is_leased": False, "forget_at": forget_at},
            "$unset": dict.fromkeys((*CONTENT_FIELDS, "next_at"), ""),
        }
        with deadline():
            return self._collection.update_one(_held_lease(key, lease_number), update).matched_count == 1

    # -- sweeps and figures -----------------------------------------------------------------

    def attempts(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """Return which attempt stored each of these entries (`_id`s of any users) that has references."""
        if not keys:
            return {}
        with deadline(10.0):
            found = self._collection.find({"_id": {"$in": list(keys)}}, {"attempt": 1})
            return {document["_id"]: document["attempt"] for document in found if "attempt" in document}

    def backlog(self) -> Backlog:
        """Return how much waits for a relay, whosever it is; one round trip that reads all that waits."""
        tries: Document = {"$max": "$recipients.attempts"}
        pipeline: list[Document] = [
            {"$match": {"next_at": {"$gt": _NEVER}}},
            {
                "$group": {
                    "_id": None,
                    "waiting": {"$sum": 1},
                    "oldest": {"$min": "$created_at"},
                    "tried": {"$sum": {"$cond": [{"$gt": [tries, 0]}, 1, 0]}},
                }
            },
        ]
        with deadline():
            found = next(iter(self._of_everybody.aggregate(pipeline)), None)
        return Backlog() if found is None else Backlog(found["waiting"], found["tried"], found["oldest"])

    def count_waiting(self) -> int:
        """Return how many entries wait for a relay, whosever they are."""
        with deadline():
            return self._of_everybody.count_documents({"next_at": {"$gt": _NEVER}})


_NEVER: Final = datetime(1970, 1, 1)  # noqa: DTZ001  BSON knows UTC only
_STILL_QUEUED: Final = [{"one.state": RecipientState.QUEUED.value}]


def _before(at: datetime, key: bytes) -> list[Document]:
    """Return what holds of entries that come after one in a list with the latest first."""
    return [{"created_at": {"$lt": at}}, {"created_at": at, "_id": {"$lt": key}}]


def _of(tenant_id: TenantId, user_id: UserId | None) -> Document:
    found: Document = {"tenant": tenant_id.binary}
    return found if user_id is None else found | {"_id": owner_range(user_id.binary, KEY_BYTES)}


def _held(why: str) -> list[Document]:
    """Keep back, and remember when it was due: what was to be sent later is sent no earlier once it is released."""
    resume = {"$ifNull": ["$next_at", "$resume_at"]}
    fields = {"state": EntryState.HELD.value, "held": {"$literal": why}, "resume_at": resume}
    return [{"$set": fields}, {"$unset": "next_at"}]


def _released(kept: timedelta) -> list[Document]:
    due = {"$max": ["$$NOW", "$resume_at"]}
    fields = {"state": EntryState.QUEUED.value, "next_at": due, "expires_at": {"$add": [due, _ms(kept)]}}
    return [{"$set": fields}, {"$unset": ["held", "resume_at"]}]


def _held_lease(key: bytes, lease_number: int) -> Document:
    return {"_id": key, "lease": lease_number, "is_leased": True}


def _oid(binary: bytes) -> ObjectId:
    return ObjectId(bytes(binary))


def _ms(duration: timedelta) -> int:
    return int(duration.total_seconds() * 1000)
