"""`tenants`: state, region, limits and the sealed key that addresses a tenant's attachments."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from datetime import timedelta

from bson import ObjectId
from pymongo.database import Database
from pymongo.errors import DuplicateKeyError

from mailcore.model.access import Protocol
from mailcore.model.features import Feature, read_features
from mailcore.model.ids import TenantId, UserId
from mailcore.model.retention import RetentionRule
from mailcore.model.sending import ForeignSender
from mailcore.model.tenant import ManagedBy, Standing, State, StoredSmarthost, Tenant, TenantLimits
from mailcore.store.client import Document
from mailcore.store.directory.retention_rules import HOLD, read_rule, rule_update
from mailcore.store.directory.sending_holds import read_hold
from mailcore.store.directory.smarthosts import read_smarthost, smarthost_update
from mailcore.store.directory.told_versions import (
    DOMAIN_ACCESS,
    FILTERS,
    announced,
    earlier,
    read_version,
    settled,
)
from mailcore.store.directory.user_limits import limit_change, read_limits, read_sending_limits
from mailcore.store.guard import deadline
from mailcore.store.owned import OwnedCollection

PAGE = 1000
LATEST_USERS = 64
"""How many are kept of those who took the latest turns: more than are ever added at once."""


def name_key(name: str) -> str:
    """Return what two names that people would take for one have in common."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


class Tenants:
    """One document for each tenant; the tenant is its own owner."""

    def __init__(self, directory: Database[Document]) -> None:
        self._collection = OwnedCollection(directory["tenants"], "_id", ObjectId)

    def insert(self, tenant: Tenant) -> bool:
        """Store a new tenant; False if the name is taken."""
        try:
            with deadline():
                self._collection.insert_one(
                    {
                        "_id": tenant.id,
                        "name": tenant.name,
                        "name_key": name_key(tenant.name),
                        "region": tenant.region,
                        "home_shard": tenant.home_shard,
                        "state": tenant.state.value,
                        "managed_by": tenant.managed_by.value,
                        "content_key": tenant.content_key,
                        "limits": {"users": tenant.limits.users, "quota_bytes": tenant.limits.quota_bytes},
                        "created_at": tenant.created_at,
                    }
                )
        except DuplicateKeyError:
            return False
        return True

    def find(self, tenant_id: TenantId) -> Tenant | None:
        """Return the tenant, or None."""
        with deadline():
            document = self._collection.find_one({"_id": tenant_id})
        return None if document is None else _tenant(document)

    def find_by_name(self, name: str) -> Tenant | None:
        """Return the tenant of that name, whatever its case, or None."""
        collection = self._collection.across_owners("the name establishes the owner")
        with deadline():
            document = collection.find_one({"name_key": name_key(name)})
        return None if document is None else _tenant(document)

    def list_all(self, after: TenantId | None = None) -> list[Tenant]:
        """Return a page of tenants by id, those after `after`."""
        collection = self._collection.across_owners("the operator lists all tenants")
        query = {} if after is None else {"_id": {"$gt": after}}
        with deadline():
            return [_tenant(document) for document in collection.find(query).sort("_id", 1).limit(PAGE)]

    def set_state(self, tenant_id: TenantId, state: State) -> bool:
        """Change the state; False if there is no such tenant."""
        with deadline():
            result = self._collection.update_one({"_id": tenant_id}, {"$set": {"state": state.value}})
        return result.matched_count == 1

    def set_standing(self, tenant_id: TenantId, standing: Standing) -> bool:
        """Change what its users may do; False if there is no such tenant."""
        with deadline():
            result = self._collection.update_one({"_id": tenant_id}, {"$set": {"standing": standing.value}})
        return result.matched_count == 1

    def set_pays(self, tenant_id: TenantId, *, pays: bool) -> bool:
        """Note whether it pays; False if there is no such tenant."""
        with deadline():
            return self._collection.update_one({"_id": tenant_id}, {"$set": {"pays": pays}}).matched_count == 1

    def take_user_turn(self, tenant_id: TenantId, seen: int, user_id: UserId) -> bool:
        """Note that this user was added; False if somebody else added one since `seen`."""
        query = {"_id": tenant_id, "user_turn": seen or {"$exists": False}}
        latest = {"latest_users": {"$each": [user_id], "$slice": -LATEST_USERS}}
        with deadline():
            result = self._collection.update_one(query, {"$inc": {"user_turn": 1}, "$push": latest})
        return result.modified_count == 1

    def latest_users(self, tenant_id: TenantId) -> list[UserId]:
        """Return who took the latest turns; some may be gone since."""
        with deadline():
            document = self._collection.find_one({"_id": tenant_id}, {"latest_users": 1}) or {}
        return [UserId(each) for each in document.get("latest_users", [])]

    def set_cold_after(self, tenant_id: TenantId, cold_after: timedelta) -> bool:
        """Change how long attachments stay on the hot set; False if there is no such tenant."""
        seconds = int(cold_after.total_seconds())
        with deadline():
            result = self._collection.update_one({"_id": tenant_id}, {"$set": {"cold_after_s": seconds}})
        return result.matched_count == 1

    def set_limit(self, tenant_id: TenantId, name: str, value: int | None) -> bool:
        """Change one of `USER_LIMITS` for every user, or of `SENDING_LIMITS`; None: as the platform's.

        False if there is no such tenant.
        """
        with deadline():
            return self._collection.update_one({"_id": tenant_id}, limit_change(name, value)).matched_count == 1

    def set_plan_limit(self, tenant_id: TenantId, name: str, value: int | None) -> bool:
        """Change how many users, or how many bytes in all, a tenant may have; False if there is no such tenant."""
        assert name in {"users", "quota_bytes"}
        with deadline():
            result = self._collection.update_one({"_id": tenant_id}, {"$set": {f"limits.{name}": value}})
        return result.matched_count == 1

    def set_disabled_protocols(self, tenant_id: TenantId, protocols: frozenset[Protocol]) -> bool:
        """Switch protocols off for all users of a tenant, and all others on; False if there is no such tenant."""
        names = sorted(one.value for one in protocols)
        with deadline():
            result = self._collection.update_one({"_id": tenant_id}, {"$set": {"disabled_protocols": names}})
        return result.matched_count == 1

    def set_features(self, tenant_id: TenantId, features: Mapping[Feature, bool]) -> bool:
        """Say where a tenant's features are not as usual; False if there is no such tenant."""
        stored = {feature.value: is_on for feature, is_on in features.items()}
        with deadline():
            return self._collection.update_one({"_id": tenant_id}, {"$set": {"features": stored}}).matched_count == 1

    def set_foreign_sender(self, tenant_id: TenantId, value: ForeignSender) -> bool:
        """Say what becomes of mail in others' names; False if there is no such tenant."""
        with deadline():
            result = self._collection.update_one({"_id": tenant_id}, {"$set": {"foreign_sender": value.value}})
        return result.matched_count == 1

    def set_postmaster(self, tenant_id: TenantId, user_id: UserId | None) -> bool:
        """Say who gets mail for postmaster and abuse; False if there is no such tenant."""
        with deadline():
            result = self._collection.update_one({"_id": tenant_id}, {"$set": {"postmaster": user_id}})
        return result.matched_count == 1

    def announce(self, tenant_id: TenantId, what: str) -> bool:
        """Note that something kept apart is about to change; False if there is no such tenant."""
        with deadline():
            return self._collection.update_one({"_id": tenant_id}, announced(what)).matched_count == 1

    def settle(self, tenant_id: TenantId, what: str, version: int, *, acts: bool) -> None:
        """Note a version of it, unless a later one is noted, and whether it has a say."""
        with deadline():
            self._collection.update_one({"_id": tenant_id, **earlier(what, version)}, settled(what, version, acts))

    def set_journal(self, tenant_id: TenantId, user_id: UserId | None) -> bool:
        """Say who gets copies of all mail; False if there is no such tenant."""
        with deadline():
            result = self._collection.update_one({"_id": tenant_id}, {"$set": {"journal": user_id}})
        return result.matched_count == 1

    def set_smarthost(self, tenant_id: TenantId, smarthost: StoredSmarthost | None) -> bool:
        """Change through which server the tenant sends; False if there is no such tenant."""
        with deadline():
            return self._collection.update_one({"_id": tenant_id}, smarthost_update(smarthost)).matched_count == 1

    def set_retention(self, tenant_id: TenantId, rule: RetentionRule) -> bool:
        """Replace the tenant's retention rule; False if there is no such tenant."""
        with deadline():
            result = self._collection.update_one({"_id": tenant_id}, rule_update(rule))
        return result.matched_count == 1

    def set_legal_hold(self, tenant_id: TenantId, *, held: bool) -> bool:
        """Hold or release; False if there is no such tenant."""
        with deadline():
            result = self._collection.update_one({"_id": tenant_id}, {"$set": {HOLD: held}})
        return result.matched_count == 1

    def count_on_shard(self, shard: str) -> int:
        """Return how many tenants have their home on a shard."""
        collection = self._collection.across_owners("placement balances all tenants")
        with deadline():
            return collection.count_documents({"home_shard": shard})


