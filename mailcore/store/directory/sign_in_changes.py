"""What open sessions are compared with, and whose sign-in rights changed lately.

`sign_in_changes` has one document for each user or tenant whose rights changed within a day: time
by the database's clock, and what to tell its sessions. So a process learns of all changes by
one small query, however many sessions it has open.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from bson import ObjectId
from pymongo.database import Database

from mailcore.model.app_password import AppPassword
from mailcore.model.ids import TenantId, UserId
from mailcore.model.tenant import User
from mailcore.store import direct
from mailcore.store.client import Document
from mailcore.store.directory.app_passwords import read_app_passwords
from mailcore.store.directory.users import read_user
from mailcore.store.guard import deadline
from mailcore.store.owned import OwnedCollection

OVERLAP = timedelta(seconds=60)
"""Looked at again by each poll: a change becomes visible some time after the time it bears."""
IDS_AT_ONCE = 1000
CHANGES_AT_ONCE = 10_000
_STATE_ONLY = {"password": 0, "password_history": 0, "second_factors": 0, "app_passwords.digest": 0}


@dataclass(frozen=True, slots=True)
class SignInChange:
    """Whose rights changed, when by the database's clock, and what to tell their sessions."""

    owner_id: ObjectId
    at: datetime
    reason: str
    is_tenant: bool


@dataclass(frozen=True, slots=True)
class SignInState:
    """What says whether a session of a user may go on."""

    user: User
    app_passwords: Mapping[ObjectId, AppPassword]


class SignInChanges:
    """Reads across owners: a process looks after the sessions of many users at once."""

    def __init__(self, directory: Database[Document]) -> None:
        self._changes = directory["sign_in_changes"]
        self._users = OwnedCollection(directory["users"], "_id", ObjectId)
        self._newest: datetime | None = None

    def note(self, owner_id: UserId | TenantId, reason: str, *, is_tenant: bool) -> None:
        """Say that a user's or a tenant's rights changed; `reason` is for the people whose sessions end."""
        with deadline():
            self._changes.update_one(
                {"_id": owner_id},
                {"$currentDate": {"at": True}, "$set": {"reason": str(reason), "is_tenant": is_tenant}},
                upsert=True,
            )

    def changed(self) -> list[SignInChange]:
        """Return who changed since the last call or within the minute before the newest change; one round trip."""
        query = {} if self._newest is None else {"at": {"$gte": self._newest - OVERLAP}}
        with deadline():
            found = [
                SignInChange(one["_id"], one["at"], one["reason"], one["is_tenant"])
                for one in direct.find_all(self._changes, query, None, CHANGES_AT_ONCE)
            ]
        if found:
            self._newest = max(change.at for change in found)
        return found

    def states(self, user_ids: Sequence[UserId]) -> dict[UserId, SignInState]:
        """Return the state of those users that exist; one round trip for each thousand."""
        found: dict[UserId, SignInState] = {}
        for first in range(0, len(user_ids), IDS_AT_ONCE):
            with deadline():
                for document in self._users.find(
                    {"_id": {"$in": list(user_ids[first : first + IDS_AT_ONCE])}}, _STATE_ONLY
                ):
                    found[UserId(document["_id"])] = _state(document)
        return found


def _state(document: Document) -> SignInState:
    return SignInState(read_user(document), {one.id: one for one in read_app_passwords(document)})
