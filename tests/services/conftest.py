"""Services on the session's real databases."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pymongo import monitoring

from mailcore.services import MailServices
from tests.builders import make_services
from tests.store.mailbox.test_round_trips import Listener


@pytest.fixture
def services(directory_uri: str, shard_uris: dict[str, Any], redis_url: str) -> Iterator[MailServices]:
    services = make_services(directory_uri, shard_uris, redis_url)
    yield services
    services.close()


@pytest.fixture
def listener() -> Iterator[Listener]:
    """Hears every command of the services made after it."""
    made = Listener()
    monitoring.register(made)
    yield made
    monitoring._LISTENERS.command_listeners.remove(made)


@pytest.fixture
def watched(
    listener: Listener, directory_uri: str, shard_uris: dict[str, Any], redis_url: str
) -> Iterator[MailServices]:
    """Services that the listener hears."""
    made = make_services(directory_uri, shard_uris, redis_url)
    yield made
    made.close()


@pytest.fixture
def no_confirmations_counted(services: MailServices) -> None:
    """Every test asks the same addresses, each as if on a day of its own."""
    client = services._link.client
    assert client is not None
    for key in client.scan_iter("*confirmations_per_day*"):
        client.delete(key)
