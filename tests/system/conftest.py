"""One process that serves LMTP and IMAP, for tests that need mail to go in and come out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from infra.devstack.endpoints import Endpoints
from mailcore.services import MailServices
from tests.builders import MadeUser, make_services, make_user
from tests.system.servers import RunningServer, environment_of, start


@pytest.fixture(scope="session")
def directory_uri(stack: Endpoints, fresh_uri: Callable[[str, str], str]) -> str:
    """A directory apart from that of other tests: some of those leave in it what no server could start with."""
    return fresh_uri(stack.mongo.directory, "system_directory")


@pytest.fixture(scope="module")
def services(directory_uri: str, shard_uris: dict[str, Any], redis_url: str) -> Iterator[MailServices]:
    """Services of this process, on the same databases."""
    made = make_services(directory_uri, shard_uris, redis_url)
    yield made
    made.close()


@pytest.fixture(scope="module")
def mail_server(
    services: MailServices, directory_uri: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningServer]:
    """At its end it must stop by itself, without a traceback in its log."""
    environment = environment_of(directory_uri, redis_url, ["lmtp", "imap"])
    with start(["lmtp", "imap"], environment, tmp_path_factory.mktemp("mail"), forked=False) as server:
        yield server


@pytest.fixture
def user(services: MailServices) -> MadeUser:
    """A user of a tenant of its own."""
    return make_user(services)
