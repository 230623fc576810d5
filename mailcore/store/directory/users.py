"""`users`: credentials, state, limits and place of every login."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bson import ObjectId
from pymongo.database import Database

from mailcore.model.access import Protocol
from mailcore.model.app_password import AppPassword
from mailcore.model.encryption import Encryption
from mailcore.model.factors import Factor
from mailcore.model.ids import TenantId, UserId
from mailcore.model.onward_target import OnwardTargets
from mailcore.model.tenant import State, User
from mailcore.model.user_settings import UserSettings
from mailcore.store import direct
from mailcore.store.client import Document
from mailcore.store.directory.app_passwords import read_app_passwords
from mailcore.store.directory.retention_rules import HOLD, read_rule
from mailcore.store.directory.sending_holds import read_hold
from mailcore.store.directory.smarthosts import read_smarthost
from mailcore.store.directory.told_versions import FILTERS, read_version
from mailcore.store.directory.user_limits import read_limits
from mailcore.store.guard import deadline
from mailcore.store.owned import OwnedCollection

PAGE = 1000
SCAN_S = 300.0
UNCLAIMED = "is_unclaimed"
"""The main address may not be the user's: it is not claimed yet, or was found to reach somebody else."""
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
        self._by_address = self._collection.across_owners("the main address establishes the owner")
        self._all = self._collection.across_owners("a rewritten reverse-path establishes the owner")
        self._listed = self._collection.across_owners("the platform lists the rules of every tenant")
        self._of_everybody = self._collection.across_owners("the job that expires mail looks at every user's settings")

    def insert(self, user: User, password_hash: str | None) -> None:
        """Store a new user, whose main address is yet to be claimed; its id is new, so nothing can be in the way."""
        with deadline():
            self._collection.insert_one(
                {
                    "_id": user.id,
                    "tenant": user.tenant_id,
                    "address": user.address,
                    UNCLAIMED: True,
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

    def find_by_main_address(self, shown: str) -> Credentials | None:
        """Return the user whose main address is shown just so, with its password hash; None unless just one has it.

        Whom an address reaches is written in `addresses`: who has not claimed it, and of two who show the same either,
        is not found here.
        """
        with deadline():
            found = direct.find_all(self._by_address, {"address": str(shown)}, _WITHOUT_FACTORS, 2)
        return _credentials(found[0]) if len(found) == 1 and UNCLAIMED not in found[0] else None

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

    def list_held(self, tenant_id: TenantId) -> list[User]:
        """Return the tenant's users who are under a legal hold of their own."""
        with deadline(30):
            found = self._collection.find({"tenant": tenant_id, HOLD: True}, WITHOUT_PASSWORD).sort("_id", 1)
            return [read_user(document) for document in found]

    def upgrade_hash(self, user_id: UserId, old_hash: str, new_hash: str) -> None:
        """Store the same password hashed with today's cost, unless it was changed meanwhile."""
        with deadline():
            self._collection.update_one({"_id": user_id, "password": old_hash}, {"$set": {"password": new_hash}})

    def delete(self, user_id: UserId) -> bool:
        """Remove the user's document; False if there was none."""
        with deadline():
            return self._collection.delete_one({"_id": user_id}).deleted_count == 1


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
        onward=OnwardTargets.read(document.get("onward")),
    )


def _autoreply_version(document: Document) -> int:
    autoreply = document.get("autoreply")
    return autoreply["version"] if autoreply and autoreply["is_on"] else 0
