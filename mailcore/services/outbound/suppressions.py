"""The suppression list: after a hard bounce or a complaint a tenant's mail to that address is not sent for a while.

Who goes on writing to addresses that do not exist is taken for a spammer, and everybody's mail suffers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from mailcore.errors import AddressNotFound
from mailcore.model.actor import Actor
from mailcore.model.ids import TenantId
from mailcore.model.limits import OutboundLimits
from mailcore.services.events.audit import Audit
from mailcore.store.placement import Placement
from mailcore.store.shard import ShardStores

HARD_BOUNCES: Final = frozenset({"5.1.1", "5.1.3", "5.1.6", "5.1.10", "5.2.1"})
"""Statuses of RFC 3463 (and RFC 7505) that say that the address is no good, whatever the message is."""
COMPLAINED_OF: Final = re.compile(r"reported as \S+ by its owner")
"""The reason of an address whose owner complained."""
MOST: Final = 1000


@dataclass(frozen=True, slots=True)
class Suppression:
    """Why nothing is sent to an address, and until when."""

    address: str
    reason: str
    queue_id: str
    """Of the message that bounced or was complained of; "" if an administrator wants it."""
    at: datetime
    expires_at: datetime


class Suppressions:
    """Keeps each tenant's list."""

    def __init__(self, placement: Placement, audit: Audit, limits: OutboundLimits) -> None:
        self._placement = placement
        self._audit = audit
        self._limits = limits

    def note_bounce(self, tenant_id: TenantId, address: str, enhanced: str, text: str, queue_id: str) -> bool:
        """Suppress an address if a status says that it is no good; tell whether it does."""
        if enhanced not in HARD_BOUNCES:
            return False
        kept = timedelta(seconds=self._limits.suppressed_s)
        self._shard(tenant_id).suppressions.add(tenant_id, address, f"{enhanced} {text}"[:500], queue_id, kept)
        return True

    def note_complaint(self, tenant_id: TenantId, address: str, kind: str, queue_id: str) -> None:
        """Suppress an address whose owner complained of a message."""
        kept = timedelta(seconds=self._limits.complained_s)
        reason = f"reported as {kind} by its owner"  # as COMPLAINED_OF
        self._shard(tenant_id).suppressions.add(tenant_id, address, reason[:500], queue_id, kept)

    def among(self, tenant_id: TenantId, addresses: Iterable[str]) -> dict[str, Suppression]:
        """Return those of these addresses that are suppressed, case folded; one round trip."""
        rows = self._shard(tenant_id).suppressions.among(tenant_id, list(addresses))
        return {row["address"].casefold(): _suppression(row) for row in rows}

    def list_of(self, tenant_id: TenantId, after: str = "", limit: int = 100) -> list[Suppression]:
        """Return a page of a tenant's list; `after` is the last address of the page before."""
        rows = self._shard(tenant_id).suppressions.list_of(tenant_id, after, min(limit, MOST))
        return [_suppression(row) for row in rows]

    def add(self, actor: Actor, tenant_id: TenantId, address: str, reason: str) -> None:
        """Suppress an address by hand."""
        kept = timedelta(seconds=self._limits.suppressed_s)
        with self._audit.of_tenant(actor, "suppression.added", tenant_id, {"address": address, "reason": reason}):
            self._shard(tenant_id).suppressions.add(tenant_id, address, reason[:500], "", kept)

    def remove(self, actor: Actor, tenant_id: TenantId, address: str) -> None:
        """Send to an address again.

        Raises:
            AddressNotFound: it is not on the list.
        """
        with self._audit.of_tenant(actor, "suppression.removed", tenant_id, {"address": address}):
            if not self._shard(tenant_id).suppressions.remove(tenant_id, address):
                raise AddressNotFound(f"{address} is not suppressed")

    def _shard(self, tenant_id: TenantId) -> ShardStores:
        return self._placement.shard(self._placement.tenant(tenant_id).home_shard)


def _suppression(row: Mapping[str, Any]) -> Suppression:
    return Suppression(row["address"], row["reason"], row["queue_id"], row["at"], row["expires_at"])
