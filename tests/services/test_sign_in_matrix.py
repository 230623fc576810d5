"""What opens what: every protocol against every credential and factor, generated (W14).

The answers expected here are written a second time, apart from the table they check; a protocol, a
scope or a kind of credential that is new fails until somebody has said what it may.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from mailcore.errors import (
    AppPasswordNeeded,
    AuthenticationFailed,
    MailError,
    PasswordChangeNeeded,
    ProtocolDisabled,
    ScopeInsufficient,
)
from mailcore.model import access
from mailcore.model.access import CAN_BE_DISABLED, RULES, CredentialKind, Protocol, Scope
from mailcore.model.factors import Factor
from mailcore.model.roles import ROLES, Role
from mailcore.model.secret import Secret
from mailcore.model.token import PLATFORM, TokenOwner
from mailcore.services import MailServices
from mailcore.services.accounts import authentication, verified_passwords
from mailcore.services.accounts import sign_in_rules as rules
from mailcore.services.accounts.login_guard import Refusal
from mailcore.services.accounts.tokens import owner_of_tenant
from mailcore.store.client import Clients
from tests.builders import OPERATOR, MadeUser, make_user

MAIL = {Protocol.IMAP, Protocol.POP3, Protocol.SMTP, Protocol.MANAGESIEVE}
WEB = {Protocol.API, Protocol.PORTAL}
OPENED_BY_SCOPE = {
    Scope.IMAP: {Protocol.IMAP},
    Scope.POP3: {Protocol.POP3},
    Scope.SMTP: {Protocol.SMTP},
    Scope.SIEVE: {Protocol.MANAGESIEVE},
    Scope.ALL: MAIL,
}
OPENED_BY_KIND = {
    CredentialKind.MASTER: MAIL | WEB,
    CredentialKind.TEMPORARY: WEB,
    CredentialKind.TOKEN: MAIL,
    CredentialKind.APP_PASSWORD: MAIL,
}
FACTORS = [(), *((factor,) for factor in Factor), tuple(Factor)]
ROLES_THAT_OPEN_MAIL = {Role.USER}


_numbers = itertools.count(1)


def _another_address() -> str:
    """Of a range of its own: guesses from one range have to wait."""
    return f"2001:db8:{next(_numbers):x}::1"


@dataclass
class World:
    """A user with one of everything."""

    services: MailServices
    user: MadeUser
    directory: Any

    def set(self, **fields: object) -> None:
        """Change the user's document, as other services do."""
        self.directory["users"].update_one({"_id": self.user.user_id}, {"$set": fields})

    def outcome(self, password: Secret, protocol: Protocol) -> type[MailError] | None:
        try:
            self.services.authentication.login(self.user.address, password, protocol, _another_address())
        except MailError as error:
            return type(error)
        return None

    def token_outcome(self, token: Secret, protocol: Protocol) -> type[MailError] | None:
        try:
            self.services.authentication.login_with_token("", token, protocol, _another_address())
        except MailError as error:
            return type(error)
        return None


@pytest.fixture
def world(services: MailServices, directory_uri: str) -> Iterator[World]:
    clients = Clients({})
    yield World(services, make_user(services), clients.database(directory_uri))
    clients.close()


def test_nothing_is_without_an_entry() -> None:
    """A new protocol, scope, kind of credential, factor, refusal or role must be thought about."""
    assert set(RULES) == set(Protocol) == MAIL | WEB
    assert set(OPENED_BY_SCOPE) == set(Scope)
    assert set(OPENED_BY_KIND) == set(CredentialKind)
    assert set(rules.ERRORS) == set(rules.FAREWELLS) == set(Refusal)
    assert set(ROLES) == set(Role)
    assert {role for role in Role if ROLES[role].opens_mail} == ROLES_THAT_OPEN_MAIL
    assert CAN_BE_DISABLED == MAIL


def test_app_passwords(world: World) -> None:
    """Scope by protocol by factor: a factor changes nothing, and the web is never opened."""
    made = {
        scope: world.services.app_passwords.create(OPERATOR, world.user.user_id, scope.name, [scope])[1]
        for scope in Scope
    }
    for factors in FACTORS:
        world.set(enabled_2fa=[factor.value for factor in factors])
        for scope, protocol in itertools.product(Scope, Protocol):
            expected = None if protocol in OPENED_BY_SCOPE[scope] else ScopeInsufficient
            assert world.outcome(made[scope], protocol) is expected, (scope, protocol, factors)


