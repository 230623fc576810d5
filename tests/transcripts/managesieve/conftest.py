"""Sans-IO ManageSieve connections on real services."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from mailcore.services import MailServices
from tests.builders import make_services, make_user
from tests.transcripts.managesieve.dialogue import ManageSieve


@pytest.fixture(scope="session")
def services(directory_uri: str, shard_uris: dict[str, Any]) -> Iterator[MailServices]:
    """Services without Redis: ManageSieve needs none."""
    made = make_services(directory_uri, shard_uris)
    yield made
    made.close()


@pytest.fixture
def sieve(services: MailServices) -> Iterator[ManageSieve]:
    """A user without scripts; sessions end with the test."""
    made = ManageSieve(services, make_user(services))
    yield made
    for client in made.clients.values():
        client.close()
