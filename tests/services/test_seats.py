"""The number of users of a tenant: its limit holds however many are added at once, and whoever adds them."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from mailcore.errors import TooManyUsers
from mailcore.services import MailServices
from mailcore.services.tenants.seats import Seats
from tests.builders import OPERATOR, make_services, make_tenant

LIMIT = 5
TRIES = 50


@pytest.fixture(scope="module")
def services(directory_uri: str, shard_uris: dict[str, Any]) -> Iterator[MailServices]:
    made = make_services(directory_uri, shard_uris)
    yield made
    made.close()


def _race(services: MailServices) -> tuple[int, int]:
    """Let fifty users be added at once to a tenant with room for five; return how many were, and how many there are."""
    tenant_id, domain = make_tenant(services)
    services.pools.set_max_users(OPERATOR, tenant_id, LIMIT)

    def add(number: int) -> bool:
        try:
            services.users.create(OPERATOR, f"u{number}@{domain}", None, "", tenant_id)
        except TooManyUsers:
            return False
        return True

    with ThreadPoolExecutor(16) as pool:
        added = sum(pool.map(add, range(TRIES)))
    return added, len(services.users.list_of_tenant(tenant_id))


def test_fifty_at_once_fill_the_plan_and_not_more(services: MailServices) -> None:
    assert _race(services) == (LIMIT, LIMIT)


def test_who_only_looks_before_would_be_seen(services: MailServices, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Seats, "take", lambda _self, _tenant, _user: None)
    assert _race(services)[1] > LIMIT