def test_app_passwords_of_several_scopes(world: World) -> None:
    for scopes in itertools.combinations(Scope, 2):
        _, letters = world.services.app_passwords.create(OPERATOR, world.user.user_id, "two", scopes)
        opened = {protocol for protocol in Protocol if world.outcome(letters, protocol) is None}
        assert opened == OPENED_BY_SCOPE[scopes[0]] | OPENED_BY_SCOPE[scopes[1]]


def test_the_master_password(world: World) -> None:
    """With any factor mail protocols refuse it; the web asks for the factor itself."""
    master = Secret(world.user.password)
    for factors in FACTORS:
        world.set(enabled_2fa=[factor.value for factor in factors])
        for protocol in Protocol:
            refused = bool(factors) and protocol in MAIL
            assert world.outcome(master, protocol) is (AppPasswordNeeded if refused else None), (protocol, factors)
            if protocol in WEB:
                identity = world.services.authentication.login(world.user.address, master, protocol, "")
                assert identity.second_step == factors


def test_a_password_that_somebody_else_chose(world: World) -> None:
    world.services.users.set_password(OPERATOR, world.user.user_id, Secret("chosen by others"), change_needed=True)
    for protocol in Protocol:
        expected = PasswordChangeNeeded if protocol in MAIL else None
        assert world.outcome(Secret("chosen by others"), protocol) is expected
    identity = world.services.authentication.login(world.user.address, Secret("chosen by others"), Protocol.PORTAL, "")
    assert identity.password_change_needed


def test_a_token_of_somebody_who_has_to_choose_another_password_opens_no_mail(world: World) -> None:
    """Whether the user has to, or the token was made for a temporary password; once it is changed a new one opens."""
    users, owner = world.services.users, owners(world)["user"]
    users.set_password(OPERATOR, world.user.user_id, Secret("chosen by others"), change_needed=True)
    assert opened_by_token(world, owner) == dict.fromkeys(MAIL, PasswordChangeNeeded)
    users.set_password(OPERATOR, world.user.user_id, Secret("chosen by myself"))
    assert opened_by_token(world, owner, change_first=True) == dict.fromkeys(MAIL, PasswordChangeNeeded)
    assert opened_by_token(world, owner) == dict.fromkeys(MAIL)


