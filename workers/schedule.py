"""The table of periodic jobs, and the loop that enqueues them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from redis import Redis
from redis.exceptions import RedisError

from workers.enqueue import enqueue

log = logging.getLogger(__name__)

TICK_S = 10.0
CLAIM_S = 60
"""So long a scheduler has to enqueue what it claimed; if it dies meanwhile, another does it then."""


@dataclass(frozen=True, slots=True)
class Periodic:
    """A job without arguments that is enqueued once in each period, however many schedulers run."""

    job: str
    every: timedelta

    def slot(self, now: float) -> int:
        """Return the number of the period that an instant lies in."""
        return int(now // self.every.total_seconds())


SCHEDULE = (
    Periodic("portal.reconcile", timedelta(minutes=1)),
    Periodic("portal.take_over_events", timedelta(minutes=1)),
    Periodic("portal.compare", timedelta(hours=1)),
    Periodic("domains.due", timedelta(minutes=1)),
    Periodic("domains.reconcile", timedelta(hours=1)),
    Periodic("features.all", timedelta(hours=1)),
    Periodic("webhooks.deliver", timedelta(seconds=10)),
    Periodic("reputation.watch", timedelta(minutes=1)),
    Periodic("posts.tell", timedelta(minutes=1)),
    Periodic("targets.mail", timedelta(minutes=1)),
    Periodic("audits.copy_due", timedelta(minutes=1)),
    Periodic("exports.make_due", timedelta(minutes=1)),
    Periodic("spam.learn", timedelta(minutes=1)),
    Periodic("certificates.renew", timedelta(minutes=1)),
    Periodic("pools.sum_up", timedelta(minutes=5)),
    Periodic("rollups.all", timedelta(minutes=5)),
    Periodic("rollups.platform", timedelta(minutes=5)),
    Periodic("billing.tick", timedelta(minutes=10)),
    Periodic("people.resume_imports", timedelta(minutes=10)),
    Periodic("demotion.all", timedelta(minutes=10)),
    Periodic("indexes.ensure", timedelta(minutes=15)),
    Periodic("dkim.check", timedelta(minutes=30)),
    Periodic("dns.check_mx", timedelta(minutes=15)),
    Periodic("users.erase_due", timedelta(minutes=15)),
    Periodic("dkim.rotate", timedelta(hours=1)),
    Periodic("expiry.all", timedelta(hours=1)),
    Periodic("rollups.measure", timedelta(hours=1)),
    Periodic("billing.meter", timedelta(hours=6)),
    Periodic("billing.compare", timedelta(days=1)),
    Periodic("sealing.rotate", timedelta(days=1)),
    Periodic("retention.all", timedelta(days=1)),
    Periodic("collection.all", timedelta(days=7)),
    Periodic("scrub.all", timedelta(days=28)),
)


def enqueue_due(connection: Redis, now: float) -> list[str]:
    """Enqueue what no scheduler has enqueued in this period yet, and return the names of those jobs.

    Whoever sets the period's key first enqueues, and only then keeps the key for the whole period.
    """
    enqueued: list[str] = []
    for periodic in SCHEDULE:
        key = f"eider:schedule:{periodic.job}:{periodic.slot(now)}"
        if connection.set(key, 1, nx=True, ex=CLAIM_S):
            enqueue(connection, periodic.job)
            connection.expire(key, int(2 * max(periodic.every.total_seconds(), CLAIM_S)))
            enqueued.append(periodic.job)
    return enqueued


def run_scheduler(connection: Redis, goes_on: Callable[[], bool]) -> None:
    """Look at the table every ten seconds until told to stop; while Redis is away nothing is due."""
    while goes_on():
        try:
            for job in enqueue_due(connection, time.time()):
                log.info("schedule.enqueued", extra={"job": job})
        except RedisError as error:
            log.warning("schedule.redis_away", extra={"reason": type(error).__name__})
        until = time.monotonic() + TICK_S
        while goes_on() and time.monotonic() < until:
            time.sleep(0.2)
