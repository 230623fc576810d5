"""Sums by hour and by day of what was counted for tenants, and what their mail takes: for charts.

Sums are written whole, out of all that was counted in an hour or a day, and what was looked at is noted last: a run
that dies is done again with the same outcome, and what is counted late is summed up again.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Final

from mailcore import fault
from mailcore.errors import MailError
from mailcore.metrics import Tally
from mailcore.model.ids import TenantId
from mailcore.model.tally import AGE_DAYS, AGES, DAY_S, HOUR_S, Stored, Sum, hour_of
from mailcore.model.tenant import Tenant
from mailcore.services.process.clock import now
from mailcore.services.tenants.pools import Pools
from mailcore.services.tenants.tallies import KEPT as COUNTS_KEPT
from mailcore.store.directory import Directory
from mailcore.store.placement import Placement
from mailcore.store.shard import ShardStores
from mailcore.store.user.rollups import Span

log = logging.getLogger(__name__)

UNMEASURED: Final = Tally("eider_tenants_not_measured", "Tenants whose storage could not be measured in a run")
HOURS_KEPT: Final = timedelta(days=15)
DAYS_KEPT: Final = timedelta(days=400)
BEGINNING: Final = datetime(1970, 1, 1, tzinfo=UTC)
OVERLAP: Final = timedelta(minutes=2)
"""A change may be seen later than another that is newer by so much."""
MEASURED_AGAIN: Final = timedelta(hours=5)
DAY_HOURS: Final = DAY_S // HOUR_S
MONTHS: Final = [timedelta(days=AGE_DAYS * month) for month in range(AGES)]

_Day = tuple[TenantId, int]


class Rollups:
    """Makes sums, and reads them."""

    def __init__(self, directory: Directory, placement: Placement, pools: Pools) -> None:
        self._directory = directory
        self._placement = placement
        self._pools = pools

    # -- making them --------------------------------------------------------------------------

    def sum_up(self, shard_name: str) -> int:
        """Sum up every hour and day of a shard's tenants in which something was counted since the last run.

        Returns how many days of tenants that were. Three round trips for each of them.

        Raises:
            StoreUnavailable: the next run goes on.
        """
        shard = self._placement.shard(shard_name)
        mark, oldest, days = shard.rollups.mark() or BEGINNING, hour_of(now() - COUNTS_KEPT) + DAY_HOURS, 0
        for page in shard.tallies.changed_since(mark - OVERLAP):
            changed: dict[_Day, set[int]] = defaultdict(set)
            for each in page:
                if each.hour >= oldest:  # of days before that some hours have expired
                    changed[each.tenant_id, each.hour // DAY_HOURS].add(each.hour)
            for (tenant_id, day), hours in changed.items():
                self._sum_up_day(shard, tenant_id, day, hours)
            days += len(changed)
            fault.hit("rollups.before_mark")
            shard.rollups.set_mark(page[-1].at)
        return days

    def _sum_up_day(self, shard: ShardStores, tenant_id: TenantId, day: int, hours: Iterable[int]) -> None:
        first = day * DAY_HOURS
        found = shard.tallies.of_hours(tenant_id, first, first + DAY_HOURS - 1)
        shard.rollups.put(tenant_id, Span.HOUR, [(hour, found.get(hour, Counter())) for hour in hours], HOURS_KEPT)
        fault.hit("rollups.after_hours")
        total: Counter[str] = Counter()
        for counts in found.values():
            total.update(counts)
        shard.rollups.put(tenant_id, Span.DAY, [(first, total)], DAYS_KEPT)

    def measure(self) -> int:
        """Note what the mail of every tenant takes that was not measured for hours, and return of how many.

        A tenant of whom that cannot be known now is told of in log and metrics, and measured by the next run.

        Raises:
            StoreUnavailable: the directory does not answer.
        """
        measured, after = 0, None
        while page := self._directory.tenants.list_all(after):
            for tenant in page:
                try:
                    measured += self._measure_if_due(tenant)
                except MailError as error:
                    UNMEASURED.inc()
                    fields = {"tenant": str(tenant.id), "reason": type(error).__name__}
                    log.warning("rollups.not_measured", extra=fields)
            after = page[-1].id
        return measured

    def _measure_if_due(self, tenant: Tenant) -> bool:
        at = now()
        known = self._placement.shard(tenant.home_shard).rollups.find_stored(tenant.id, at - timedelta(days=2))
        if any(each.at > at - MEASURED_AGAIN for each in known):
            return False
        self.measure_tenant(tenant.id)
        return True

    def measure_tenant(self, tenant_id: TenantId) -> Stored:
        """Note what a tenant's mail takes now, and return it; reads its heads and the headers of its attachments.

        Raises:
            TenantNotFound: there is none.
        """
        at = now()
        tiers = self._pools.tiers(tenant_id)
        waiting = [0] * AGES
        for shard in self._placement.shards():
            for month, size_bytes in enumerate(shard.blobs.waiting(tenant_id, MONTHS, at)):
                waiting[month] += size_bytes
        day = at.replace(hour=0, minute=0, second=0, microsecond=0)
        stored = Stored(day, tiers.hot_bytes, tiers.cold_bytes, tuple(waiting), at)
        self._home(tenant_id).rollups.put_stored(tenant_id, stored, DAYS_KEPT)
        return stored

    # -- reading them -------------------------------------------------------------------------

    def hours(self, tenant_id: TenantId, since: datetime) -> list[Sum]:
        """Return the sums of a tenant's hours since then, those of nothing left out; one round trip.

        Raises:
            TenantNotFound: there is none.
        """
        return self._home(tenant_id).rollups.find(tenant_id, Span.HOUR, since)

    def days(self, tenant_id: TenantId, since: datetime) -> list[Sum]:
        """Return the sums of a tenant's days, in UTC, since then, those of nothing left out; one round trip.

        Raises:
            TenantNotFound: there is none.
        """
        return self._home(tenant_id).rollups.find(tenant_id, Span.DAY, since)

    def stored(self, tenant_id: TenantId, since: datetime) -> list[Stored]:
        """Return what a tenant's mail took on each day that it was measured on since then; one round trip.

        Raises:
            TenantNotFound: there is none.
        """
        return self._home(tenant_id).rollups.find_stored(tenant_id, since)

    def _home(self, tenant_id: TenantId) -> ShardStores:
        return self._placement.shard(self._placement.tenant(tenant_id).home_shard)
