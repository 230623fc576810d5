"""`deleted_users`: users that were deleted and can be restored yet, each with everything that `users` had of them.

Who is in `users` is not deleted, whatever stands here: a deletion or restore that was cut off leaves both documents.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from bson import ObjectId
from pymongo import ReturnDocument
from pymongo.database import Database

from mailcore import fault
from mailcore.model.ids import TenantId, UserId
from mailcore.model.tenant import AddressRoute, User
from mailcore.store.client import Document
from mailcore.store.directory.address_entries import entry_document, read_entry
from mailcore.store.directory.retention_rules import HOLD
from mailcore.store.directory.users import WITHOUT_PASSWORD, read_user
from mailcore.store.guard import deadline
from mailcore.store.owned import OwnedCollection

PAGE = 200
FREED = "freed"
LEFT = "left_groups"
OWN_FIELDS = ("deleted_at", "erase_after", "stage", FREED, LEFT)


class Stage(StrEnum):
    """What is being done with a deleted user."""

    KEPT = "kept"
    RESTORING = "restoring"
    ERASING = "erasing"


@dataclass(frozen=True, slots=True)
class DeletedUser:
    """A user that is gone for everybody, and until when it can be restored."""

    user: User
    deleted_at: datetime
    erase_after: datetime
    stage: Stage
    freed: tuple[AddressRoute, ...] = ()
    """What it had and anybody may have now."""
    left_groups: tuple[tuple[ObjectId, str], ...] = ()
    """Groups that such addresses were members of, and as what."""


class DeletedUsers:
    """Moves users out of `users` and back."""

    def __init__(self, directory: Database[Document]) -> None:
        self._users = OwnedCollection(directory["users"], ("_id", "tenant"), ObjectId)
        self._collection = OwnedCollection(directory["deleted_users"], ("_id", "tenant"), ObjectId)
        self._of_everybody = self._collection.across_owners("the erasure looks for what is due, whoever had it")

    def put_away(self, user_id: UserId, deleted_at: datetime, erase_after: datetime) -> bool:
        """Move a user here, without any session; False if there is none. Three round trips, each a majority's."""
        with deadline():
            document = self._users.find_one({"_id": user_id})
            if document is None:
                return False
            self._store(document, deleted_at, erase_after)
            fault.hit("user_delete.after_copy")
            last = self._users.find_one_and_delete({"_id": user_id})
            if last is None:
                return False
            if last != document:  # it was changed meanwhile
                self._store(last, deleted_at, erase_after)
        return True

    def free(self, user_id: UserId, routes: list[AddressRoute], left_groups: list[tuple[ObjectId, str]]) -> bool:
        """Note what a user had; False if it is not here, is being restored, or its erasure has begun."""
        noted: Document = {
            FREED: {"$each": [entry_document(route) for route in routes]},
            LEFT: {"$each": [{"group": group, "member": member} for group, member in left_groups]},
        }
        query = {"_id": user_id, "stage": Stage.KEPT.value}
        with deadline():
            return self._collection.update_one(query, {"$addToSet": noted}).matched_count == 1

    def claim_restore(self, user_id: UserId) -> DeletedUser | None:
        """Let nobody erase a user any more, nor free its addresses; None if it is not here or its erasure has begun."""
        claim = {"_id": user_id, "stage": {"$in": [Stage.KEPT.value, Stage.RESTORING.value]}}
        update = {"$set": {"stage": Stage.RESTORING.value}}
        with deadline():
            document = self._collection.find_one_and_update(claim, update, return_document=ReturnDocument.AFTER)
        return None if document is None else _read(document)

    def give_up_restore(self, user_id: UserId) -> None:
        """Keep a user that cannot be restored yet."""
        with deadline():
            self._collection.update_one(
                {"_id": user_id, "stage": Stage.RESTORING.value}, {"$set": {"stage": Stage.KEPT.value}}
            )

    def put_back(self, user_id: UserId, address: str) -> bool:
        """Move a user back that was claimed, with this main address; False if somebody else did."""
        with deadline():
            document = self._collection.find_one({"_id": user_id, "stage": Stage.RESTORING.value})
            if document is None:
                return False
            alive = {name: value for name, value in document.items() if name not in OWN_FIELDS}
            alive["address"] = address
            self._users.replace_one({"_id": user_id}, alive, upsert=True)
            fault.hit("user_restore.after_copy")
            self._collection.delete_one({"_id": user_id})
        return True

    def find(self, user_id: UserId) -> DeletedUser | None:
        """Return a deleted user, or None; two round trips."""
        with deadline():
            document = self._collection.find_one({"_id": user_id}, WITHOUT_PASSWORD)
            if document is None or self._users.find_one({"_id": user_id}, {"_id": 1}) is not None:
                return None
        return _read(document)

    def list_of_tenant(self, tenant_id: TenantId, after: UserId | None = None) -> list[DeletedUser]:
        """Return a page of a tenant's deleted users by id, those after `after`."""
        query: Document = {"tenant": tenant_id}
        if after is not None:
            query["_id"] = {"$gt": after}
        with deadline():
            found = [_read(one) for one in self._collection.find(query, WITHOUT_PASSWORD).sort("_id", 1).limit(PAGE)]
            alive = self._alive([one.user.id for one in found])
        return [one for one in found if one.user.id not in alive]

    def list_due(self, at: datetime) -> list[UserId]:
        """Return whose time to be restored is over, the longest first; a page."""
        with deadline(30):
            found = self._of_everybody.find({"erase_after": {"$lte": at}}, {"_id": 1})
            return [UserId(one["_id"]) for one in found.sort("erase_after", 1).limit(PAGE)]

    def claim_erasure(self, user_id: UserId, at: datetime) -> bool:
        """Let nobody restore a user any more whose time is over; False if it is not, or somebody restores it."""
        stages = [Stage.KEPT.value, Stage.ERASING.value]
        query = {"_id": user_id, "erase_after": {"$lte": at}, "stage": {"$in": stages}}
        with deadline():
            return self._collection.update_one(query, {"$set": {"stage": Stage.ERASING.value}}).matched_count == 1

    def postpone(self, user_id: UserId, until: datetime) -> None:
        """Look at a user again later."""
        with deadline():
            self._collection.update_one({"_id": user_id}, {"$set": {"erase_after": until}})

    def set_legal_hold(self, user_id: UserId, *, held: bool) -> bool:
        """Hold or release; False if there is no such deleted user."""
        with deadline():
            return self._collection.update_one({"_id": user_id}, {"$set": {HOLD: held}}).matched_count == 1

    def forget(self, user_id: UserId) -> None:
        """Remove the last that is known of a user here."""
        with deadline():
            self._collection.delete_one({"_id": user_id})

    def _store(self, document: Document, deleted_at: datetime, erase_after: datetime) -> None:
        kept = document | {
            "deleted_at": deleted_at,
            "erase_after": erase_after,
            "stage": Stage.KEPT.value,
            "auth_version": document["auth_version"] + 1,
        }
        self._collection.replace_one({"_id": document["_id"]}, kept, upsert=True)

    def _alive(self, user_ids: list[UserId]) -> set[UserId]:
        if not user_ids:
            return set()
        return {UserId(one["_id"]) for one in self._users.find({"_id": {"$in": user_ids}}, {"_id": 1})}


def _read(document: Document) -> DeletedUser:
    freed = [read_entry(one) for one in document.get(FREED, ())]
    return DeletedUser(
        read_user(document),
        document["deleted_at"],
        document["erase_after"],
        Stage(document["stage"]),
        tuple(one for one in freed if isinstance(one, AddressRoute)),
        tuple((one["group"], one["member"]) for one in document.get(LEFT, ())),
    )
