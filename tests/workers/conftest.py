"""Workers on real services and a real Redis."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from redis import Redis

from infra.devstack.endpoints import Endpoints, ShardUris
from mailcore.services import MailServices
from tests.builders import make_services
from workers.context import JobContext


@pytest.fixture(scope="module")
def services(stack: Endpoints, fresh_uri: Callable[[str, str], str]) -> Iterator[MailServices]:
    """A directory and a shard of their own: jobs work on all users of all shards there are."""
    uris = stack.mongo.shards["a"]
    shard = ShardUris(fresh_uri(uris.hot, "workers_hot"), fresh_uri(uris.cold, "workers_cold"))
    connected = make_services(fresh_uri(stack.mongo.directory, "workers_directory"), {"a": shard})
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
