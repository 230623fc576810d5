"""`users`: credentials, state, limits and place of every login."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bson import ObjectId
from pymongo import ReturnDocument, UpdateOne
from pymongo.database import Database

from mailcore.model.access import Protocol
from mailcore.model.address import display_domain
from mailcore.model.app_password import AppPassword
from mailcore.model.encryption import Encryption
from mailcore.model.factors import Factor
from mailcore.model.ids import TenantId, UserId
from mailcore.model.retention import RetentionRule
from mailcore.model.tenant import State, StoredSmarthost, User
from mailcore.model.user_settings import SETTINGS, UserSettings
from mailcore.store.client import Document
from mailcore.store.directory.app_passwords import read_app_passwords
from mailcore.store.directory.retention_rules import HOLD, read_rule, rule_update
from mailcore.store.directory.sending_holds import read_hold
from mailcore.store.directory.smarthosts import read_smarthost, smarthost_update
from mailcore.store.directory.told_versions import FILTERS, announced, earlier, read_version, settled
from mailcore.store.directory.user_limits import limit_change, read_limits
from mailcore.store.guard import deadline
from mailcore.store.owned import OwnedCollection

PAGE = 1000
SCAN_S = 300.0
HISTORY = 4
"""So many former passwords are remembered."""
_WITHOUT_FACTORS = {"second_factors": 0, "password_history": 0}
WITHOUT_PASSWORD = {"password": 0, "temporary_password": 0, "app_passwords": 0, **_WITHOUT_FACTORS}


@dataclass(frozen=True, slots=True)
class TemporaryPassword:
    """A made-up password that lets its owner in to choose another."""

    digest: bytes
    valid_after: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a login is checked against."""

    user: User
    password_hash: str | None
    app_passwords: tuple[AppPassword, ...] = ()
    temporary: TemporaryPassword | None = None


