"""Putting a job on its queue."""

from __future__ import annotations

from typing import TypeAlias

from redis import Redis
from rq import Queue
from rq.serializers import JSONSerializer

from workers.registry import JOBS

Argument: TypeAlias = "str | int | bool | None"
RESULT_KEPT_S = 3600
FAILURE_KEPT_S = 7 * 24 * 3600


def enqueue(connection: Redis, job: str, **arguments: Argument) -> str:
    """Put a registered job on its queue and return the id it got; after the caller's commit, never before.

    Raises:
        KeyError: no job of that name is registered.
    """
    registered = JOBS[job]
    queue = Queue(registered.queue, connection=connection, serializer=JSONSerializer)
    enqueued = queue.enqueue_call(
        registered.function,
        kwargs=arguments,
        timeout=registered.timeout_s,
        result_ttl=RESULT_KEPT_S,
        failure_ttl=FAILURE_KEPT_S,
        description=job,
    )
    return str(enqueued.id)
