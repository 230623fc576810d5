"""Lists of senders' domains by tag: what they say, of whom, and what asking costs."""

from __future__ import annotations

import time
from typing import Any

import pytest
from bson import ObjectId

from mailcore.errors import DomainNotFound, TenantNotFound, ValueInvalid
from mailcore.model.event import PLATFORM
from mailcore.model.filter import Verdict
from mailcore.model.ids import TenantId
from mailcore.services import MailServices
from mailcore.store.directory.domain_access import DomainAccess
from tests.builders import OPERATOR, MadeUser, make_user


@pytest.fixture
def user(services: MailServices) -> MadeUser:
    made = make_user(services)
    services.users.set_settings(OPERATOR, made.user_id, {"tags": ("Staff", "sales")})
    return made


def verdict(services: MailServices, user: MadeUser, *domains: str) -> Verdict | None:
    return services.domain_access.verdict(services.placement.home(user.user_id), domains)


def test_what_is_listed_for_a_tag_holds_for_who_carries_it(services: MailServices, user: MadeUser) -> None:
    lists = services.domain_access
    allowed = lists.put(OPERATOR, user.tenant_id, "STAFF", Verdict.ALLOW, "Good.Example")
    lists.put(OPERATOR, user.tenant_id, "sales", Verdict.BLOCK, "bücher.example")
    lists.put(OPERATOR, user.tenant_id, "others", Verdict.BLOCK, "third.example")
    assert verdict(services, user, "good.example") is Verdict.ALLOW
    assert verdict(services, user, "xn--bcher-kva.example") is Verdict.BLOCK
    assert verdict(services, user, "good.example", "xn--bcher-kva.example") is Verdict.BLOCK
    assert verdict(services, user, "third.example") is None
    assert verdict(services, user, "sub.good.example") is None
    assert [one.domain for one in lists.list_of(user.tenant_id, "staff", Verdict.ALLOW)] == ["good.example"]
    changed = lists.put(OPERATOR, user.tenant_id, "staff", Verdict.BLOCK, "good.example")
    assert changed.id == allowed.id
    assert verdict(services, user, "good.example") is Verdict.BLOCK
    assert lists.list_of(user.tenant_id, "staff", Verdict.ALLOW) == []
    lists.delete(OPERATOR, user.tenant_id, allowed.id)
    assert verdict(services, user, "good.example") is None
    with pytest.raises(DomainNotFound):
        lists.delete(OPERATOR, user.tenant_id, allowed.id)


def test_lists_of_another_tenant_are_not_there(services: MailServices, user: MadeUser) -> None:
    stranger = make_user(services)
    entry = services.domain_access.put(OPERATOR, stranger.tenant_id, "staff", Verdict.BLOCK, "bad.example")
    assert verdict(services, user, "bad.example") is None
    with pytest.raises(DomainNotFound):
        services.domain_access.delete(OPERATOR, user.tenant_id, entry.id)


def test_the_platforms_lists_hold_for_every_tenant_unless_it_says_otherwise(
    services: MailServices, user: MadeUser
) -> None:
    tag = f"t{ObjectId()}"
    services.users.set_settings(OPERATOR, user.user_id, {"tags": (tag,)})
    entry = services.domain_access.put(OPERATOR, PLATFORM, tag, Verdict.BLOCK, "bad.example")
    assert verdict(services, user, "bad.example") is Verdict.BLOCK
    services.domain_access.put(OPERATOR, user.tenant_id, tag, Verdict.ALLOW, "bad.example")
    assert verdict(services, user, "bad.example") is Verdict.ALLOW
    services.domain_access.delete(OPERATOR, PLATFORM, entry.id)


@pytest.mark.parametrize(("tag", "domain"), [("", "a.test"), ("x", "no domain"), ("x" * 200, "a.test"), ("x", "")])
def test_what_is_no_tag_or_domain_is_refused(services: MailServices, user: MadeUser, tag: str, domain: str) -> None:
    with pytest.raises(ValueInvalid):
        services.domain_access.put(OPERATOR, user.tenant_id, tag, Verdict.ALLOW, domain)


def test_lists_of_nobody(services: MailServices) -> None:
    with pytest.raises(TenantNotFound):
        services.domain_access.put(OPERATOR, TenantId(ObjectId()), "x", Verdict.ALLOW, "a.example")


def test_asking_costs_nothing_where_there_is_nothing(
    services: MailServices, user: MadeUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No round trip without tags; with tags one in 30 s for the platform's, and one for the tenant's if it has any."""
    asked: list[Any] = []
    read = DomainAccess.list_all

    def counting(self: DomainAccess, tenant_id: TenantId, most: int) -> Any:
        asked.append(tenant_id)
        return read(self, tenant_id, most)

    monkeypatch.setattr(DomainAccess, "list_all", counting)
    at = time.monotonic()
    monkeypatch.setattr(services.domain_access, "_clock", lambda: at)
    untagged = make_user(services)
    assert verdict(services, untagged, "a.example") is None
    assert asked == []
    for _ in range(3):
        assert verdict(services, user, "a.example") is None
    assert asked == [PLATFORM]
    services.domain_access.put(OPERATOR, user.tenant_id, "staff", Verdict.BLOCK, "a.example")
    for _ in range(3):
        assert verdict(services, user, "a.example") is Verdict.BLOCK
    assert asked == [PLATFORM, user.tenant_id]
