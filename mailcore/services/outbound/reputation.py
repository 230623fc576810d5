"""Bounce and complaint rates: what became of the mail that people sent, counted by the hour for each user.

Counts are gathered in memory and written a moment later, one write for all of a shard, so that no message waits for
them; what a process that dies has not written is lost. Only what another service answered us counts, or a report that
brought back a mark of ours: nobody else can say anything about a tenant.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

from mailcore.errors import MailError
from mailcore.metrics import Tally
from mailcore.model.ids import TenantId, UserId
from mailcore.model.outbound import Answer
from mailcore.model.reputation import Counts, Fate, Rates, together
from mailcore.services.process.clock import now
from mailcore.store.directory import Directory
from mailcore.store.placement import Placement
from mailcore.store.shard import ShardStores
from mailcore.store.user.sending_counts import Row, hour_of

log = logging.getLogger(__name__)

LOST: Final = Tally("eider_sending_counts_lost", "Counts of sent mail that could not be written")
FLUSH_S: Final = 2.0
DAY: Final = timedelta(days=1)
WEEK: Final = timedelta(days=7)
EVER: Final = datetime(1970, 1, 1, tzinfo=UTC)
TOGETHER = 200
"""Tenants that are looked at together."""
_NOT_ITS_FAULT: Final = ("5.3.", "5.4.", "5.5.")
"""Statuses of systems, ways and protocols (RFC 3463 §3): they say nothing about addresses or content."""

Users = dict[UserId, Rates]


class Reputation:
    """Counts, and tells rates."""

    def __init__(self, directory: Directory, placement: Placement) -> None:
        self._directory = directory
        self._placement = placement
        self._waiting: Counter[tuple[TenantId, int, UserId, Fate]] = Counter()
        self._is_waiting = threading.Event()
        self._lock = threading.Lock()
        self._closed = threading.Event()

    # -- counting ---------------------------------------------------------------------------

    def note(self, tenant_id: TenantId, user_id: UserId, fate: Fate, count: int = 1) -> None:
        """Count; never waits and never raises."""
        with self._lock:
            self._waiting[tenant_id, hour_of(now()), user_id, fate] += count
        self._is_waiting.set()

    def flush(self) -> None:
        """Write what was counted, one round trip for each shard; a shard that is away loses its own."""
        self._is_waiting.clear()
        with self._lock:
            waiting, self._waiting = self._waiting, Counter()
        by_shard: dict[str, dict[Row, dict[Fate, int]]] = defaultdict(lambda: defaultdict(dict))
        for (tenant_id, hour, user_id, fate), count in waiting.items():
            try:
                home = self._placement.tenant(tenant_id).home_shard
            except MailError as error:
                self._lose(count, error)
            else:
                by_shard[home][tenant_id, hour, user_id][fate] = count
        for name, counted in by_shard.items():
            try:
                self._placement.shard(name).sending_counts.add(counted)
            except MailError as error:
                self._lose(sum(sum(counts.values()) for counts in counted.values()), error)

    def start(self, spawn: Callable[[Callable[[], None]], object]) -> None:
        """Write two seconds after whatever is counted from now on, in a greenlet or thread that `spawn` makes."""
        spawn(self._flush_forever)

    def close(self) -> None:
        """Write what is left."""
        self._closed.set()
        self.flush()
        self._is_waiting.set()

    # -- reading ----------------------------------------------------------------------------

    def of_tenant(self, tenant_id: TenantId) -> Rates:
        """Return the rates of a tenant, all users together; two round trips."""
        return together(self.of_users(tenant_id).values())

    def of_users(self, tenant_id: TenantId, not_before: datetime = EVER) -> Users:
        """Return the rates of each user of a tenant of whom anything was counted this week; two round trips."""
        counts, at = self._shard(tenant_id).sending_counts, now()
        day, week = (counts.by_user(tenant_id, max(at - window, not_before)) for window in (DAY, WEEK))
        return {user_id: Rates(day.get(user_id, Counts()), sums) for user_id, sums in week.items()}

    def by_hour(self, tenant_id: TenantId, since: datetime) -> list[tuple[datetime, Counts]]:
        """Return what was counted of a tenant for each hour since then, nine days at most; one round trip."""
        return self._shard(tenant_id).sending_counts.by_hour(tenant_id, since)

    def counting(self, tenant_id: TenantId) -> tuple[Users, Users]:
        """Return the rates of a tenant's users as they count for a hold of each, and for one of the tenant.

        What was counted before a hold was ended counts no more. Four round trips, and two for each hold that was ended
        within the week.
        """
        fresh = self._directory.sending_holds.fresh_starts(tenant_id, now() - WEEK)
        own = self.of_users(tenant_id)
        joint = self.of_users(tenant_id, fresh[None]) if None in fresh else dict(own)
        for user_id in own.keys() & fresh.keys():
            own[user_id] = self.of_users(tenant_id, fresh[user_id]).get(user_id, Rates())
            if fresh[user_id] > fresh.get(None, EVER):
                joint[user_id] = own[user_id]
        return own, joint

    def troubled(self, since: datetime) -> Iterator[TenantId]:
        """Yield every tenant of whose mail anything bad was counted since then; a round trip for each 200 of a shard.

        A shard that does not answer is left out.
        """
        for shard in self._placement.shards():
            for page in self._pages(shard, since):
                yield from page

    def of_troubled(self) -> Iterator[tuple[TenantId, Users]]:
        """Yield tenants with any trouble this week and the rates of their users, as `troubled`; three round trips."""
        at = now()
        for shard in self._placement.shards():
            for tenants in self._pages(shard, at - WEEK):
                week = shard.sending_counts.of_tenants(tenants, at - WEEK)
                day = shard.sending_counts.of_tenants(tenants, at - DAY)
                found: dict[TenantId, Users] = {}
                for (tenant_id, user_id), sums in week.items():
                    found.setdefault(tenant_id, {})[user_id] = Rates(day.get((tenant_id, user_id), Counts()), sums)
                yield from found.items()

    # -- parts ------------------------------------------------------------------------------

    def _pages(self, shard: ShardStores, since: datetime) -> Iterator[list[TenantId]]:
        after: TenantId | None = None
        try:
            while page := shard.sending_counts.troubled(since, after, TOGETHER):
                yield page
                after = page[-1]
        except MailError as error:
            log.warning("reputation.shard_away", extra={"shard": shard.name, "reason": type(error).__name__})

    def _shard(self, tenant_id: TenantId) -> ShardStores:
        return self._placement.shard(self._placement.tenant(tenant_id).home_shard)

    def _flush_forever(self) -> None:
        while not self._closed.is_set():
            self._is_waiting.wait()
            if not self._closed.wait(FLUSH_S):
                self.flush()

    def _lose(self, count: int, error: MailError) -> None:
        LOST.inc(by=count)
        log.warning("reputation.lost", extra={"counts": count, "reason": type(error).__name__})


def is_bounce(answer: Answer) -> bool:
    """Whether a refusal for good says something about the sender: an address that is no good, mail nobody wants."""
    return answer.is_final and not answer.enhanced.startswith(_NOT_ITS_FAULT)


def badness(rates: Rates) -> tuple[float, float, int]:
    """Return by what senders are ordered: complaints weigh most, then bounces, then limits that were reached."""
    week = rates.week
    return (week.complaint_rate * min(week.complained, 10), week.bounce_rate * min(week.bounced, 20), week.limited)
