"""Services on the session's real databases."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from mailcore.services import MailServices
from tests.builders import make_services


@pytest.fixture
def services(directory_uri: str, shard_uris: dict[str, Any], redis_url: str) -> Iterator[MailServices]:
    services = make_services(directory_uri, shard_uris, redis_url)
    yield services
    services.close()
