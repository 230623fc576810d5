"""Deleting users by the API, and taking it back."""

from __future__ import annotations

from mailcore.services import MailServices
from tests.api.conftest import Api
from tests.builders import MadeUser, make_user


def test_a_user_is_deleted_looked_at_and_restored(tenant: Api, own: Api, user: MadeUser) -> None:
    path = f"/users/{user.user_id}"
    assert tenant.get(f"{path}/restore").body["code"] == "AccountNotFound"
    gone = tenant.delete(f"{path}?deleteAfter=2031-01-01T00:00:00.000Z&sess=&ip=192.0.2.1").body
    assert (gone["code"], gone["user"], gone["addresses"]) == ("TaskScheduled", str(user.user_id), {"deleted": 1})
    assert gone["deleteAfter"] == "2031-01-01T00:00:00.000Z"
    assert (tenant.get(path).status, tenant.delete(path).body["code"]) == (404, "UserNotFound")
    assert str(user.user_id) not in tenant.get("/users?limit=250").raw.decode()
    assert own.get("/users/me").body["code"] in {"InvalidToken", "UserNotFound"}
    assert tenant.get(f"/users/resolve/{user.address}").body["code"] == "UserNotFound"
    assert tenant.get(f"/addresses/resolve/{user.address}").body["code"] == "AddressNotFound"
    assert tenant.post("/preauth", {"username": user.address}).body["code"] == "AuthFailed"
    login = {"username": user.address, "password": user.password}
    assert tenant.post("/authenticate", login).body["code"] == "AuthFailed"
    found = tenant.get(f"{path}/restore").body
    assert (found["username"], found["recoverableAddresses"]) == (user.address, [user.address])
    back = tenant.post(f"{path}/restore", {"sess": "", "ip": ""}).body
    assert (back["code"], back["addresses"]) == ("TaskCancelled", {"recovered": 1, "main": user.address})
    assert tenant.get(path).body["address"] == user.address


def test_who_wants_the_address_meanwhile_is_told_until_when_it_is_kept(tenant: Api, user: MadeUser) -> None:
    tenant.delete(f"/users/{user.user_id}?deleteAfter=2031-01-01T00:00:00.000Z")
    refused = tenant.post("/addresses/forwarded", {"address": user.address, "targets": ["x@else.test"]})
    assert (refused.status, refused.body["code"]) == (400, "AddressExistsError")
    assert refused.body["error"].startswith(f"A deleted user keeps {user.address} until 2031-01-01: ")


def test_a_dry_run_deletes_nobody(tenant: Api, user: MadeUser) -> None:
    answer = tenant.delete(f"/users/{user.user_id}?dry_run=true").body
    assert [step["change"] for step in answer["plan"]] == ["user.deleted"]
    assert tenant.get(f"/users/{user.user_id}").status == 200


def test_others_deleted_users_do_not_exist(tenant: Api, platform: Api, services: MailServices) -> None:
    stranger = make_user(services)
    assert platform.delete(f"/users/{stranger.user_id}?deleteAfter=").body["deleteAfter"]
    for method in ("GET", "POST"):
        assert tenant.ask(method, f"/users/{stranger.user_id}/restore").body["code"] == "AccountNotFound"
    assert platform.get(f"/users/{stranger.user_id}/restore").status == 200


def test_a_time_that_is_none_is_refused(tenant: Api, user: MadeUser) -> None:
    for value in ("yesterday", "3000-01-01T00:00:00Z"):
        assert tenant.delete(f"/users/{user.user_id}?deleteAfter={value}").body["code"] == "InputValidationError"
    assert tenant.get(f"/users/{user.user_id}").status == 200