def test_a_rule_that_asks_only_of_passwords_would_be_seen(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control."""
    monkeypatch.setattr(rules, "_change_first", lambda _: None)
    with pytest.raises(AssertionError):
        test_a_token_of_somebody_who_has_to_choose_another_password_opens_no_mail(world)


def opened_by_token(
    world: World, owner: TokenOwner, *, change_first: bool = False
) -> dict[Protocol, type[MailError] | None]:
    """What a new token of the user is told by each mail protocol; None where it is let in."""
    _, value = world.services.tokens.create(OPERATOR, owner, Role.USER, "x", change_first=change_first)
    told: dict[Protocol, type[MailError] | None] = {}
    for protocol in MAIL:
        try:
            world.services.authentication.login_with_token("", value, protocol, "")
        except MailError as error:
            told[protocol] = type(error)
        else:
            told[protocol] = None
    return told


def test_temporary_passwords(world: World) -> None:
    temporary = world.services.temporary_passwords.create(OPERATOR, world.user.user_id)
    for factors in FACTORS:
        world.set(enabled_2fa=[factor.value for factor in factors])
        for protocol in Protocol:
            expected = None if protocol in WEB else ScopeInsufficient
            assert world.outcome(temporary, protocol) is expected, (protocol, factors)
    identity = world.services.authentication.login(world.user.address, temporary, Protocol.API, "")
    assert identity.password_change_needed
    assert identity.second_step == ()
    world.services.users.set_password(OPERATOR, world.user.user_id, Secret("a new password"))
    assert world.outcome(temporary, Protocol.API) is AuthenticationFailed


def owners(world: World) -> dict[str, TokenOwner]:
    return {
        "platform": PLATFORM,
        "tenant": owner_of_tenant(world.user.tenant_id),
        "user": world.services.tokens.owner_of_user(world.user.user_id),
    }


def test_tokens(world: World) -> None:
    """Scope by role by protocol by factor: users' tokens with the role user, on mail protocols, nothing else."""
    for (scope, owner), role in itertools.product(owners(world).items(), Role):
        if role is Role.USER and scope != "user":
            continue
        world.set(enabled_2fa=[])
        _, token = world.services.tokens.create(OPERATOR, owner, role, f"{scope} {role}")
        for factors in ((), tuple(Factor)):
            world.set(enabled_2fa=[factor.value for factor in factors])
            for protocol in Protocol:
                outcome = world.token_outcome(token, protocol)
                if scope != "user":
                    assert outcome is AuthenticationFailed
                elif role in ROLES_THAT_OPEN_MAIL and protocol in MAIL:
                    assert outcome is None
                else:
                    assert outcome is ScopeInsufficient, (scope, role, protocol)


@pytest.mark.parametrize("by_tenant", [False, True], ids=["user", "tenant"])
def test_disabled_protocols(world: World, by_tenant: bool) -> None:
    """Switched off, nothing opens it; told only after a right password."""
    _, letters = world.services.app_passwords.create(OPERATOR, world.user.user_id, "all")
    _, token = world.services.tokens.create(
        OPERATOR, world.services.tokens.owner_of_user(world.user.user_id), Role.USER, "mail"
    )
    for off in CAN_BE_DISABLED:
        if by_tenant:
            world.services.tenants.set_disabled_protocols(OPERATOR, world.user.tenant_id, frozenset({off}))
        else:
            world.services.users.set_disabled_protocols(OPERATOR, world.user.user_id, frozenset({off}))
        for protocol in MAIL:
            expected = ProtocolDisabled if protocol is off else None
            assert world.outcome(Secret(world.user.password), protocol) is expected
            assert world.outcome(letters, protocol) is expected
            assert world.token_outcome(token, protocol) is expected
        assert world.outcome(Secret("wrong password"), off) is AuthenticationFailed


def _seen_in_logs(world: World, caplog: pytest.LogCaptureFixture) -> list[str]:
    """Which secrets a log holds after each was used, rightly and wrongly, and taken back."""
    caplog.set_level(logging.DEBUG)
    caplog.clear()
    services, user_id = world.services, world.user.user_id
    owner = services.tokens.owner_of_user(user_id)
    app_password, letters = services.app_passwords.create(OPERATOR, user_id, "phone", [Scope.IMAP])
    temporary = services.temporary_passwords.create(OPERATOR, user_id)
    made, token = services.tokens.create(OPERATOR, owner, Role.USER, "phone")
    master, wrong = Secret("canary master word"), Secret("canary wrong word")
    services.users.set_password(OPERATOR, user_id, master)
    for protocol in Protocol:
        for password in (letters, temporary, master, wrong):
            world.outcome(password, protocol)
        world.token_outcome(token, protocol)
    services.last_uses.flush()
    services.app_passwords.revoke(OPERATOR, user_id, app_password.id)
    services.tokens.revoke(OPERATOR, owner, made.id)
    secrets = [one.reveal_text() for one in (letters, temporary, token, master, wrong)]
    logged = [str(record.__dict__) for record in caplog.records]
    assert any("login.accepted" in line for line in logged)
    return [secret for secret in secrets if any(secret in line for line in logged)]


def test_no_credential_reaches_a_log(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """W14: passwords, letters and tokens, whatever became of them, at the most talkative level."""
    assert _seen_in_logs(world, caplog) == []


# -- negative controls --------------------------------------------------------------------------


def _opens_the_api(world: World) -> bool:
    _, letters = world.services.app_passwords.create(OPERATOR, world.user.user_id, "imap only", [Scope.IMAP])
    return world.outcome(letters, Protocol.API) is None


def test_scopes_that_nobody_looks_at(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """W14: an IMAP-only app password on the API."""
    assert not _opens_the_api(world)
    open_to_all = {protocol: replace(rule, scopes=frozenset(Scope)) for protocol, rule in RULES.items()}
    monkeypatch.setattr(rules, "RULES", open_to_all)
    assert _opens_the_api(world)


def test_factors_that_nobody_looks_at(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.set(enabled_2fa=["totp"])
    assert world.outcome(Secret(world.user.password), Protocol.IMAP) is AppPasswordNeeded
    every_second = {protocol: replace(rule, second_step=True) for protocol, rule in access.RULES.items()}
    monkeypatch.setattr(rules, "RULES", every_second)
    assert world.outcome(Secret(world.user.password), Protocol.IMAP) is None


def test_a_protocol_without_a_rule_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    check: Callable[[], None] = test_nothing_is_without_an_entry
    monkeypatch.delitem(RULES, Protocol.POP3)  # type: ignore[arg-type]
    with pytest.raises(AssertionError):
        check()


def test_a_credential_in_a_log_is_found(
    world: World, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control: whoever makes a key of a password says which."""
    key = verified_passwords.VerifiedPasswords.key

    def talkative(self: verified_passwords.VerifiedPasswords, name: str, password: Secret) -> bytes:
        authentication.log.debug("login.key", extra={"password": password.reveal_text()})
        return key(self, name, password)

    monkeypatch.setattr(verified_passwords.VerifiedPasswords, "key", talkative)
    assert len(_seen_in_logs(world, caplog)) == 4
