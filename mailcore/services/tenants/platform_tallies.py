"""Numbers of the platform itself by hour and day, for staff's charts: bounded in names, and in time by their expiry.

A job measures every few minutes. A measurement that is lost is a gap that the next one closes; two at once may count
what rose meanwhile twice.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from mailcore.errors import StoreUnavailable
from mailcore.model.event import PLATFORM
from mailcore.model.platform_tally import Measured, Numbers, merged, named, risen
from mailcore.model.tally import DAY_S, HOUR_S, Counted, Sum, hour_of, start_of
from mailcore.services.tenants.rollups import DAYS_KEPT, HOURS_KEPT
from mailcore.store.directory import Directory
from mailcore.store.placement import Placement
from mailcore.store.set_state import state_of
from mailcore.store.shard import ShardStores
from mailcore.store.user.rollups import Span

log = logging.getLogger(__name__)

COUNTERS_KEPT: Final = timedelta(days=2)
DAY_HOURS: Final = DAY_S // HOUR_S
OUTCOMES: Final[Mapping[Measured, tuple[Counted, ...]]] = {
    Measured.REFUSED: (Counted.UNKNOWN, Counted.REFUSED),
    Measured.SENT: (Counted.SENT,),
    Measured.FAILED: (Counted.FAILED,),
    Measured.COMPLAINED: (Counted.COMPLAINED,),
}
"""What tenants' days are summed up to."""


class PlatformTallies:
    """Measures and reads."""

    def __init__(self, directory: Directory, placement: Placement) -> None:
        self._directory = directory
        self._placement = placement

    def measure(self, at: datetime, gauges: Numbers, counters: Numbers) -> None:
        """Note how it stands with every shard, and what the caller measured: `counters` rise since something started.

        Seven round trips for each shard, two for a thousand of its tenants, a dozen to the directory. A shard that is
        away is counted as such.

        Raises:
            StoreUnavailable: the directory does not answer; the next run goes on.
        """
        found, all_counters = dict(gauges), dict(counters)
        users = self._directory.users.counts_of_shards()
        for shard in self._placement.shards():
            found[named(Measured.USERS, shard.name)] = users.get(shard.name, 0)
            try:
                found |= self._of_queue(shard, at)
                found[named(Measured.AWAY, shard.name)] = 0
            except StoreUnavailable as error:
                log.warning("platform.shard_away", extra={"shard": shard.name, "reason": type(error).__name__})
                found[named(Measured.AWAY, shard.name)] = 1
                continue
            try:
                found |= self._of_sets(shard, all_counters)
            except StoreUnavailable as error:  # one that answers may still not be asked this
                log.warning("platform.set_silent", extra={"shard": shard.name, "reason": type(error).__name__})
        hour = hour_of(at)
        rose = self._risen(hour, all_counters)
        day = hour - hour % DAY_HOURS
        self._add(Span.HOUR, hour, {**found, **rose}, HOURS_KEPT)
        self._add(Span.DAY, day, {**found, **rose}, DAYS_KEPT)
        for one in (day - DAY_HOURS, day):  # what was counted late belongs to yesterday
            self._add(Span.DAY, one, self._outcomes(one), DAYS_KEPT)

    def hours(self, since: datetime) -> list[Sum]:
        """Return what was measured in each hour since then; one round trip."""
        return self._directory.rollups.find(PLATFORM, Span.HOUR, since)

    def days(self, since: datetime) -> list[Sum]:
        """Return what was measured on each day since then, in UTC; one round trip."""
        return self._directory.rollups.find(PLATFORM, Span.DAY, since)

    def _of_queue(self, shard: ShardStores, at: datetime) -> dict[str, int]:
        backlog = shard.outbound.backlog()
        oldest_s = 0 if backlog.oldest_at is None else max(0, int((at - backlog.oldest_at).total_seconds()))
        return {
            named(Measured.WAITING, shard.name): backlog.waiting,
            named(Measured.TRIED, shard.name): backlog.tried,
            named(Measured.OLDEST_S, shard.name): oldest_s,
        }

    def _of_sets(self, shard: ShardStores, counters: dict[str, int]) -> dict[str, int]:
        hot, cold = state_of(shard.hot), state_of(shard.cold)
        counters[f"{named(Measured.OPERATIONS, shard.name)}:{hot.process}"] = hot.operations
        return {
            named(Measured.HOT_BYTES, shard.name): hot.size_bytes,
            named(Measured.COLD_BYTES, shard.name): cold.size_bytes,
            named(Measured.LAG_S, shard.name): hot.lag_s,
        }

    def _risen(self, hour: int, counters: Numbers) -> dict[str, int]:
        """Return by how much each counter rose since the last measurement, by its name without who counted."""
        rollups = self._directory.rollups
        known = rollups.find(PLATFORM, Span.COUNTERS, start_of(hour) - COUNTERS_KEPT)
        rollups.put(PLATFORM, Span.COUNTERS, [(hour, counters)], COUNTERS_KEPT)
        rose: Counter[str] = Counter()
        if known:  # of the first measurement nobody knows since when
            for name, number in risen(known[-1].counts, counters).items():
                rose[":".join(name.split(":")[:2])] += number
        return dict(rose)

    def _add(self, span: Span, hour: int, numbers: Numbers, kept: timedelta) -> None:
        before = self._directory.rollups.find(PLATFORM, span, start_of(hour))
        counts = before[0].counts if before and before[0].at == start_of(hour) else {}
        self._directory.rollups.put(PLATFORM, span, [(hour, merged(counts, numbers))], kept)

    def _outcomes(self, day: int) -> dict[str, int]:
        """Return what became of mail of all tenants on a day, as far as shards answer."""
        totals: Counter[str] = Counter()
        after = None
        while page := self._directory.tenants.list_all(after):
            after = page[-1].id
            for shard in self._placement.shards():
                here = [tenant.id for tenant in page if tenant.home_shard == shard.name]
                if here:
                    totals.update(shard.rollups.total(here, Span.DAY, day))
        return {named(what): sum(totals[one] for one in counted) for what, counted in OUTCOMES.items()}
