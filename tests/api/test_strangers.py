"""What a tenant's token learns and changes by signing in users of other tenants: nothing (attack W6)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from infra.devstack.endpoints import ShardUris
from mailcore.api.app import create_app
from mailcore.errors import TooManyAttempts
from mailcore.model.access import Protocol, Scope
from mailcore.model.limits import LoginLimits, Penalty
from mailcore.model.roles import Role
from mailcore.model.secret import Secret
from mailcore.model.tenant import State
from mailcore.services import MailServices
from mailcore.services.accounts.login_guard import Attempt
from mailcore.services.accounts.passwords import Passwords
from mailcore.services.accounts.tokens import owner_of_tenant
from tests.api.conftest import Api, token
from tests.builders import OPERATOR, PASSWORD, MadeUser, make_services, make_user

FREE = 3
"""Failures of a range of addresses before it waits."""
THERE = "203.0.113.9"

Way = Callable[[MailServices, MadeUser], tuple[str, str]]
"""Make something of a stranger, and return password and scope to ask with."""


def _suspended(services: MailServices, stranger: MadeUser) -> tuple[str, str]:
    services.users.set_state(OPERATOR, stranger.user_id, State.SUSPENDED)
    return stranger.password, "master"


def _switched_off(services: MailServices, stranger: MadeUser) -> tuple[str, str]:
    services.users.set_disabled_protocols(OPERATOR, stranger.user_id, frozenset({Protocol.IMAP}))
    return stranger.password, "imap"


def _app_password(services: MailServices, stranger: MadeUser) -> tuple[str, str]:
    _, letters = services.app_passwords.create(OPERATOR, stranger.user_id, "Phone", {Scope.POP3})
    return letters.reveal_text(), "imap"


def _temporary(services: MailServices, stranger: MadeUser) -> tuple[str, str]:
    return services.temporary_passwords.create(OPERATOR, stranger.user_id).reveal_text(), "smtp"


def _seen_lately(services: MailServices, stranger: MadeUser) -> tuple[str, str]:
    services.authentication.login(stranger.address, Secret(stranger.password.encode()), Protocol.IMAP, THERE)
    return stranger.password, "imap"


WAYS: dict[str, Way] = {
    "the right password": lambda _, stranger: (stranger.password, "master"),
    "a wrong one": lambda _, stranger: ("not it at all", "master"),
    "one of a suspended user": _suspended,
    "one for a protocol that is off": _switched_off,
    "an app password for something else": _app_password,
    "a temporary password": _temporary,
    "one that was verified a moment ago": _seen_lately,
}


@pytest.fixture
def asking(services: MailServices, user: MadeUser) -> Api:
    """A tenant that checks its users' passwords."""
    return Api(create_app(services), token(services, owner_of_tenant(user.tenant_id), Role.TOKEN_AUTH))


@pytest.mark.parametrize("way", WAYS)
def test_strangers_are_unknown_users(
    asking: Api, services: MailServices, user: MadeUser, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    stranger = make_user(services)
    password, scope = WAYS[way](services, stranger)
    hashes: list[str | None] = []
    real = Passwords.verify
    monkeypatch.setattr(
        Passwords, "verify", lambda self, encoded, given: hashes.append(encoded) or real(self, encoded, given)
    )
    answers = []
    for name in (stranger.address, f"nobody@{user.address.partition('@')[2]}"):
        answer = asking.post("/authenticate", {"username": name, "password": password, "scope": scope})
        answers.append((answer.status, answer.body, len(hashes)))
        hashes.clear()
    assert answers == [(403, {"error": "Authentication failed", "code": "AuthFailed"}, 1)] * 2


@pytest.mark.parametrize("way", [name for name in WAYS if name not in {"the right password", "a wrong one"}])
def test_control_strangers_that_are_looked_up_are_told_apart(
    asking: Api, services: MailServices, user: MadeUser, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    monkeypatch.setattr(Attempt, "may_be_of", lambda *_: True)
    with pytest.raises(AssertionError):
        test_strangers_are_unknown_users(asking, services, user, monkeypatch, way)


# -- limits -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def strict(directory_uri: str, shard_uris: dict[str, ShardUris], redis_url: str) -> Iterator[MailServices]:
    """Services that let a range of addresses fail a few times."""
    limits = replace(LoginLimits(), address_range=Penalty(FREE, 60, 3600))
    services = make_services(directory_uri, shard_uris, redis_url, logins=limits)
    yield services
    services.close()


def gets_in(services: MailServices, user: MadeUser, place: str) -> bool:
    try:
        services.authentication.login(user.address, Secret(PASSWORD.encode()), Protocol.IMAP, place)
    except TooManyAttempts:
        return False
    return True


def after_failures(strict: MailServices, place: str) -> tuple[bool, bool]:
    """Have a tenant say that somebody fails from a place; return whether another's user gets in from there, and it."""
    ours, theirs = make_user(strict), make_user(strict)
    asking = Api(create_app(strict), token(strict, owner_of_tenant(ours.tenant_id), Role.AUTH))
    for number in range(FREE + 1):
        name = f"nobody{number}@{ours.address.partition('@')[2]}"
        asking.post("/authenticate", {"username": name, "password": "wrong", "ip": place})
    mine = asking.post("/authenticate", {"username": ours.address, "password": PASSWORD, "ip": place})
    return gets_in(strict, theirs, place), mine.status == 200


def test_what_a_tenant_says_of_an_address_bars_nobody_elses_users(strict: MailServices) -> None:
    assert after_failures(strict, "203.0.113.20") == (True, False)


def test_control_an_address_that_is_taken_as_said_bars_others(
    strict: MailServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = strict.failed_logins.admit
    monkeypatch.setattr(strict.failed_logins, "admit", lambda *given: real(*given[:4]))
    assert after_failures(strict, "198.18.7.20") == (False, False)


def test_guesses_at_strangers_leave_nothing_counted_of_them(strict: MailServices) -> None:
    ours, theirs = make_user(strict), make_user(strict)
    asking = Api(create_app(strict), token(strict, owner_of_tenant(ours.tenant_id), Role.AUTH))
    for _ in range(FREE):
        asking.post("/authenticate", {"username": theirs.address, "password": "wrong", "ip": "198.18.8.20"})
    assert strict.failed_logins.failures(theirs.user_id) == {}


def test_a_users_own_token_finds_nobody_else(own: Api, services: MailServices, user: MadeUser) -> None:
    colleague = services.users.create(OPERATOR, f"colleague@{user.address.partition('@')[2]}", None, "", user.tenant_id)
    for name in (services.users.get(colleague).address, make_user(services).address, "nobody@nowhere.test"):
        assert own.post("/preauth", {"username": name}).body["code"] == "AuthFailed", name
    assert own.post("/preauth", {"username": user.address}).body["id"] == str(user.user_id)
