"""Signing in by the API: passwords, tokens, second factors, app passwords, the log."""

from __future__ import annotations

import base64
import time
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pyotp
import pytest

from mailcore.api import authentication
from mailcore.api.application import Application
from mailcore.errors import PasswordChangeNeeded
from mailcore.model.access import Protocol
from mailcore.model.roles import Role
from mailcore.model.secret import Secret
from mailcore.services import MailServices
from mailcore.services.accounts.reauthentication import Reauthentication
from mailcore.services.accounts.tokens import owner_of_tenant
from tests.api.conftest import Answer, Api, token
from tests.builders import OPERATOR, MadeUser, make_user
from tests.services.authenticator import Authenticator

ORIGIN = "https://mail.example.org"


def sign_in(api: Api, user: MadeUser, **more: object) -> Any:
    return api.post("/authenticate", {"username": user.address, "password": user.password, **more})


def test_a_token_comes_with_the_right_password_and_goes(tenant: Api, app: Application, user: MadeUser) -> None:
    found = sign_in(tenant, user, token=True, sess="s1", ip="192.0.2.7").body
    assert (found["id"], found["require2fa"], found["requirePasswordChange"]) == (str(user.user_id), False, False)
    mine = Api(app, found["token"])
    assert mine.get("/users/me").body["address"] == user.address
    assert mine.get("/authenticated?sess=x").body["sess"] == "x"
    assert mine.delete("/authenticate").status == 200
    assert mine.get("/users/me").body["code"] == "InvalidToken"


NEW = "one that I chose"


@pytest.mark.parametrize("way", ["temporary", "chosen by others"])
def test_a_password_that_has_to_be_changed_gets_a_token_that_changes_it_and_opens_no_mail(
    tenant: Api, app: Application, services: MailServices, user: MadeUser, way: str
) -> None:
    if way == "temporary":
        given = services.temporary_passwords.create(OPERATOR, user.user_id).reveal_text()
    else:
        given = user.password
        services.users.require_password_change(OPERATOR, user.user_id)
    found = sign_in(tenant, replace(user, password=given), token=True).body
    assert found["requirePasswordChange"] is True
    value = Secret(found["token"].encode())
    with pytest.raises(PasswordChangeNeeded):
        services.authentication.login_with_token("", value, Protocol.IMAP, "192.0.2.1")
    mine = Api(app, found["token"])
    assert mine.get("/users/me").body["address"] == user.address
    sent_on = mine.put("/users/me", {"targets": ["mallory@else.test"]})
    assert (sent_on.status, sent_on.body["code"]) == (403, "PasswordChangeNeeded")
    assert mine.put("/users/me", {"existingPassword": given, "password": NEW}).status == 200
    again = sign_in(tenant, replace(user, password=NEW), token=True).body
    assert again["requirePasswordChange"] is False
    value = Secret(again["token"].encode())
    assert services.authentication.login_with_token("", value, Protocol.IMAP, "192.0.2.1").user_id == user.user_id