class Users:
    """One document for each user."""

    def __init__(self, directory: Database[Document]) -> None:
        self._collection = OwnedCollection(directory["users"], ("_id", "tenant"), ObjectId)
        self._all = self._collection.across_owners("a rewritten reverse-path establishes the owner")
        self._listed = self._collection.across_owners("the platform lists the rules of every tenant")
        self._of_everybody = self._collection.across_owners("the job that expires mail looks at every user's settings")

    def insert(self, user: User, password_hash: str | None) -> None:
        """Store a new user; its id is new, so nothing can be in the way."""
        with deadline():
            self._collection.insert_one(
                {
                    "_id": user.id,
                    "tenant": user.tenant_id,
                    "address": user.address,
                    "name": user.name,
                    "password": password_hash,
                    "auth_version": user.auth_version,
                    "state": user.state.value,
                    "shard": user.shard,
                    "placement_epoch": user.placement_epoch,
                    "limits": {"quota_bytes": user.quota_bytes},
                    "settings": {},
                    "created_at": user.created_at,
                }
            )

    def find(self, user_id: UserId) -> User | None:
        """Return the user, or None."""
        with deadline():
            document = self._collection.find_one({"_id": user_id}, WITHOUT_PASSWORD)
        return None if document is None else read_user(document)

    def find_credentials(self, user_id: UserId) -> Credentials | None:
        """Return the user with its password hash, or None."""
        with deadline():
            document = self._collection.find_one({"_id": user_id}, _WITHOUT_FACTORS)
        return None if document is None else _credentials(document)

    def list_of_tenant(self, tenant_id: TenantId, after: UserId | None = None) -> list[User]:
        """Return a page of the tenant's users by id, those after `after`."""
        query: dict[str, Any] = {"tenant": tenant_id}
        if after is not None:
            query["_id"] = {"$gt": after}
        with deadline():
            found = self._collection.find(query, WITHOUT_PASSWORD).sort("_id", 1).limit(PAGE)
            return [read_user(document) for document in found]

    def among(self, tenant_id: TenantId, user_ids: Collection[UserId]) -> set[UserId]:
        """Return those of these who are users of a tenant; one round trip, none for nobody."""
        if not user_ids:
            return set()
        query = {"tenant": tenant_id, "_id": {"$in": list(user_ids)}}
        with deadline():
            return {UserId(document["_id"]) for document in self._collection.find(query, {"_id": 1})}

    def list_expiring(self, shard: str) -> list[UserId]:
        """Return the users of a shard whose mail expires unless a mailbox says otherwise."""
        query = {"settings.expires_after_s": {"$gt": 0}, "shard": shard}
        with deadline(30):
            return [UserId(document["_id"]) for document in self._of_everybody.find(query, {"_id": 1})]

    def list_with_filters(
        self, tenant_id: TenantId | None, edge: ObjectId | None, *, backwards: bool, inclusive: bool, limit: int
    ) -> list[tuple[UserId, str]]:
        """Return users that have or had rules, with their shards, by id; of every tenant if none is named."""
        query: dict[str, Any] = {"filters": {"$exists": True}}
        if tenant_id is not None:
            query["tenant"] = tenant_id
        if edge is not None:
            query["_id"] = {("$lt" if backwards else "$gt") + ("e" if inclusive else ""): edge}
        users = self._listed if tenant_id is None else self._collection
        with deadline(30):
            found = users.find(query, {"shard": 1}).sort("_id", -1 if backwards else 1).limit(limit)
            return [(UserId(document["_id"]), document["shard"]) for document in found]

    def find_oldest(self, tenant_id: TenantId) -> UserId | None:
        """Return the tenant's first user that takes mail, or None."""
        query = {"tenant": tenant_id, "state": {"$ne": State.DISABLED.value}}
        with deadline():
            document = self._collection.find_one(query, {"_id": 1}, sort=[("_id", 1)])
        return None if document is None else UserId(document["_id"])

    def find_between(self, low: ObjectId, high: ObjectId, ending: bytes) -> UserId | None:
        """Return the user whose id lies between two and ends so, None unless there is exactly one; whoever owns it."""
        with deadline():
            found = self._all.find({"_id": {"$gte": low, "$lte": high}}, {"_id": 1}).limit(PAGE)
            ids = [document["_id"] for document in found if document["_id"].binary.endswith(ending)]
        return UserId(ids[0]) if len(ids) == 1 else None

    def tenants_of_all(self) -> Iterator[tuple[UserId, TenantId]]:
        """Return every user with its tenant; one round trip for each ten thousand."""
        every = self._collection.across_owners("the use of every tenant is summed up")
        with deadline(SCAN_S):
            for document in every.find({}, {"tenant": 1}, batch_size=10_000):
                yield UserId(document["_id"]), TenantId(document["tenant"])

    def count_of_tenant(self, tenant_id: TenantId) -> int:
        """Return how many users a tenant has."""
        with deadline():
            return self._collection.count_documents({"tenant": tenant_id})

    def count_before(self, tenant_id: TenantId, user_id: UserId, others: Sequence[UserId]) -> int:
        """Return how many of a tenant's users have an id that comes before this one, or are among these others."""
        before = {"$or": [{"_id": {"$lt": user_id}}, {"_id": {"$in": list(others)}}]}
        with deadline():
            return self._collection.count_documents({"tenant": tenant_id, **before})

    def counts_of_shards(self) -> dict[str, int]:
        """Return how many users have their mail on each shard; one round trip that reads every user."""
        collection = self._collection.across_owners("the platform counts its users")
        with deadline(30):
            found = collection.aggregate([{"$group": {"_id": "$shard", "users": {"$sum": 1}}}])
            return {document["_id"]: document["users"] for document in found}

    def former_hashes(self, user_id: UserId) -> list[str]:
        """Return the hashes of the user's password and of those before it, newest first."""
        with deadline():
            document = self._collection.find_one({"_id": user_id}, {"password": 1, "password_history": 1}) or {}
        return [found for found in (document.get("password"), *reversed(document.get("password_history", []))) if found]

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
        return self._change(user_id, {"$set": {"address": address}})

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

    def list_held(self, tenant_id: TenantId) -> list[User]:
        """Return the tenant's users who are under a legal hold of their own."""
        with deadline(30):
            found = self._collection.find({"tenant": tenant_id, HOLD: True}, WITHOUT_PASSWORD).sort("_id", 1)
            return [read_user(document) for document in found]

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

    def upgrade_hash(self, user_id: UserId, old_hash: str, new_hash: str) -> None:
        """Store the same password hashed with today's cost, unless it was changed meanwhile."""
        with deadline():
            self._collection.update_one({"_id": user_id, "password": old_hash}, {"$set": {"password": new_hash}})

    def delete(self, user_id: UserId) -> bool:
        """Remove the user's document; False if there was none."""
        with deadline():
            return self._collection.delete_one({"_id": user_id}).deleted_count == 1

    def _change(self, user_id: UserId, update: dict[str, Any] | list[dict[str, Any]]) -> User | None:
        with deadline():
            document = self._collection.find_one_and_update(
                {"_id": user_id}, update, projection=WITHOUT_PASSWORD, return_document=ReturnDocument.AFTER
            )
        return None if document is None else read_user(document)


def _credentials(document: Document) -> Credentials:
    temporary = document.get("temporary_password")
    return Credentials(
        read_user(document),
        document["password"],
        read_app_passwords(document),
        TemporaryPassword(bytes(temporary["digest"]), temporary["valid_after"], temporary["expires_at"])
        if temporary is not None
        else None,
    )


def read_user(document: Document) -> User:
    """Return the user of a document of `users`, with or without its secrets."""
    return User(
        id=UserId(document["_id"]),
        tenant_id=TenantId(document["tenant"]),
        address=document["address"],
        name=document["name"],
        state=State(document["state"]),
        shard=document["shard"],
        placement_epoch=document["placement_epoch"],
        auth_version=document["auth_version"],
        quota_bytes=document["limits"]["quota_bytes"],
        created_at=document["created_at"],
        over_quota_since=document.get("over_quota_since"),
        retention=read_rule(document),
        own_limits=read_limits(document["limits"]),
        enabled_2fa=tuple(Factor(name) for name in document.get("enabled_2fa", ())),
        disabled_protocols=frozenset(Protocol(name) for name in document.get("disabled_protocols", ())),
        password_change_needed=document.get("password_change_needed", False),
        settings=UserSettings.read(document.get("settings") or {}),
        autoreply_version=_autoreply_version(document),
        encryption=Encryption.read(document.get("encryption")),
        filters_version=read_version(document, FILTERS),
        smarthost=read_smarthost(document),
        is_shared=document.get("is_shared", False),
        sending_hold=read_hold(document),
    )


def _autoreply_version(document: Document) -> int:
    autoreply = document.get("autoreply")
    return autoreply["version"] if autoreply and autoreply["is_on"] else 0
