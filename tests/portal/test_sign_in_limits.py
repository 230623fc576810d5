"""Whoever may sign in at the portal gets in, under the limits that are shipped: members, mail users, and both."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pyotp
import pytest
from flask import Flask
from sqlalchemy import update
from sqlalchemy.orm import Session
from webauthn.helpers import parse_authentication_options_json
from werkzeug.test import TestResponse

from infra.devstack.endpoints import ShardUris
from mailcore.errors import AuthenticationFailed
from mailcore.model.access import Protocol
from mailcore.model.factors import Factor
from mailcore.model.ids import UserId
from mailcore.model.limits import LoginLimits
from mailcore.model.secret import Secret
from mailcore.services import MailServices
from mailcore.services.accounts.identity import Identity
from portal.accounts import services as accounts
from portal.accounts import sessions, signing_in, views
from portal.accounts.models import Member
from portal.app import create_app
from portal.database import unit_of_work
from portal.mail_plane import EXTENSION, Portal
from portal.own import signing_in as own_signing_in
from portal.permissions import Role
from portal.settings import PortalSettings
from tests.builders import OPERATOR, PASSWORD, MadeUser, make_services, make_user
from tests.portal.conftest import Browser, make_member, make_organisation
from tests.portal.people import register_passkey, text_of
from tests.portal.test_sign_in import with_totp

MANY = LoginLimits().user.free + 2
"""More than may fail before one waits."""
OTHER = "another long password"
_ranges = itertools.count()


@pytest.fixture(scope="module")
def mail(directory_uri: str, shard_uris: dict[str, ShardUris], redis_url: str) -> Iterator[MailServices]:
    """Services with the limits that are shipped."""
    services = make_services(directory_uri, shard_uris, redis_url, logins=LoginLimits())
    yield services
    services.close()


@pytest.fixture(scope="module")
def app(portal_app: Flask, postgres_url: str, mail: MailServices) -> Iterator[Flask]:
    """The portal on these services; `portal_app` has made its tables."""
    made = create_app(PortalSettings(postgres_url, mail.settings, "http://localhost"), mail)
    parts: Portal = made.extensions[EXTENSION]
    with parts.database.scope():
        yield made
    parts.database.engine.dispose()


@pytest.fixture
def user(mail: MailServices) -> MadeUser:
    return make_user(mail)


@pytest.fixture
def home() -> str:
    """An address of a range where nobody was before."""
    return new_place()


def new_place() -> str:
    number = next(_ranges)
    return f"100.{64 + number // 250 % 60}.{number % 250}.7"


def ask(app: Flask, email: str, password: str, place: str) -> TestResponse:
    """Sign in with a browser that was never used."""
    return at(app, place).post("/sign-in", {"email": email, "password": password})


def at(app: Flask, place: str) -> Browser:
    client = app.test_client()
    client.environ_base["REMOTE_ADDR"] = place
    return Browser(client)


def member_of(mail: MailServices, address: str, password: str) -> Member:
    """A member who has the address of a mail user."""
    member = make_member(mail, password=password)
    with unit_of_work():
        member.email = member.canonical_email = member.lookalike_email = address
    return member


def right_ones(app: Flask, address: str, place: str) -> set[int]:
    return {ask(app, address, PASSWORD, place).status_code for _ in range(MANY)}


def guessed_at(app: Flask, address: str) -> set[int]:
    """Answers to the owner, known from one place, after strangers guessed from many."""
    place = new_place()
    first = ask(app, address, PASSWORD, place)
    for _ in range(MANY):
        ask(app, address, "not it at all", new_place())
    return {first.status_code, ask(app, address, PASSWORD, place).status_code}


# -- counting -----------------------------------------------------------------------------------


def test_right_sign_ins_of_a_mail_user_are_no_failures(app: Flask, user: MadeUser, home: str) -> None:
    assert right_ones(app, user.address, home) == {303}


def test_guesses_of_strangers_do_not_lock_a_mail_user_out(app: Flask, user: MadeUser) -> None:
    assert guessed_at(app, user.address) == {303}


def test_a_mail_user_with_the_address_of_a_member_gets_in_and_so_does_the_member(
    app: Flask, mail: MailServices, user: MadeUser, home: str
) -> None:
    member_of(mail, user.address, OTHER)
    assert right_ones(app, user.address, home) == {303}
    assert ask(app, user.address, OTHER, home).headers["Location"] == "/"
    assert guessed_at(app, user.address) == {303}


def test_guesses_are_stopped_whether_there_is_somebody_or_nobody(app: Flask, mail: MailServices) -> None:
    both = make_user(mail).address
    member_of(mail, both, OTHER)
    for address in (both, f"nobody@{both.partition('@')[2]}"):
        answers = [ask(app, address, "not it at all", new_place()).status_code for _ in range(MANY)]
        assert Counter(answers) == {400: MANY - 2, 429: 2}, address


def as_it_was(mail: MailServices, email: str, password: Secret, place: str) -> Member | Identity:
    """Count whoever comes as a member first, and leave it counted for mail users."""
    try:
        return accounts.check_password(mail, email, password, place)
    except AuthenticationFailed:
        return mail.authentication.login(email, password, Protocol.PORTAL, place)


def test_control_what_is_counted_and_not_taken_back_locks_mail_users_out(
    app: Flask, user: MadeUser, home: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signing_in, "sign_in", as_it_was)
    assert right_ones(app, user.address, home) == {303, 429}
    assert 429 in guessed_at(app, user.address)


def test_a_wrong_password_costs_and_counts_the_same_whoever_there_is(
    app: Flask, mail: MailServices, user: MadeUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = make_user(mail).address
    member_of(mail, both, OTHER)
    seen: Counter[str] = Counter()
    verify, admit = mail.passwords.verify, mail.failed_logins.admit
    monkeypatch.setattr(mail.passwords, "verify", lambda *given: seen.update(["hash"]) or verify(*given))
    monkeypatch.setattr(mail.failed_logins, "admit", lambda *given: seen.update(["count"]) or admit(*given))
    for address in (user.address, make_member(mail).email, both, f"nobody@{user.address.partition('@')[2]}"):
        seen.clear()
        answer = ask(app, address, "not it at all", new_place())
        assert (answer.status_code, seen) == (400, Counter(hash=2, count=2)), address


# -- the second step ----------------------------------------------------------------------------


def test_a_mail_user_who_has_only_a_passkey_gets_in_from_the_front_door(
    app: Flask, mail: MailServices, user: MadeUser, home: str
) -> None:
    device = register_passkey(mail, user.user_id)
    browser = at(app, home)
    answer = browser.post("/sign-in", {"email": user.address, "password": PASSWORD})
    assert answer.headers["Location"] == "/account/second-step"
    assert browser.get("/account/").status_code == 303
    assert "Use a passkey" in text_of(browser.get("/account/second-step"))
    asked = browser.post("/account/second-step/options").get_json()
    credential = json.dumps(device.get(parse_authentication_options_json(asked), "http://localhost"))
    assert browser.post("/account/second-step", {"credential": credential}).headers["Location"] == "/account/"
    assert browser.get("/account/").status_code == 200


def test_a_mail_user_whose_factor_somebody_else_checks_gets_in_from_the_front_door(
    app: Flask, mail: MailServices, user: MadeUser, home: str
) -> None:
    mail.second_factors.enable_custom(OPERATOR, user.user_id)
    browser = at(app, home)
    assert browser.post("/sign-in", {"email": user.address, "password": PASSWORD}).headers["Location"] == "/account/"
    assert browser.get("/account/").status_code == 200


def test_a_code_lets_a_mail_user_in_who_goes_on_where_one_wanted_to_go(
    app: Flask, mail: MailServices, user: MadeUser, home: str
) -> None:
    enrolment = mail.totp.begin(OPERATOR, user.user_id, "Eider", "x")
    totp = pyotp.TOTP(enrolment.seed.reveal_text())
    mail.totp.enable(OPERATOR, user.user_id, totp.now())
    codes = mail.second_factors.make_recovery_codes(OPERATOR, user.user_id)
    browser = at(app, home)
    asked = browser.post("/sign-in?next=/account/filters/", {"email": user.address, "password": PASSWORD})
    entered = browser.post(asked.headers["Location"], {"code": codes[0].reveal_text()})
    assert entered.headers["Location"] == "/account/filters/"
    assert mail.users.get(user.user_id).enabled_2fa == (Factor.TOTP,)


def after_a_change_between_the_steps(app: Flask, mail: MailServices, place: str) -> str:
    member = make_member(mail)
    seed = with_totp(mail, member)
    browser = at(app, place)
    assert browser.post("/sign-in", {"email": member.email, "password": PASSWORD}).headers["Location"].endswith("-step")
    accounts.change_password(mail, OPERATOR, member, Secret(OTHER))
    return str(browser.post("/sign-in/second-step", {"code": pyotp.TOTP(seed).now()}).headers["Location"])


def test_a_password_that_is_changed_between_the_steps_ends_the_second(
    app: Flask, mail: MailServices, home: str
) -> None:
    assert after_a_change_between_the_steps(app, mail, home) == "/sign-in"


def test_control_a_step_that_is_not_bound_to_the_password_goes_on(
    app: Flask, mail: MailServices, home: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signing_in, "_version_of", lambda _: "always this")
    assert after_a_change_between_the_steps(app, mail, home) == "/"


def after_a_change_behind_the_look(
    app: Flask, mail: MailServices, user: MadeUser, place: str, monkeypatch: pytest.MonkeyPatch
) -> int:
    """Sign in while somebody changes the password, after it was found right; return what the own account says."""
    real = mail.authentication.login

    def overtaken(username: str, password: Secret, protocol: Protocol, remote_address: str) -> Identity:
        identity = real(username, password, protocol, remote_address)
        mail.users.set_password(OPERATOR, UserId(user.user_id), Secret(OTHER))
        return identity

    browser = at(app, place)
    monkeypatch.setattr(mail.authentication, "login", overtaken)
    browser.post("/sign-in", {"email": user.address, "password": PASSWORD})
    return browser.get("/account/").status_code


def test_a_session_has_the_version_that_was_looked_at(
    app: Flask, mail: MailServices, user: MadeUser, home: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert after_a_change_behind_the_look(app, mail, user, home, monkeypatch) == 303


def test_control_a_session_that_takes_the_version_of_now_opens_for_the_old_password(
    app: Flask, mail: MailServices, user: MadeUser, home: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def careless(identity: Identity, wanted: str | None) -> object:
        return own_signing_in.enter(mail.users.get(identity.user_id), "password", wanted, change_needed=False)

    monkeypatch.setattr(views, "go_on", careless)
    assert after_a_change_behind_the_look(app, mail, user, home, monkeypatch) == 200


def after_a_reset_behind_the_look(app: Flask, mail: MailServices, place: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Sign in as a member while the password is reset, after it was found right; return where one is led."""
    member = make_organisation(mail).members[Role.OWNER]
    real = signing_in.sign_in

    def overtaken(*given: Any) -> Member | Identity:
        found = real(*given)
        with Session(app.extensions[EXTENSION].database.engine) as other, other.begin():
            other.execute(update(Member).where(Member.id == member.id).values(password_hash="$another"))
        return found

    monkeypatch.setattr(signing_in, "sign_in", overtaken)
    browser = at(app, place)
    browser.post("/sign-in", {"email": member.email, "password": PASSWORD})
    return str(browser.get("/overview").headers.get("Location", "in"))


def test_a_password_that_is_reset_while_it_is_looked_at_opens_nothing(
    app: Flask, mail: MailServices, home: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert after_a_reset_behind_the_look(app, mail, home, monkeypatch).startswith("/sign-in")


def test_control_a_session_that_is_opened_without_another_look_outlives_the_reset(
    app: Flask, mail: MailServices, home: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signing_in, "open_session", lambda member, _, *given: sessions.open_session(member, *given))
    assert not after_a_reset_behind_the_look(app, mail, home, monkeypatch).startswith("/sign-in")
