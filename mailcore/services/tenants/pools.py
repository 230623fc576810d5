"""Pools: what all users of a tenant may store together, on what they really use.

The use of every tenant is summed up by a job and kept in its document, which whoever takes mail has in memory anyway:
to see that a pool is full costs no round trip. Between two sums processes take room from that document (`pool_room`);
what is deleted makes room at the next sum.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from mailcore.errors import TenantNotFound, ValueInvalid
from mailcore.model.actor import Actor
from mailcore.model.ids import TenantId, UserId
from mailcore.services.events.audit import Audit
from mailcore.services.process.clock import now
from mailcore.store.directory import Directory
from mailcore.store.message.chunks import Tier
from mailcore.store.placement import Placement


@dataclass(frozen=True, slots=True)
class Stored:
    """What a tenant's mail takes on each kind of disk."""

    hot_bytes: int
    cold_bytes: int


class Pools:
    """Sets pools and sums up what is used of them."""

    def __init__(self, directory: Directory, placement: Placement, audit: Audit) -> None:
        self._directory = directory
        self._placement = placement
        self._audit = audit

    def set_quota(self, actor: Actor, tenant_id: TenantId, quota_bytes: int | None) -> None:
        """Change how much all users of a tenant may store together; None is without limit.

        Raises:
            ValueInvalid: not a positive number of bytes.
            TenantNotFound: there is none.
        """
        self._set(actor, tenant_id, "quota_bytes", quota_bytes)

    def set_max_users(self, actor: Actor, tenant_id: TenantId, users: int | None) -> None:
        """Change how many users a tenant may have; None is without limit. Those that are there stay.

        Raises:
            ValueInvalid: not a positive number.
            TenantNotFound: there is none.
        """
        self._set(actor, tenant_id, "users", users)

    def _set(self, actor: Actor, tenant_id: TenantId, name: str, value: int | None) -> None:
        if value is not None and value <= 0:
            raise ValueInvalid("a limit of a tenant is a positive number")
        with self._audit.of_tenant(actor, "tenant.limit", tenant_id, {"limit": name, "value": value}) as change:
            change.before["value"] = getattr(self._placement.tenant(tenant_id).limits, name)
            if not self._directory.tenants.set_plan_limit(tenant_id, name, value):
                raise TenantNotFound(tenant_id)
        self._placement.forget_tenant(tenant_id)

    def tiers(self, tenant_id: TenantId) -> Stored:
        """Return what lies where: attachments on the cold set once for the tenant, all else as users are counted.

        Reads the heads of its users and the headers of its attachments.

        Raises:
            TenantNotFound: there is none.
        """
        users = self._users(tenant_id)
        used = cold = 0
        for shard in self._placement.shards():
            used += sum(shard.sizes.of_users(users).values())
            cold += sum(blob.size for blob in shard.blobs.of_tenant(tenant_id) if blob.tier is Tier.COLD)
        return Stored(max(0, used - cold), cold)

    def used(self, tenant_id: TenantId) -> int:
        """Return the bytes that all users of a tenant store now; reads their heads.

        Raises:
            TenantNotFound: there is none.
        """
        users = self._users(tenant_id)
        return sum(sum(shard.sizes.of_users(users).values()) for shard in self._placement.shards())

    def _users(self, tenant_id: TenantId) -> list[UserId]:
        self._placement.tenant(tenant_id)
        users: list[UserId] = []
        while page := self._directory.users.list_of_tenant(tenant_id, users[-1] if users else None):
            users += [user.id for user in page]
        return users

    def sum_up(self) -> int:
        """Note what the mail of every tenant takes now, and return of how many; reads every head of every shard once.

        Raises:
            StoreUnavailable: a shard did not answer; nothing is noted, the former sums stay.
        """
        self._directory.pool_use.begin_sum()
        by_user: Counter[UserId] = Counter()
        for shard in self._placement.shards():
            for user_id, size_bytes in shard.sizes.each():
                by_user[user_id] += size_bytes
        used: Counter[TenantId] = Counter()
        for user_id, tenant_id in self._directory.users.tenants_of_all():
            used[tenant_id] += by_user[user_id]
        self._directory.pool_use.note(used, now())
        for tenant_id in used:
            self._placement.forget_tenant(tenant_id)
        return len(used)
