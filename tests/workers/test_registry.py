"""Every registered job exists and takes what it is given; the schedule enqueues each period once."""

from __future__ import annotations

import importlib
import inspect
from datetime import timedelta

import pytest
from redis import ConnectionError, Redis  # noqa: A004  as the scheduler meets it
from rq import Queue
from rq.job import Job
from rq.serializers import JSONSerializer

from mailcore.services import MailServices
from workers import schedule
from workers.context import JobContext
from workers.enqueue import enqueue
from workers.main import make_worker
from workers.registry import JOBS, MAINTENANCE, QUEUES
from workers.schedule import SCHEDULE, enqueue_due


@pytest.mark.parametrize("name", JOBS)
def test_job_resolves_and_its_first_argument_is_the_context(name: str) -> None:
    job = JOBS[name]
    module, _, function = job.function.rpartition(".")
    parameters = list(
        inspect.signature(getattr(importlib.import_module(module), function), eval_str=True).parameters.values()
    )
    assert parameters[0].annotation is JobContext
    assert all(parameter.annotation in (str, int, bool) for parameter in parameters[1:])
    assert job.queue in QUEUES


@pytest.mark.parametrize("periodic", SCHEDULE, ids=lambda periodic: periodic.job)
def test_periodic_jobs_need_no_arguments(periodic: object) -> None:
    job = JOBS[periodic.job]  # type: ignore[attr-defined]
    module, _, function = job.function.rpartition(".")
    assert len(inspect.signature(getattr(importlib.import_module(module), function)).parameters) == 1


def test_each_period_is_enqueued_once_whoever_looks(redis: Redis) -> None:
    now = 1_800_000_000.0
    assert len(enqueue_due(redis, now)) == len(SCHEDULE)
    assert enqueue_due(redis, now) == []
    soon = timedelta(minutes=10)
    due = [periodic.job for periodic in SCHEDULE if periodic.every <= soon]
    assert enqueue_due(redis, now + soon.total_seconds()) == due
    assert len(due) < len(SCHEDULE)
    waiting = sum(Queue(name, connection=redis, serializer=JSONSerializer).count for name in QUEUES)
    assert waiting == len(SCHEDULE) + len(due)


def test_what_a_scheduler_claimed_and_did_not_enqueue_another_does(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a moment without Redis would cost the period: a day of retention, four weeks of scrubbing."""
    now = 1_800_000_000.0

    def away(_connection: Redis, _job: str) -> str:
        raise ConnectionError

    with monkeypatch.context() as patch, pytest.raises(ConnectionError):
        patch.setattr(schedule, "enqueue", away)
        enqueue_due(redis, now)
    [claim] = redis.keys("eider:schedule:*")
    assert 0 < redis.ttl(claim) <= schedule.CLAIM_S
    redis.delete(claim)  # as if that time had passed
    assert len(enqueue_due(redis, now)) == len(SCHEDULE)
    assert all(redis.ttl(key) > schedule.CLAIM_S for key in redis.keys("eider:schedule:*"))


def test_unknown_name_is_not_enqueued(redis: Redis) -> None:
    with pytest.raises(KeyError):
        enqueue(redis, "retention.everything")


def test_worker_runs_what_is_registered_and_nothing_else(services: MailServices, redis: Redis) -> None:
    Queue(MAINTENANCE, connection=redis, serializer=JSONSerializer).enqueue_call("os.getcwd")
    [job_id] = Queue(MAINTENANCE, connection=redis, serializer=JSONSerializer).job_ids
    good = enqueue(redis, "demotion.all")
    make_worker(services, redis).work(burst=True, logging_level="ERROR")

    def status(id_: str) -> str:
        return str(Job.fetch(id_, connection=redis, serializer=JSONSerializer).get_status())

    assert (status(job_id), status(good)) == ("JobStatus.FAILED", "JobStatus.FINISHED")
