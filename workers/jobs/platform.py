"""Measuring the platform for staff's charts: shards, queues, workers, abuse."""

from __future__ import annotations

from rq import Queue, Worker
from rq.exceptions import NoSuchJobError
from rq.job import Job
from rq.serializers import JSONSerializer

from mailcore.model.platform_tally import Measured, named
from mailcore.services.process.clock import now
from workers.context import JobContext
from workers.registry import QUEUES


def measure(context: JobContext) -> None:
    """Note how it stands now."""
    at = now()
    gauges = {named(Measured.HOLDS): len(context.services.sending_holds.list_all())}
    for name in QUEUES:
        queue = Queue(name, connection=context.redis, serializer=JSONSerializer)
        gauges[named(Measured.QUEUED, name)] = queue.count
        gauges[named(Measured.QUEUED_S, name)] = _waited_s(context, queue)
    counters = {}
    workers = Worker.all(connection=context.redis)
    gauges[named(Measured.WORKERS)] = len(workers)
    for worker in workers:
        counters[f"{named(Measured.JOBS_DONE)}:{worker.name}"] = worker.successful_job_count
        counters[f"{named(Measured.JOBS_FAILED)}:{worker.name}"] = worker.failed_job_count
    context.services.platform_tallies.measure(at, gauges, counters)


def _waited_s(context: JobContext, queue: Queue) -> int:
    """Return how long the first job of a queue has waited."""
    for job_id in queue.get_job_ids(0, 1):
        try:
            job = Job.fetch(job_id, connection=context.redis, serializer=JSONSerializer)
        except NoSuchJobError:
            continue  # taken or expired meanwhile
        if job.enqueued_at is not None:
            return max(0, int((now() - job.enqueued_at).total_seconds()))
    return 0
