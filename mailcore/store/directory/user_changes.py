"""What is changed in `users`: passwords, state, limits, settings, rules that act, and holds."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from bson import ObjectId
from pymongo import ReturnDocument, UpdateOne
from pymongo.database import Database

from mailcore.model.access import Protocol
from mailcore.model.address import display_domain
from mailcore.model.encryption import Encryption
from mailcore.model.ids import TenantId, UserId
from mailcore.model.retention import RetentionRule
from mailcore.model.tenant import State, StoredSmarthost, User
from mailcore.model.user_settings import SETTINGS, UserSettings
from mailcore.store.client import Document
from mailcore.store.directory.retention_rules import HOLD, rule_update
from mailcore.store.directory.smarthosts import smarthost_update
from mailcore.store.directory.told_versions import FILTERS, announced, earlier, settled
from mailcore.store.directory.user_limits import limit_change
from mailcore.store.directory.users import UNCLAIMED, WITHOUT_PASSWORD, TemporaryPassword, read_user
from mailcore.store.guard import deadline
from mailcore.store.owned import OwnedCollection

PAGE = 1000
HISTORY = 4
"""So many former passwords are remembered."""


class UserChanges:
    """Changes what is stored of a user; `auth_version` counts up where open sessions and cached logins are to end."""

    def __init__(self, directory: Database[Document]) -> None:
        self._collection = OwnedCollection(directory["users"], ("_id", "tenant"), ObjectId)

    def set_password(self, user_id: UserId, password_hash: str, *, change_needed: bool = False) -> User | None:
        """Replace the password, remember the one it replaces, end every session and cached login; None: no such user.

        What is remembered is what is replaced, however many change it at once.
        """
        replaced = {"$cond": [{"$eq": [{"$type": "$password"}, "string"]}, ["$password"], []]}
        history = {"$concatArrays": [{"$ifNull": ["$password_history", []]}, replaced]}
        return self._change(
            user_id,
            [
                {"$set": {"password_history": {"$slice": [history, -HISTORY]}}},
                {
                    "$set": {
                        "password": {"$literal": password_hash},
                        "password_change_needed": change_needed,
                        "auth_version": {"$add": ["$auth_version", 1]},
                    }
                },
                {"$unset": "temporary_password"},
            ],
        )

    def require_password_change(self, user_id: UserId) -> User | None:
        """Say that somebody else chose the password, and end every session; None if there is no such user."""
        return self._change(user_id, {"$set": {"password_change_needed": True}, "$inc": {"auth_version": 1}})

    def set_temporary_password(self, user_id: UserId, temporary: TemporaryPassword) -> User | None:
        """Let a made-up password in beside the master one; None if there is no such user."""
        fields = {
            "digest": temporary.digest,
            "valid_after": temporary.valid_after,
            "expires_at": temporary.expires_at,
        }
        return self._change(user_id, {"$set": {"temporary_password": fields}})

    def set_disabled_protocols(self, user_id: UserId, protocols: frozenset[Protocol]) -> User | None:
        """Switch protocols off and all others on; None if there is no such user."""
        return self._change(user_id, {"$set": {"disabled_protocols": sorted(one.value for one in protocols)}})

    def set_state(self, user_id: UserId, state: State) -> User | None:
        """Change the state and end every session and cached login; None if there is no such user."""
        return self._change(user_id, {"$set": {"state": state.value}, "$inc": {"auth_version": 1}})

    def set_name(self, user_id: UserId, name: str) -> User | None:
        """Change the name of the person; None if there is no such user."""
        return self._change(user_id, {"$set": {"name": name}})

    def set_address(self, user_id: UserId, address: str) -> User | None:
        """Change the main address, which is an address of the user already; None if there is no such user."""
        return self._change(user_id, {"$set": {"address": address}, "$unset": {UNCLAIMED: ""}})

    def note_claim(self, user_id: UserId, *, claimed: bool) -> None:
        """Note whether the main address reaches the user, who is found by it only then."""
        update = {"$unset": {UNCLAIMED: ""}} if claimed else {"$set": {UNCLAIMED: True}}
        with deadline():
            self._collection.update_one({"_id": user_id}, update)

    def make_shared(self, user_id: UserId) -> User | None:
        """Take every way to sign in away and end every session: from now on it is a shared mailbox."""
        gone = ("temporary_password", "app_passwords", "second_factors", "enabled_2fa", "password_change_needed")
        return self._change(
            user_id,
            {
                "$set": {"is_shared": True, "password": None, "state": State.ACTIVE.value},
                "$unset": dict.fromkeys(gone, ""),
                "$inc": {"auth_version": 1},
            },
        )

    def rename_addresses(self, tenant_id: TenantId, old: str, new: str) -> list[UserId]:
        """Move main addresses of a tenant's users to another domain, A-labels; return whose."""
        ending, wanted = f"@{display_domain(old)}", f"@{display_domain(new)}"
        query = {"tenant": tenant_id, "address": re.compile(re.escape(ending) + r"\Z", re.IGNORECASE)}
        with deadline(30):
            found = list(self._collection.find(query, {"address": 1}))
            for start in range(0, len(found), PAGE):
                self._collection.bulk_write(
                    [
                        UpdateOne(
                            {"_id": one["_id"], "tenant": tenant_id, "address": one["address"]},
                            {"$set": {"address": one["address"][: -len(ending)] + wanted}},
                        )
                        for one in found[start : start + PAGE]
                    ],
                    ordered=False,
                )
        return [UserId(one["_id"]) for one in found]

    def set_quota(self, user_id: UserId, quota_bytes: int | None) -> User | None:
        """Change the quota; None if there is no such user."""
        return self._change(user_id, {"$set": {"limits.quota_bytes": quota_bytes}})

    def set_limit(self, user_id: UserId, name: str, value: int | None) -> User | None:
        """Change one of `USER_LIMITS` for this user, None: as the tenant's; None if there is no such user."""
        return self._change(user_id, limit_change(name, value))

    def set_settings(self, user_id: UserId, settings: UserSettings, names: frozenset[str]) -> User | None:
        """Store the named ones of these settings, already checked; None if there is no such user."""
        assert names <= SETTINGS
        stored = {name: getattr(settings, name) for name in sorted(names)}
        kept = {
            f"settings.{name}": list(value) if isinstance(value, tuple) else value for name, value in stored.items()
        }
        return self._change(user_id, {"$set": kept})

    def set_encryption(self, user_id: UserId, choice: Encryption) -> User | None:
        """Store with what mail is encrypted; None if there is no such user."""
        return self._change(user_id, {"$set": {"encryption": choice.document()}})

    def set_autoreply(self, user_id: UserId, *, is_on: bool) -> User | None:
        """Note that the automatic reply changed, and whether it is on; None if there is no such user."""
        return self._change(user_id, {"$set": {"autoreply.is_on": is_on}, "$inc": {"autoreply.version": 1}})

    def announce_filters(self, user_id: UserId) -> bool:
        """Note that rules or scripts are about to change; False if there is no such user."""
        with deadline():
            return self._collection.update_one({"_id": user_id}, announced(FILTERS)).matched_count == 1

    def settle_filters(self, user_id: UserId, version: int, *, acts: bool) -> None:
        """Note a version of rules and scripts, unless a later one is noted, and whether it has a say."""
        with deadline():
            self._collection.update_one({"_id": user_id, **earlier(FILTERS, version)}, settled(FILTERS, version, acts))

    def set_retention(self, user_id: UserId, rule: RetentionRule) -> bool:
        """Replace the user's retention rule; False if there is no such user."""
        with deadline():
            result = self._collection.update_one({"_id": user_id}, rule_update(rule))
        return result.matched_count == 1

    def set_smarthost(self, user_id: UserId, smarthost: StoredSmarthost | None) -> bool:
        """Change through which server the user sends; False if there is no such user."""
        with deadline():
            return self._collection.update_one({"_id": user_id}, smarthost_update(smarthost)).matched_count == 1

    def set_legal_hold(self, user_id: UserId, *, held: bool) -> bool:
        """Hold or release; False if there is no such user."""
        with deadline():
            result = self._collection.update_one({"_id": user_id}, {"$set": {HOLD: held}})
        return result.matched_count == 1

    def mark_over_quota(self, user_id: UserId, now: datetime) -> datetime:
        """Note when mail was first refused for want of room, and return that; `now` if it is the first time."""
        with deadline():
            self._collection.update_one({"_id": user_id, "over_quota_since": None}, {"$set": {"over_quota_since": now}})
            found = self._collection.find_one({"_id": user_id}, {"over_quota_since": 1})
        since: datetime = (found or {}).get("over_quota_since") or now
        return since

    def clear_over_quota(self, user_id: UserId) -> None:
        """Note that mail fits again."""
        with deadline():
            self._collection.update_one({"_id": user_id}, {"$unset": {"over_quota_since": ""}})

    def end_sessions(self, user_id: UserId) -> User | None:
        """Make every open session and cached login of the user invalid."""
        return self._change(user_id, {"$inc": {"auth_version": 1}})

    def _change(self, user_id: UserId, update: dict[str, Any] | list[dict[str, Any]]) -> User | None:
        with deadline():
            document = self._collection.find_one_and_update(
                {"_id": user_id}, update, projection=WITHOUT_PASSWORD, return_document=ReturnDocument.AFTER
            )
        return None if document is None else read_user(document)
