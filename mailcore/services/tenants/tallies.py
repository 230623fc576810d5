"""Counts of what happens to a tenant's mail and sign-ins, gathered in memory and written every few seconds.

Nobody waits for it. A process writes the whole of what it counted for a tenant in an hour, under a tag of its own, so
that writing again changes nothing, and a shard that is away gets it later; what a process that dies has not written
is lost.
"""

from __future__ import annotations

import logging
import secrets
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from mailcore.errors import AddressNotFound, LimitExceeded, MailError, NotFound, OverQuota, Unavailable
from mailcore.metrics import Tally as Metric
from mailcore.model.address import domain_name
from mailcore.model.ids import TenantId
from mailcore.model.tally import Counted, hour_of
from mailcore.services.process.clock import now
from mailcore.store.placement import Placement
from mailcore.store.user.tallies import Tally

log = logging.getLogger(__name__)

DROPPED = Metric("eider_tallies_dropped", "What was not counted for tenants")
FLUSH_S: Final = 5.0
KEPT: Final = timedelta(days=8)
"""So long sums can still be made of them."""
MOST: Final = 20_000
"""Hours of tenants that a process has in memory."""
MOST_DOMAINS: Final = 1000
"""Domains of refused addresses between two writings: who makes them up gets no more of us."""
BATCH: Final = 500

Spawn = Callable[[Callable[[], None]], object]


@dataclass(slots=True)
class _Hour:
    """What this process counted for a tenant in an hour; once forgotten, what comes late has a tag of its own."""

    tag: str = field(default_factory=lambda: secrets.token_hex(4))
    counts: Counter[str] = field(default_factory=Counter)
    is_written: bool = False


class Tallies:
    """Counts, and writes what it counted."""

    def __init__(self, placement: Placement, clock: Callable[[], datetime] = now) -> None:
        self._placement = placement
        self._clock = clock
        self._hours: dict[tuple[TenantId, int], _Hour] = {}
        self._refused: Counter[tuple[str, int, Counted]] = Counter()
        """By domains, whose tenants are found when it is written."""
        self._lock = threading.Lock()
        self._is_waiting = threading.Event()
        """Whether something is to be written."""
        self._closed = threading.Event()

    # -- counting -----------------------------------------------------------------------------

    def add(self, tenant_id: TenantId, what: str, count: int = 1, at: datetime | None = None) -> None:
        """Count for a tenant; never waits and never raises."""
        with self._lock:
            self._add(tenant_id, hour_of(at or self._clock()), what, count)

    def arrived(self, tenant_id: TenantId, error: MailError | None, *, is_spam: bool) -> None:
        """Count what a message for one address of a tenant was answered."""
        self.add(tenant_id, Counted.DELIVERED if error is None else outcome_of(error))
        if is_spam and error is None:
            self.add(tenant_id, Counted.SPAM)

    def refused(self, address: str, error: MailError) -> None:
        """Count that an address was refused before there was a message; by its domain, for it may be nobody's."""
        key = address.rpartition("@")[2].lower()[:255], hour_of(self._clock()), outcome_of(error)
        with self._lock:
            if key in self._refused or len(self._refused) < MOST_DOMAINS:
                self._refused[key] += 1
                self._is_waiting.set()
            else:
                DROPPED.inc()

    def _add(self, tenant_id: TenantId, hour: int, what: str, count: int) -> None:
        known = self._hours.get((tenant_id, hour))
        if known is None:
            if len(self._hours) >= MOST:
                DROPPED.inc(by=count)
                return
            known = self._hours[tenant_id, hour] = _Hour()
        known.counts[str(what)] += count
        known.is_written = False
        self._is_waiting.set()

    # -- writing ------------------------------------------------------------------------------

    def flush(self) -> int:
        """Write what was counted, and return for how many hours of tenants; what cannot be written waits.

        One round trip for each shard and 500 of them, and one to the directory where addresses were refused.
        """
        self._is_waiting.clear()
        self._find_owners()
        with self._lock:
            waiting = [
                Tally(tenant_id, hour, each.tag, dict(each.counts))
                for (tenant_id, hour), each in self._hours.items()
                if not each.is_written
            ]
            for tally in waiting:
                self._hours[tally.tenant_id, tally.hour].is_written = True
        written = 0
        for name, tallies in self._by_shard(waiting).items():
            for start in range(0, len(tallies), BATCH):
                written += self._write(name, tallies[start : start + BATCH])
        self._forget()
        return written

    def start(self, spawn: Spawn) -> None:
        """Write a few seconds after whatever is counted from now on, in a greenlet or thread that `spawn` makes."""
        spawn(self._flush_forever)

    def close(self) -> None:
        """Write what is left."""
        self._closed.set()
        self.flush()
        self._is_waiting.set()

    def _flush_forever(self) -> None:
        while not self._closed.is_set():
            self._is_waiting.wait()
            if not self._closed.wait(FLUSH_S):
                self.flush()

    def _find_owners(self) -> None:
        """Count refusals for the tenants whose the domains are."""
        with self._lock:
            refused, self._refused = self._refused, Counter()
        names = {name for domain, _, _ in refused if (name := _ascii(domain))}
        if not names:
            return
        try:
            found = self._placement.directory.domains.find_by_names(names)
        except MailError as error:
            log.info("tallies.wait", extra={"reason": type(error).__name__})
            with self._lock:
                self._refused.update(dict(refused.most_common(MOST_DOMAINS)))
            self._is_waiting.set()
            return
        with self._lock:
            for (domain, hour, what), count in refused.items():
                owner = found.get(_ascii(domain))
                if owner is not None and owner.verified_at is not None:
                    self._add(owner.tenant_id, hour, what, count)

    def _by_shard(self, waiting: Sequence[Tally]) -> dict[str, list[Tally]]:
        by_shard: dict[str, list[Tally]] = defaultdict(list)
        for tally in waiting:
            try:
                by_shard[self._placement.tenant(tally.tenant_id).home_shard].append(tally)
            except NotFound:
                continue  # removed since
            except MailError:
                self._put_back([tally])
        return by_shard

    def _write(self, shard: str, tallies: Sequence[Tally]) -> int:
        try:
            self._placement.shard(shard).tallies.put(tallies, KEPT)
        except MailError as error:
            log.info("tallies.wait", extra={"shard": shard, "reason": type(error).__name__})
            self._put_back(tallies)
            return 0
        return len(tallies)

    def _put_back(self, tallies: Sequence[Tally]) -> None:
        with self._lock:
            for tally in tallies:
                self._hours[tally.tenant_id, tally.hour].is_written = False
        self._is_waiting.set()

    def _forget(self) -> None:
        """Let go of hours that are over and written, and of those that nobody can write any more."""
        current = hour_of(self._clock())
        oldest = current - int(KEPT.total_seconds()) // 3600
        with self._lock:
            gone = [
                key for key, each in self._hours.items() if (each.is_written and key[1] < current) or key[1] <= oldest
            ]
            for key in gone:
                del self._hours[key]


def outcome_of(error: MailError) -> Counted:
    """Return as what a refusal is counted."""
    if isinstance(error, AddressNotFound):
        return Counted.UNKNOWN
    if isinstance(error, OverQuota):
        return Counted.FULL
    if isinstance(error, (Unavailable, LimitExceeded)):
        return Counted.DEFERRED
    return Counted.REFUSED


def _ascii(domain: str) -> str:
    """Return a domain as it is stored, "" if it is none."""
    try:
        return domain_name(domain)
    except MailError:
        return ""