def _tenant(document: Document) -> Tenant:
    limits = document["limits"]
    return Tenant(
        id=TenantId(document["_id"]),
        name=document["name"],
        region=document["region"],
        home_shard=document["home_shard"],
        state=State(document["state"]),
        managed_by=ManagedBy(document["managed_by"]),
        content_key=document["content_key"],
        created_at=document["created_at"],
        limits=TenantLimits(limits["users"], limits["quota_bytes"], read_limits(limits), read_sending_limits(limits)),
        cold_after=timedelta(seconds=document.get("cold_after_s", 0)),
        retention=read_rule(document),
        disabled_protocols=frozenset(Protocol(name) for name in document.get("disabled_protocols", ())),
        smarthost=read_smarthost(document),
        postmaster=document.get("postmaster"),
        foreign_sender=ForeignSender(document.get("foreign_sender", ForeignSender.REFUSE)),
        filters_version=read_version(document, FILTERS),
        domain_access_version=read_version(document, DOMAIN_ACCESS),
        journal=document.get("journal"),
        user_turn=int(document.get("user_turn", 0)),
        standing=Standing(document.get("standing", Standing.FULL)),
        used_bytes=(document.get("use") or {}).get("bytes", 0),
        used_at=(document.get("use") or {}).get("at"),
        pays=document.get("pays"),
        sending_hold=read_hold(document),
        features=read_features(document.get("features") or {}),
    )