def test_control_a_token_that_forgets_for_what_it_was_made_opens_mail(
    tenant: Api, app: Application, services: MailServices, user: MadeUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = authentication.mint
    monkeypatch.setattr(authentication, "mint", lambda call, user, **_: real(call, user))
    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        test_a_password_that_has_to_be_changed_gets_a_token_that_changes_it_and_opens_no_mail(
            tenant, app, services, user, "temporary"
        )


def test_a_long_password_that_was_set_elsewhere_signs_in(
    tenant: Api, own: Api, services: MailServices, user: MadeUser
) -> None:
    long = "long " * 200
    services.users.set_password(OPERATOR, user.user_id, Secret(long))
    found = sign_in(tenant, replace(user, password=long), token=True)
    assert found.status == 200
    mine = Api(own.app, found.body["token"])
    assert mine.post("/users/me/2fa/totp/setup", {"issuer": "Eider", "password": long}).status == 200
    assert mine.put("/users/me", {"existingPassword": long, "password": NEW}).status == 200
    assert sign_in(tenant, replace(user, password="x" * 1025)).body["code"] == "InputValidationError"


def test_wrong_ones_are_told_nothing(tenant: Api, services: MailServices, user: MadeUser) -> None:
    stranger = make_user(services)
    answers = [
        tenant.post("/authenticate", {"username": user.address, "password": "wrong"}),
        tenant.post("/authenticate", {"username": f"x{user.address}", "password": "wrong"}),
        sign_in(tenant, stranger),
    ]
    assert {(one.status, str(one.body)) for one in answers} == {
        (403, "{'error': 'Authentication failed', 'code': 'AuthFailed'}")
    }
    assert tenant.post("/preauth", {"username": stranger.address}).body["code"] == "AuthFailed"
    assert tenant.post("/preauth", {"username": user.address}).body["require2fa"] is False


def test_who_checks_passwords_gets_no_token_unless_its_role_may(
    app: Application, services: MailServices, user: MadeUser
) -> None:
    owner = owner_of_tenant(user.tenant_id)
    checks = Api(app, token(services, owner, Role.AUTH))
    assert sign_in(checks, user).status == 200
    assert sign_in(checks, user, token=True).body["code"] == "MissingPrivileges"
    assert "token" in sign_in(Api(app, token(services, owner, Role.TOKEN_AUTH)), user, token=True).body


def test_with_totp_nonces_take_the_tokens_place(tenant: Api, app: Application, user: MadeUser) -> None:
    path = f"/users/{user.user_id}/2fa"
    made = tenant.post(f"{path}/totp/setup", {"issuer": "Eider"}).body
    assert base64.b64decode(made["qrcode"].partition(",")[2]).startswith(b"<?xml")
    codes = pyotp.TOTP(made["seed"])
    assert tenant.post(f"{path}/totp/enable", {"token": "000000"}).status in {400, 403}
    code = codes.now()
    assert tenant.post(f"{path}/totp/enable", {"token": code}).status == 200
    found = sign_in(tenant, user, token=True).body
    assert (found["require2fa"], "token" in found, found["require2faEnabled"]) == (["totp"], False, True)
    again = tenant.post(f"{path}/totp/check", {"token": code, "totpNonce": found["totpNonce"]})
    assert (again.status, again.body["code"]) == (403, "InvalidToken"), "a code works once"
    later = codes.at(time.time() + 30)
    answer = tenant.post(f"{path}/totp/check", {"token": later, "totpNonce": found["totpNonce"]})
    assert Api(app, answer.body["token"]).get("/users/me").body["enabled2fa"] == ["totp"]
    assert tenant.post(f"{path}/totp/check", {"token": later, "totpNonce": "0" * 40}).body["code"] == "Invalid2faNonce"
    assert tenant.delete(path).status == 200
    assert "token" in sign_in(tenant, user, token=True).body


def test_a_users_own_token_proves_the_password(own: Api, user: MadeUser) -> None:
    refused = own.post("/users/me/2fa/totp/setup", {"issuer": "Eider"})
    assert (refused.status, refused.body["code"]) == (403, "AuthFailed")
    assert own.post("/users/me/2fa/totp/setup", {"issuer": "Eider", "password": user.password}).status == 200


def test_a_passkey_is_registered_and_asked_for(tenant: Api, app: Application, user: MadeUser) -> None:
    path = f"/users/{user.user_id}/2fa/webauthn"
    device = Authenticator()
    options = tenant.post(
        f"{path}/registration-challenge", {"description": "Key", "origin": ORIGIN, "rpId": "example.org"}
    ).body["registrationOptions"]
    asked = SimpleNamespace(challenge=bytes.fromhex(options["challenge"]), rp=SimpleNamespace(id=options["rp"]["id"]))
    made = device.create(asked, ORIGIN)
    registered = tenant.post(f"{path}/registration-attestation", {"challenge": options["challenge"], **_hex(made)})
    assert registered.body["description"] == "Key"
    nonce = sign_in(tenant, user, token=True).body["twoFactorNonce"]
    begun = tenant.post(
        f"{path}/authentication-challenge", {"origin": ORIGIN, "rpId": "example.org", "twoFactorNonce": nonce}
    ).body["authenticationOptions"]
    signed = device.get(SimpleNamespace(challenge=bytes.fromhex(begun["challenge"]), rp_id="example.org"), ORIGIN)
    body = {"challenge": begun["challenge"], "twoFactorNonce": nonce, "token": True, **_hex(signed)}
    done = tenant.post(f"{path}/authentication-assertion", body).body
    assert done["response"] == {"authenticated": True, "credential": device.id.hex()}
    assert Api(app, done["token"]).get("/users/me").status == 200
    assert tenant.post(f"{path}/authentication-assertion", body).status == 403, "a challenge is good once"
    assert [one["id"] for one in tenant.get(f"{path}/credentials").body["credentials"]] == [device.id.hex()]
    assert tenant.delete(f"{path}/credentials/{device.id.hex()}").body["deleted"] is True


def _hex(credential: dict[str, Any]) -> dict[str, str]:
    parts = {"rawId": credential["rawId"], **credential["response"]}
    return {name: base64.urlsafe_b64decode(text + "==").hex() for name, text in parts.items()}


def test_app_passwords_open_what_they_are_for(own: Api, services: MailServices, user: MadeUser) -> None:
    def ask(**wanted: Any) -> Answer:
        return own.post("/users/me/asps", {"existingPassword": user.password, **wanted})

    made = ask(description="Phone", scopes=["imap"]).body
    letters = Secret(made["password"].encode())
    identity = services.authentication.login(user.address, letters, Protocol.IMAP, "192.0.2.1")
    assert identity.user_id == user.user_id
    shown = own.get(f"/users/me/asps/{made['id']}").body
    assert (shown["description"], shown["scopes"], made["password"] in str(shown)) == ("Phone", ["imap"], False)
    temporary = ask(description="Once", ttl=60, password="abcdefghijklmnop").body
    assert [one["id"] for one in own.get("/users/me/asps").body["results"]] == [made["id"]]
    assert temporary["id"] in [one["id"] for one in own.get("/users/me/asps?showAll=true").body["results"]]
    phone = ask(description="iPhone", generateMobileconfig=True, address=user.address.upper(), scopes=["*"])
    assert b"com.apple.mail.managed" in base64.b64decode(phone.body["mobileconfig"])
    stranger = ask(description="x", address=f"x{user.address}")
    assert (stranger.status, stranger.body["code"]) == (404, "AddressNotFound")
    assert own.delete(f"/users/me/asps/{made['id']}").status == 200
    assert own.delete(f"/users/me/asps/{made['id']}").body["code"] == "AspNotFound"
    assert ask(description="x", scopes=["api"]).body["code"] == "InputValidationError"


def check_a_token_makes_no_way_in(own: Api, user: MadeUser) -> None:
    """A way in outlives the token that asks for it."""
    wanted = {"description": "Mine now", "scopes": ["*"]}
    asked = own.post("/users/me/asps", wanted)
    assert (asked.status, list(asked.body["details"])) == (400, ["existingPassword"])
    assert own.post("/users/me/asps", {**wanted, "existingPassword": "wrong"}).status == 403
    assert own.get("/users/me/asps?showAll=true").body["results"] == []


def test_a_users_own_token_makes_no_app_password_without_the_master_password(
    own: Api, tenant: Api, user: MadeUser
) -> None:
    """Attack W13: nor does an app password that was made stand in for it; a tenant's token does as it always did."""
    check_a_token_makes_no_way_in(own, user)
    made = tenant.post(f"/users/{user.user_id}/asps", {"description": "Phone"})
    assert made.status == 200
    assert own.post("/users/me/asps", {"description": "x", "existingPassword": made.body["password"]}).status == 403


def test_a_token_that_makes_ways_in_would_be_seen(own: Api, user: MadeUser, monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control of W13."""
    monkeypatch.setattr(Reauthentication, "confirm", lambda *_: None)
    with pytest.raises(AssertionError):
        check_a_token_makes_no_way_in(own, user)


def test_a_users_own_token_turns_its_factors_off_with_the_master_password(own: Api, user: MadeUser) -> None:
    path = "/users/me/2fa/custom"
    assert own.put(path, {"password": user.password}).status == 200
    assert list(own.put("/users/me", {"disable2fa": True}).body["details"]) == ["existingPassword"]
    assert own.put("/users/me", {"disable2fa": True, "existingPassword": "wrong"}).status == 403
    assert own.get("/users/me").body["enabled2fa"] == ["custom"]
    assert own.put("/users/me", {"disable2fa": True, "existingPassword": user.password}).status == 200
    assert own.get("/users/me").body["enabled2fa"] == []


def test_the_log_tells_of_tries(tenant: Api, own: Api, services: MailServices, user: MadeUser) -> None:
    for number in range(3):
        tenant.post("/authenticate", {"username": user.address, "password": "wrong", "ip": f"192.0.2.{number}"})
    sign_in(tenant, user, ip="192.0.2.9")
    services.auth_log.flush()
    found = own.get("/users/me/authlog?limit=3").body
    assert (found["total"], len(found["results"])) == (4, 3)
    rest = own.get(f"/users/me/authlog?limit=3&next={found['nextCursor']}").body
    assert (len(rest["results"]), rest["nextCursor"]) == (1, False)
    back = own.get(f"/users/me/authlog?limit=3&previous={rest['previousCursor']}").body
    assert [one["id"] for one in back["results"]] == [one["id"] for one in found["results"]]
    accepted = own.get("/users/me/authlog?action=accepted").body["results"]
    assert [(one["ip"], one["events"]) for one in accepted] == [("192.0.2.9", 1)]
    assert own.get("/users/me/authlog?filterip=192.0.2.1").body["total"] == 1
    assert own.get(f"/users/me/authlog/{accepted[0]['id']}").body["protocol"] == "api"
    assert own.get(f"/users/me/authlog/{'0' * 48}").body["code"] == "EventNotFound"


@pytest.mark.parametrize("name", ["scope", "username", "password"])
def test_operators_are_no_values(tenant: Api, user: MadeUser, name: str) -> None:
    """Attack W4: an object where a text belongs never reaches a query."""
    body: dict[str, object] = {"username": user.address, "password": user.password, name: {"$gt": ""}}
    answer = tenant.post("/authenticate", body)
    assert (answer.status, answer.body["code"]) == (400, "InputValidationError")


def test_a_users_token_looks_at_nobody_elses_password(own: Api, services: MailServices, user: MadeUser) -> None:
    """Right or wrong, of whatever kind: the answer is the same, and nothing is counted against the other."""
    other = make_user(services)
    services.second_factors.enable_custom(OPERATOR, other.user_id)
    for password in (other.password, "another"):
        answer = own.post("/authenticate", {"username": other.address, "password": password, "scope": "imap"})
        assert (answer.status, answer.body["code"]) == (403, "AuthFailed")
    assert sign_in(own, user).body["id"] == str(user.user_id)
