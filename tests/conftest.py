"""Real databases for every test: one stack per pytest session, databases of its own per test process.

`EIDER_TEST_STACK` names the endpoints.json of a running stack to attach to; without it the
session starts one in a temporary folder and throws it away. Tests that stop databases start
a `Stack` of their own.
"""

from __future__ import annotations

import os
import secrets
import signal
import tempfile
import threading
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import psycopg
import pytest
import redis
from hypothesis import HealthCheck, settings

from infra.devstack import postgres as pg
from infra.devstack.endpoints import Endpoints, ShardUris
from infra.devstack.mongo import drop_databases
from infra.devstack.redis_server import DATABASES
from infra.devstack.stack import Stack, with_database

# How long an example takes is the business of the machine. A change is judged by the same examples each time;
# `make soak` looks for others (`--hypothesis-profile explore`).
settings.register_profile("explore", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.register_profile("eider", settings.get_profile("explore"), derandomize=True)
settings.load_profile("eider")


def pytest_configure() -> None:
    """Let SIGTERM end a run as Ctrl-C does, so that nothing it started stays."""
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.default_int_handler)


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown() -> None:
    """Take the signals back: a worker that a test runs in this process keeps them, and fails another test by them."""
    pytest_configure()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fail a test marked `root` that root skips: it would never run anywhere."""
    report = yield
    if report.skipped and os.geteuid() == 0 and item.get_closest_marker("root") is not None:
        report.outcome = "failed"
        report.longrepr = f"skipped though this is root: {report.longrepr}"
    return report


@pytest.fixture(scope="session")
def stack() -> Iterator[Endpoints]:
    """The endpoints of the stack that this session shares with others: nothing in it may be stopped."""
    running = os.environ.get("EIDER_TEST_STACK")
    if running:
        yield Endpoints.read(Path(running))
        return
    folder = tempfile.mkdtemp(prefix="eider-test-")
    own = Stack(Path(folder) / "data", durable=False)
    endpoints = own.start()
    try:
        yield endpoints
    finally:
        own.discard()
        Path(folder).rmdir()


@pytest.fixture(scope="session")
def database_prefix() -> str:
    """What the names of this test process's databases begin with."""
    return f"t{os.getpid()}_{secrets.token_hex(3)}"


@pytest.fixture(scope="session")
def fresh_uri(stack: Endpoints, database_prefix: str) -> Iterator[Callable[[str, str], str]]:
    """Return `fresh_uri(uri, name)`: the same set with an empty database of that name, dropped at the end."""
    made: dict[str, str] = {}

    def fresh(uri: str, name: str) -> str:
        database = f"{database_prefix}_{name}"
        made[database] = uri
        return with_database(uri, database)

    yield fresh
    for database, uri in made.items():
        drop_databases(uri, [database])


@pytest.fixture(scope="session")
def directory_uri(stack: Endpoints, fresh_uri: Callable[[str, str], str]) -> str:
    """An empty directory database of this test process."""
    return fresh_uri(stack.mongo.directory, "directory")


@pytest.fixture(scope="session")
def shard_uris(stack: Endpoints, fresh_uri: Callable[[str, str], str]) -> dict[str, ShardUris]:
    """Empty databases of this test process on the shards `a` and `b`."""
    return {
        name: ShardUris(fresh_uri(uris.hot, f"{name}_hot"), fresh_uri(uris.cold, f"{name}_cold"))
        for name, uris in stack.mongo.shards.items()
    }


@pytest.fixture(scope="session")
def redis_url(stack: Endpoints) -> Iterator[str]:
    """An empty numbered Redis database of this test process."""
    server = stack.redis.rpartition("/")[0]
    with redis.Redis.from_url(f"{server}/0") as counter:
        number = 1 + int(counter.incr("test-databases")) % (DATABASES - 1)
    url = f"{server}/{number}"
    with redis.Redis.from_url(url) as client:
        client.flushdb()
        yield url
        client.flushdb()


@pytest.fixture(scope="session")
def postgres_url(stack: Endpoints, database_prefix: str) -> Iterator[str]:
    """An empty Postgres database of this test process."""
    server = stack.postgres.rpartition("/")[0]
    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        connection.execute(psycopg.sql.SQL("CREATE DATABASE {}").format(psycopg.sql.Identifier(database_prefix)))
    yield f"{server}/{database_prefix}"
    pg.drop_database(f"{server}/postgres", database_prefix)


@pytest.fixture
def new_stack(tmp_path: Path) -> Iterator[Callable[..., Stack]]:
    """Return `new_stack(**arguments)`: a started Stack for this test alone, that it may hurt."""
    stacks: list[Stack] = []

    def new(**arguments: object) -> Stack:
        own = Stack(tmp_path / f"stack{len(stacks)}", durable=False, **arguments)  # type: ignore[arg-type]
        stacks.append(own)
        own.start()
        return own

    yield new
    for own in stacks:
        own.discard()
