"""Jobs that follow from a change: put on their queue once it is committed."""

from __future__ import annotations

import logging

from redis import Redis
from redis.exceptions import RedisError

from portal.database import ENQUEUE, Enqueue, after_commit, session
from workers.enqueue import Argument, enqueue

log = logging.getLogger(__name__)


def enqueue_after_commit(job: str, **arguments: Argument) -> None:
    """Put a registered job on its queue once the unit of work is committed.

    Without Redis it is not put there, and nobody is refused: the job `portal.reconcile` finds what is missing.
    """
    put: Enqueue | None = session().info[ENQUEUE]
    if put is not None:
        after_commit(lambda: put(job, **arguments))


def enqueue_now(redis: Redis | None, job: str, **arguments: Argument) -> None:
    """Put a registered job on its queue after a change of the mail plane; without Redis its next period does it."""
    put = queue(redis)
    if put is not None:
        put(job, **arguments)


def queue(redis: Redis | None) -> Enqueue | None:
    """Return what puts jobs on the queues of this Redis."""
    if redis is None:
        return None

    def put(job: str, **arguments: Argument) -> None:
        try:
            enqueue(redis, job, **arguments)
        except RedisError as error:
            log.warning("portal.job_waits", extra={"job": job, "reason": type(error).__name__})

    return put
