"""Whoever writes to Redis runs no code of their own in a worker (Attack T7): payloads are JSON, never pickles."""

from __future__ import annotations

import pickle
import zlib
from pathlib import Path

import pytest
from redis import Redis
from rq import Queue
from rq.job import Job
from rq.serializers import DefaultSerializer, JSONSerializer

from mailcore.services import MailServices
from tests.system.servers import ROOT
from workers import main
from workers.enqueue import enqueue
from workers.registry import MAINTENANCE


class Touch:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.path,)


def poison(redis: Redis, path: Path) -> str:
    """A job that is registered, its payload replaced by a pickle, as somebody with access to Redis can."""
    job_id = enqueue(redis, "pools.sum_up")
    payload = zlib.compress(pickle.dumps(Touch(path)))
    redis.hset(f"rq:job:{job_id}", mapping={"data": payload, "meta": pickle.dumps(Touch(path))})
    return job_id


def test_a_pickled_payload_is_refused_and_what_follows_is_done(
    services: MailServices, redis: Redis, tmp_path: Path
) -> None:
    poison(redis, tmp_path / "made")
    good = enqueue(redis, "demotion.all")
    main.make_worker(services, redis).work(burst=True, logging_level="CRITICAL")
    assert not (tmp_path / "made").exists()
    status = Job.fetch(good, connection=redis, serializer=JSONSerializer).get_status()
    assert str(status) == "JobStatus.FINISHED"
    assert Queue(MAINTENANCE, connection=redis, serializer=JSONSerializer).count == 0


def test_a_worker_that_unpickles_would_be_seen(
    services: MailServices, redis: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control: the serializer that RQ takes by itself."""
    monkeypatch.setattr(main, "JSONSerializer", DefaultSerializer)
    with pytest.raises(AssertionError):
        test_a_pickled_payload_is_refused_and_what_follows_is_done(services, redis, tmp_path)


@pytest.mark.parametrize("folder", ["mailcore", "workers", "portal"])
def test_nothing_of_ours_unpickles(folder: str) -> None:
    for path in (ROOT / folder).rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert "import pickle" not in text, path
        assert "DefaultSerializer" not in text, path
