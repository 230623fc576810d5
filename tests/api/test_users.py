"""Users by the API."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from flask import Flask

from mailcore.errors import AuthenticationFailed, ScopeInsufficient, UserDisabled
from mailcore.model.access import Protocol
from mailcore.model.roles import Role
from mailcore.model.secret import Secret
from mailcore.services import MailServices
from mailcore.services.tokens import owner_of_tenant
from tests.api.conftest import Api, token
from tests.builders import MadeUser, make_user


@pytest.fixture
def domain(user: MadeUser) -> str:
    return user.address.partition("@")[2]


def sign_in(services: MailServices, address: str, password: str) -> object:
    return services.authentication.login(address, Secret(password.encode()), Protocol.IMAP, "192.0.2.1").user_id


def test_a_user_is_made_shown_and_found(tenant: Api, domain: str, services: MailServices) -> None:
    made = tenant.post(
        "/users",
        {
            "username": f"zoë@{domain}", "password": "long enough words", "name": "Zoë", "tags": ["staff", "Staff"],
            "quota": 10_000_000, "recipients": 7, "metaData": '{"a":1}', "internalData": {"b": 2}, "spamLevel": 20,
            "disabledScopes": ["pop3"], "targets": ["x@example.org"], "sess": "s", "ip": "192.0.2.1",
        },
    )  # fmt: skip
    assert made.status == 200
    found = tenant.get(f"/users/{made.body['id']}").body
    assert (found["name"], found["tags"], found["targets"]) == ("Zoë", ["staff"], ["x@example.org"])
    assert (found["metaData"], found["internalData"], found["spamLevel"]) == ({"a": 1}, {"b": 2}, 20)
    assert (found["limits"]["quota"]["allowed"], found["limits"]["recipients"]["allowed"]) == (10_000_000, 7)
    assert (found["disabledScopes"], found["hasPasswordSet"], found["activated"]) == (["pop3"], True, True)
    assert tenant.get(f"/users/resolve/{quote('ZOË+x@' + domain)}").body["id"] == made.body["id"]
    assert str(sign_in(services, f"zoë@{domain}", "long enough words")) == made.body["id"]


def test_lists_by_address_and_tags_in_pages(tenant: Api, domain: str) -> None:
    for number in range(5):
        body = {
            "username": f"list{number}@{domain}",
            "password": False,
            "tags": ["even" if number % 2 == 0 else "odd", "all"],
        }
        assert tenant.post("/users", body).status == 200
    first = tenant.get("/users?query=LIST&limit=3&tags=").body
    assert (first["total"], len(first["results"]), first["previousCursor"]) == (5, 3, False)
    second = tenant.get(f"/users?query=LIST&limit=3&next={first['nextCursor']}").body
    assert [one["address"][:5] for one in second["results"]] == ["list3", "list4"]
    back = tenant.get(f"/users?query=LIST&limit=3&previous={second['previousCursor']}").body
    assert [one["id"] for one in back["results"]] == [one["id"] for one in first["results"]]
    assert tenant.get("/users?tags=odd,nothing").body["total"] == 2
    assert tenant.get("/users?requiredTags=EVEN,all").body["total"] == 3
    assert tenant.get("/users?query=.*").body["total"] == 0
    assert first["results"][0]["hasPasswordSet"] is False


def test_a_tenants_token_lists_its_own(tenant: Api, platform: Api, services: MailServices) -> None:
    stranger = make_user(services)
    assert str(stranger.user_id) not in [one["id"] for one in tenant.get("/users?limit=250").body["results"]]
    assert platform.get(f"/users?query={stranger.address}").body["total"] == 1
    assert tenant.get(f"/users/resolve/{stranger.address}").body["code"] == "UserNotFound"


def test_what_is_left_out_stays(tenant: Api, user: MadeUser) -> None:
    path = f"/users/{user.user_id}"
    tenant.put(path, {"uploadSentMessages": True, "spamLevel": 10, "tags": ["a"], "name": "One"})
    tenant.put(path, {"name": "Two"})
    found = tenant.get(path).body
    assert (found["uploadSentMessages"], found["spamLevel"], found["tags"], found["name"]) == (True, 10, ["a"], "Two")


def test_a_state_ends_sign_in(tenant: Api, services: MailServices, user: MadeUser) -> None:
    assert tenant.put(f"/users/{user.user_id}", {"suspended": True}).status == 200
    assert tenant.get(f"/users/{user.user_id}").body["suspended"] is True
    with pytest.raises(UserDisabled):
        sign_in(services, user.address, user.password)
    tenant.put(f"/users/{user.user_id}", {"suspended": False})
    assert sign_in(services, user.address, user.password) == user.user_id


def test_passwords_change_and_are_reset(tenant: Api, own: Api, services: MailServices, user: MadeUser) -> None:
    assert own.put("/users/me", {"password": "another long one"}).body["code"] == "InputValidationError"
    wrong = own.put("/users/me", {"existingPassword": "wrong", "password": "another long one"})
    assert (wrong.status, wrong.body["code"]) == (403, "AuthFailed")
    assert own.put("/users/me", {"existingPassword": user.password, "password": "another long one"}).status == 200
    with pytest.raises(AuthenticationFailed):
        sign_in(services, user.address, user.password)
    made = tenant.post(f"/users/{user.user_id}/password/reset", {}).body["password"]
    with pytest.raises(ScopeInsufficient):
        sign_in(services, user.address, made)
    assert tenant.post("/users/x/password/reset", {}).status == 404


def test_a_users_token_changes_only_what_it_may(own: Api, services: MailServices, user: MadeUser) -> None:
    for field, value in (("quota", 1), ("tags", ["a"]), ("internalData", {}), ("disabled", False), ("recipients", 0)):
        answer = own.put("/users/me", {field: value})
        assert (answer.status, answer.body["code"]) == (403, "MissingPrivileges"), field
    assert own.put("/users/me", {"name": "Me", "spamLevel": 5}).status == 200
    found = own.get("/users/me").body
    assert (found["name"], "internalData" in found, "tags" in found) == ("Me", False, False)
    assert own.get("/users").body["code"] == "MissingPrivileges"


@pytest.mark.parametrize(
    "field",
    ["tenant_id", "role", "hidden", "internal", "auth_version", "shard", "placement_epoch", "settings", "limits", "_id",
     "password_change_needed", "enabled_2fa", "state", "autoreply_version", "$set", "settings.tags", "__proto__"],
)  # fmt: skip
def test_fields_of_the_database_are_refused(tenant: Api, services: MailServices, user: MadeUser, field: str) -> None:
    """Attack W3: no field gets in by its name in the database."""
    before = services.placement.directory.database["users"].find_one({"_id": user.user_id})
    for method, path in (("PUT", f"/users/{user.user_id}"), ("POST", "/users")):
        answer = tenant.ask(method, path, {field: "x"})
        assert (answer.status, answer.body["code"]) == (400, "InputValidationError")
    assert services.placement.directory.database["users"].find_one({"_id": user.user_id}) == before


def test_making_one_is_planned(tenant: Api, domain: str) -> None:
    body = {"username": f"plan@{domain}", "password": "long enough words"}
    answer = tenant.post("/users?dry_run=1", body).body
    assert [step["change"] for step in answer["plan"]] == ["user.created"]
    assert "long enough" not in str(answer)
    assert tenant.get(f"/users/resolve/plan@{domain}").status == 404
    changed = tenant.put(
        "/users/{}?dry_run=1".format(tenant.get("/users").body["results"][0]["id"]), {"name": "X", "quota": 5}
    )
    assert [step["change"] for step in changed.body["plan"]] == ["user.name", "user.quota"]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"username": "nobody", "password": "long enough words"}, "InputValidationError"),
        ({"username": "a@elsewhere.test", "password": "long enough words"}, "DomainNotFound"),
        ({"username": "a@b@c", "password": "long enough words"}, "InputValidationError"),
        ({"username": "x", "password": "s", "spamLevel": 101, "quota": -1}, "InputValidationError"),
        ({"username": "x", "password": {"$gt": ""}}, "InputValidationError"),
    ],
)
def test_what_is_no_user_is_refused(tenant: Api, body: dict[str, object], code: str) -> None:
    assert tenant.post("/users", body).body["code"] == code


def test_no_two_have_one_address(tenant: Api, user: MadeUser) -> None:
    local, domain = user.address.split("@")
    answer = tenant.post("/users", {"username": f"{local[:1]}.{local[1:]}@{domain}", "password": "long enough words"})
    assert answer.body["code"] == "AddressExistsError"


def test_a_managers_token_reads_no_mail(app: Flask, services: MailServices, user: MadeUser) -> None:
    manager = Api(app, token(services, owner_of_tenant(user.tenant_id), Role.MANAGER))
    assert manager.get(f"/users/{user.user_id}").status == 200
    assert manager.get(f"/users/{user.user_id}/mailboxes").body["code"] == "MissingPrivileges"
