"""Workers on real services and a real Redis."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from redis import Redis

from infra.devstack.endpoints import ShardUris
from mailcore.services import MailServices
from tests.builders import make_services
from workers.context import JobContext


@pytest.fixture(scope="module")
def services(directory_uri: str, shard_uris: dict[str, ShardUris]) -> Iterator[MailServices]:
    connected = make_services(directory_uri, shard_uris)
    yield connected
    connected.close()


@pytest.fixture
def redis(redis_url: str) -> Iterator[Redis]:
    with Redis.from_url(redis_url) as client:
        client.flushdb()
        yield client


@pytest.fixture
def context(services: MailServices, redis: Redis) -> JobContext:
    return JobContext(services, redis)
