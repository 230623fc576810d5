"""What every job is given: the services of its process, and a way to enqueue further jobs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from redis import Redis
from rq.job import Job

from mailcore.net.outgoing import OutgoingClient
from mailcore.services import MailServices
from portal.mail_plane import Portal
from workers.enqueue import Argument, enqueue
from workers.registry import JOBS


@dataclass(frozen=True, slots=True)
class JobContext:
    """Handed to a job as its first argument."""

    services: MailServices
    redis: Redis
    portal: Portal | None = None
    """None where the worker was not told of Postgres."""

    @property
    def outgoing(self) -> OutgoingClient:
        """The one way out to hosts that somebody else names."""
        return OutgoingClient(self.services.dns, self.services.settings.outgoing)

    @contextmanager
    def in_portal(self) -> Iterator[Portal]:
        """Let a job call services of the portal: `portal.database.session()` works inside.

        Raises:
            PostgresUnknown: DATABASE_URL is not set.
        """
        if self.portal is None:
            raise PostgresUnknown("DATABASE_URL is not set: this worker knows nothing of organisations")
        with self.portal.database.scope():
            yield self.portal

    def enqueue(self, job: str, **arguments: Argument) -> str:
        """Put another job on its queue."""
        return enqueue(self.redis, job, **arguments)


class PostgresUnknown(RuntimeError):
    """The worker was not told where the portal's tables are."""


class JobUnknown(RuntimeError):
    """What stands in the queue is not in the registry; it is not run."""


def job_class(context: JobContext) -> type[Job]:
    """Return the class of jobs that are run with this context, and only if they are registered."""
    known: frozenset[str] = frozenset(job.function for job in JOBS.values())

    class BoundJob(Job):
        """A job with its context."""

        def _execute(self) -> Any:
            if self.func_name not in known:
                raise JobUnknown(self.func_name)
            function: Callable[..., Any] = self.func
            return function(context, **self.kwargs)

    return BoundJob
