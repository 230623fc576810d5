"""The number of users of a tenant: its limit holds however many are added at once, and whoever adds them."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from bson import ObjectId

from mailcore.errors import TooManyUsers
from mailcore.model.ids import UserId
from mailcore.model.tenant import User
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


def test_who_took_a_turn_keeps_others_from_waiting_for_it_to_go(services: MailServices) -> None:
    """Three come at once, there is room for two, and the one whose id comes last takes the first turn."""
    tenant_id, domain = make_tenant(services)
    services.pools.set_max_users(OPERATOR, tenant_id, 3)
    there = services.users.create(OPERATOR, f"there@{domain}", None, "", tenant_id)
    directory = services.placement.directory
    tenant = directory.tenants.find(tenant_id)
    assert tenant is not None
    first, second, last = (
        replace(services.users.get(there), id=UserId(ObjectId()), address=f"{name}@{domain}") for name in "abc"
    )
    for user in (first, second, last):
        directory.users.insert(user, None)
    seats = Seats(directory)
    seats.take(tenant, last.id)

    def take(user: User) -> bool:
        try:
            seats.take(tenant, user.id)
        except TooManyUsers:
            assert directory.users.delete(user.id)
            return False
        return True

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(take, (first, second))) == [True, False]
    assert directory.users.count_of_tenant(tenant_id) == 3


def test_who_only_looks_before_would_be_seen(services: MailServices, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Seats, "take", lambda _self, _tenant, _user: None)
    assert _race(services)[1] > LIMIT
