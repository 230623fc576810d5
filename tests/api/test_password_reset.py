"""Temporary passwords by the API: what a reset gives is good once, for a while, and for one thing (attack W15)."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest

from mailcore.api.application import Application
from mailcore.errors import AuthenticationFailed, MailError, PasswordNotYetValid, ScopeInsufficient
from mailcore.model.access import Protocol
from mailcore.model.secret import Secret
from mailcore.services import MailServices
from mailcore.services.accounts import temporary_passwords
from tests.api.conftest import Api
from tests.builders import MadeUser, make_user

EVIL = "evil.example"


def sign_in(services: MailServices, user: MadeUser, password: str, protocol: Protocol = Protocol.API) -> bool:
    try:
        services.authentication.login(user.address, Secret(password.encode()), protocol, "192.0.2.1")
    except AuthenticationFailed:
        return False
    return True


def reset(tenant: Api, user: MadeUser, **fields: object) -> str:
    found: str = tenant.post(f"/users/{user.user_id}/password/reset", {"validAfter": "", **fields}).body["password"]
    return found


def test_it_is_good_once(tenant: Api, services: MailServices, user: MadeUser) -> None:
    """Whoever signs in by it has to choose another password, and with that it is worth nothing."""
    made = reset(tenant, user)
    signed_in = tenant.post("/authenticate", {"username": user.address, "password": made, "token": ""})
    assert (signed_in.status, signed_in.body["requirePasswordChange"]) == (200, True)
    assert tenant.put(f"/users/{user.user_id}", {"password": "a new one of mine"}).status == 200
    assert not sign_in(services, user, made)
    assert not sign_in(services, user, user.password)
    assert sign_in(services, user, "a new one of mine")


def test_it_opens_no_mail(tenant: Api, services: MailServices, user: MadeUser) -> None:
    made = reset(tenant, user)
    for protocol in (Protocol.IMAP, Protocol.POP3, Protocol.SMTP):
        with pytest.raises(ScopeInsufficient):
            sign_in(services, user, made, protocol)


def test_it_ends_and_begins(
    tenant: Api, services: MailServices, user: MadeUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a day it is none; one that begins later is not good yet, and more than a year ahead is refused."""
    made = reset(tenant, user)
    later = datetime.now(UTC) + timedelta(hours=24, seconds=1)
    monkeypatch.setattr(temporary_passwords, "now", lambda: later)
    assert not sign_in(services, user, made)
    monkeypatch.undo()
    ahead = reset(tenant, user, validAfter=(datetime.now(UTC) + timedelta(hours=1)).isoformat())
    with pytest.raises(PasswordNotYetValid):
        sign_in(services, user, ahead)
    far = (datetime.now(UTC) + timedelta(days=400)).isoformat()
    assert tenant.post(f"/users/{user.user_id}/password/reset", {"validAfter": far}).status == 400


def test_of_two_resets_one_counts(tenant: Api, services: MailServices, user: MadeUser) -> None:
    """However many are made at once: the last, and no other."""
    made: list[str] = []
    threads = [threading.Thread(target=lambda: made.append(reset(tenant, user))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(made)) == 6
    assert [sign_in(services, user, one) for one in made].count(True) == 1


def test_a_first_one_that_stays_good_would_be_seen(
    tenant: Api, services: MailServices, user: MadeUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Control: who takes any of them."""
    monkeypatch.setattr(
        temporary_passwords.TemporaryPasswords, "matches", lambda _, __, stored, offered: len(offered) == 16
    )
    with pytest.raises(AssertionError):
        test_of_two_resets_one_counts(tenant, services, user)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(AssertionError):
        test_it_ends_and_begins(tenant, services, user, patch)


def test_no_answer_is_made_of_the_host_that_is_asked(app: Application, tenant: Api, user: MadeUser) -> None:
    """Neither in a body nor in a header, whatever a proxy hands on; and no answer says where else to go."""
    headers = {"Host": EVIL, "X-Forwarded-Host": EVIL, "Forwarded": f"host={EVIL}", "Referer": f"https://{EVIL}/"}
    path = f"/users/{user.user_id}"
    answers = [
        tenant.post(f"{path}/password/reset", {}, headers=headers),
        tenant.get(path, headers=headers),
        tenant.get(f"{path}/", headers=headers),
        tenant.get("/nothing", headers=headers),
        tenant.post(f"{path}/asps", {"description": "x", "generateMobileconfig": True}, headers=headers),
        tenant.post(f"{path}/2fa/totp/setup", {"issuer": "Eider"}, headers=headers),
    ]
    for answer in answers:
        assert EVIL not in answer.raw.decode()
        assert EVIL not in str(answer.headers)
        assert "Location" not in answer.headers
    assert answers[0].headers["Cache-Control"] == "no-store"


def test_nobody_resets_for_others(own: Api, tenant: Api, services: MailServices, user: MadeUser) -> None:
    """Nor with a user's own token for that user: a stolen one would become the password."""
    assert own.post("/users/me/password/reset", {}).body["code"] == "MissingPrivileges"
    for other in (make_user(services), make_user(services, tenant=(user.tenant_id, user.address.partition("@")[2]))):
        assert own.post(f"/users/{other.user_id}/password/reset", {}).body["code"] == "UserNotFound"
    stranger = make_user(services)
    assert tenant.post(f"/users/{stranger.user_id}/password/reset", {}).body["code"] == "UserNotFound"
    with pytest.raises(MailError):
        services.authentication.login(stranger.address, Secret(b"x" * 16), Protocol.API, "192.0.2.1")
