"""Sans-IO POP3 connections on real services."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from mailcore.services import MailServices
from tests.builders import make_services, make_user
from tests.transcripts.pop3.dialogue import Pop3


@pytest.fixture(scope="session")
def services(directory_uri: str, shard_uris: dict[str, Any]) -> Iterator[MailServices]:
    """Services without Redis: POP3 needs none."""
    made = make_services(directory_uri, shard_uris)
    yield made
    made.close()


@pytest.fixture
def pop3(services: MailServices) -> Iterator[Pop3]:
    """A user with default mailboxes; sessions end with the test."""
    made = Pop3(services, make_user(services))
    yield made
    for client in made.clients.values():
        client.close()
