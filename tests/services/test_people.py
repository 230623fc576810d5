"""Lists of people: a page at a time, with what their mail takes, in few round trips."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from mailcore.services import MailServices
from mailcore.services.accounts.people import People
from tests.builders import OPERATOR, make_services, make_tenant, make_user
from tests.store.test_delivery import deliver, message


@pytest.fixture(scope="module")
def crowd(directory_uri: str, shard_uris: dict[str, Any], redis_url: str) -> Iterator[tuple[MailServices, Any, str]]:
    services = make_services(directory_uri, shard_uris, redis_url)
    tenant = make_tenant(services)
    for number in range(7):
        name = "Ada Lovelace" if number == 3 else ""
        services.users.create(OPERATOR, f"p{number}@{tenant[1]}", None, name, tenant[0])
    yield services, tenant[0], tenant[1]
    services.close()


def addresses(page: Any) -> list[str]:
    return [person.user.address.partition("@")[0] for person in page.people]


def test_pages_follow_one_another_forwards_and_backwards(crowd: tuple[MailServices, Any, str]) -> None:
    services, tenant_id, _ = crowd
    first = services.people.page(tenant_id, limit=3)
    second = services.people.page(tenant_id, after=first.people[-1].user.id, limit=3)
    third = services.people.page(tenant_id, after=second.people[-1].user.id, limit=3)
    assert [addresses(page) for page in (first, second, third)] == [["p0", "p1", "p2"], ["p3", "p4", "p5"], ["p6"]]
    assert [page.has_more for page in (first, second, third)] == [True, True, False]
    assert first.total == 7
    back = services.people.page(tenant_id, before=third.people[0].user.id, limit=3)
    assert addresses(back) == ["p3", "p4", "p5"]
    assert back.has_more


def test_search_looks_at_names_and_addresses(crowd: tuple[MailServices, Any, str]) -> None:
    services, tenant_id, domain = crowd
    assert addresses(services.people.page(tenant_id, "lovelace")) == ["p3"]
    assert addresses(services.people.page(tenant_id, f"P5@{domain}")) == ["p5"]
    assert services.people.page(tenant_id, ".*").people == []


def test_use_is_shown_as_it_is(services: MailServices) -> None:
    user = make_user(services)
    deliver(services, message(b"hello"), user)
    [person] = services.people.page(user.tenant_id).people
    assert person.used_bytes == services.quotas.use(user.user_id, fresh=True) > 0


def test_others_tenants_are_never_listed(services: MailServices) -> None:
    user, other = make_user(services), make_user(services)
    page = services.people.page(user.tenant_id)
    assert {person.user.id for person in page.people} == {user.user_id}
    assert other.user_id not in People(services.placement.directory, services.placement).used_bytes(
        [person.user for person in page.people]
    )


def test_shared_mailboxes_are_listed_apart(services: MailServices) -> None:
    user = make_user(services)
    shared = services.shared_mailboxes.create(OPERATOR, user.tenant_id, f"info@{user.address.partition('@')[2]}")
    assert [one.user.id for one in services.people.page(user.tenant_id).people] == [user.user_id]
    assert [one.user.id for one in services.people.page(user.tenant_id, is_shared=True).people] == [shared]
