"""Nothing that is kept for one is answered to another: keys in Redis, repeated requests, ETags, and what a process
knows (attack T6)."""

from __future__ import annotations

import re

import pytest
from redis import Redis

from mailcore.api.application import Application
from mailcore.model.limits import Spending, Traffic
from mailcore.services import MailServices
from mailcore.services.accounts import usage as usage_service
from mailcore.services.accounts.tokens import owner_of_tenant
from tests.api.conftest import Api, token
from tests.builders import MadeUser, make_user

OWNER = re.compile(r"[0-9a-f]{24}|192\.0\.2\.\d+")
SHARED = ("eider:schedule:", "eider:relay:", "rq:")
"""Keys of the platform itself."""


@pytest.fixture
def other(services: MailServices) -> MadeUser:
    return make_user(services)


@pytest.fixture
def other_tenant(app: Application, services: MailServices, other: MadeUser) -> Api:
    return Api(app, token(services, owner_of_tenant(other.tenant_id)))


def keys(redis_url: str) -> set[str]:
    with Redis.from_url(redis_url) as redis:
        return {key.decode() for key in redis.scan_iter(count=1000)}


def use(services: MailServices, user: MadeUser) -> None:
    """Have every sort of key made for a user."""
    for what in Spending:
        services.usage.spend_of(user.user_id, what, 1000)
    for what in Traffic:
        services.usage.note(user.user_id, what, 10)
    services.usage.flush()
    services.usage.spend_on_sending(user.user_id, user.tenant_id, "example.org", 1)


def test_every_key_in_redis_names_whose_it_is(
    services: MailServices, tenant: Api, user: MadeUser, other: MadeUser, redis_url: str
) -> None:
    before = keys(redis_url)
    for one in (user, other):
        use(services, one)
    tenant.post("/authenticate", {"username": user.address, "password": "wrong", "ip": "192.0.2.77"})
    tenant.post("/authenticate", {"username": user.address, "password": user.password, "ip": "192.0.2.77"})
    made = keys(redis_url) - before
    assert len(made) > 2 * len(Spending)
    assert [key for key in made if not key.startswith(SHARED) and OWNER.search(key) is None] == []
    assert services.usage.counted(user.user_id, Spending.FORWARDS) == 1


def test_a_key_without_owner_would_be_seen(
    services: MailServices,
    tenant: Api,
    user: MadeUser,
    other: MadeUser,
    redis_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Control."""
    monkeypatch.setattr(usage_service, "_spent", lambda _, what: (f"spent:{what.value}", 60))
    with pytest.raises(AssertionError):
        test_every_key_in_redis_names_whose_it_is(services, tenant, user, other, redis_url)
    with Redis.from_url(redis_url) as redis:
        for key in redis.scan_iter("*spent:*"):
            if OWNER.search(key.decode()) is None:
                redis.delete(key)


def test_the_same_request_key_of_two_tokens_is_two_requests(
    tenant: Api, other_tenant: Api, user: MadeUser, other: MadeUser
) -> None:
    """Nobody is answered what somebody else was, were the keys and bodies alike."""
    headers = {"Idempotency-Key": "the same"}
    one = tenant.post("/authenticate", {"username": user.address, "password": user.password}, headers=headers)
    again = other_tenant.post("/authenticate", {"username": user.address, "password": user.password}, headers=headers)
    assert one.status == 200
    assert (again.status, again.body["code"]) == (403, "AuthFailed")
    assert "Idempotent-Replayed" not in again.headers


def test_an_etag_of_one_tenant_tells_another_nothing(
    tenant: Api, other_tenant: Api, own: Api, user: MadeUser, other: MadeUser
) -> None:
    """Lists of two tenants differ, so do their tags; and no cache between may keep them."""
    for path in ("/users", "/addresses", "/filters", "/domainaliases"):
        first = tenant.get(path)
        assert first.headers["Cache-Control"] == "private, no-cache"
        answer = other_tenant.get(path, headers={"If-None-Match": first.headers["ETag"]})
        if first.body["results"]:
            assert (answer.status, first.headers["ETag"] == answer.headers["ETag"]) == (200, False)
        assert own.get(path, headers={"If-None-Match": first.headers["ETag"]}).status == 403
    assert tenant.get(f"/users/{user.user_id}").headers["Cache-Control"] == "no-store"


def test_two_tenants_with_equal_names_see_their_own(
    app: Application, services: MailServices, tenant: Api, other_tenant: Api, user: MadeUser, other: MadeUser
) -> None:
    """The same names of everything, read in turn by one process that keeps what it read."""
    for api, one in ((tenant, user), (other_tenant, other)):
        domain = one.address.partition("@")[2]
        assert api.post("/addresses/forwarded", {"address": f"info@{domain}", "targets": ["x@else.test"]}).status == 200
        assert api.post("/domainaccess/vip/block", {"domain": "shared.test"}).status == 200
        api.put(f"/users/{one.user_id}", {"name": f"Name of {one.user_id}", "tags": ["vip"]})
    for _ in range(2):
        for api, one, stranger in ((tenant, user, other), (other_tenant, other, user)):
            paths = ("/users", "/addresses", f"/users/{one.user_id}", "/domainaccess/vip/block")
            seen = b"".join(api.get(path).raw for path in paths)
            assert f"Name of {one.user_id}".encode() in seen
            assert str(stranger.user_id).encode() not in seen
            assert stranger.address.encode() not in seen
