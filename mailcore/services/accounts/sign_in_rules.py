"""Whether a right credential opens a protocol: asked at login, and again of every open session."""

from __future__ import annotations

from mailcore.errors import (
    AppPasswordNeeded,
    AuthenticationFailed,
    MailError,
    PasswordChangeNeeded,
    PasswordNotYetValid,
    ProtocolDisabled,
    ScopeInsufficient,
    UserDisabled,
)
from mailcore.model.access import RULES, CredentialKind, Protocol, Scope
from mailcore.model.tenant import State, Tenant, User
from mailcore.services.accounts.login_guard import Refusal
from mailcore.store.placement import stricter

ERRORS: dict[Refusal, type[MailError]] = {
    Refusal.WRONG: AuthenticationFailed,
    Refusal.DISABLED: UserDisabled,
    Refusal.PROTOCOL: ProtocolDisabled,
    Refusal.SCOPE: ScopeInsufficient,
    Refusal.SECOND_FACTOR: AppPasswordNeeded,
    Refusal.CHANGE_NEEDED: PasswordChangeNeeded,
    Refusal.NOT_YET_VALID: PasswordNotYetValid,
}
"""A row for every refusal."""

FAREWELLS: dict[Refusal, str] = {
    Refusal.WRONG: "Sign in again",
    Refusal.DISABLED: "This login is disabled",
    Refusal.PROTOCOL: "This protocol is switched off for this login",
    Refusal.SCOPE: "This password is not for this protocol",
    Refusal.SECOND_FACTOR: "Sign in again with an app password",
    Refusal.CHANGE_NEEDED: "The password has to be changed first",
    Refusal.NOT_YET_VALID: "Sign in again",
}
"""What an open session is told that would not be let in any more."""


def refusal(
    user: User,
    tenant: Tenant | None,
    protocol: Protocol,
    kind: CredentialKind,
    scopes: frozenset[Scope] = frozenset(),
) -> Refusal | None:
    """Return why this user may not use this protocol by that kind of credential, None if it may.

    `tenant` None: it is gone. `scopes` are those of an app password.
    """
    rule = RULES[protocol]
    if tenant is None or stricter(user.state, tenant.admits) is not State.ACTIVE:
        return Refusal.DISABLED
    if protocol in user.disabled_protocols or protocol in tenant.disabled_protocols:
        return Refusal.PROTOCOL
    if kind is CredentialKind.APP_PASSWORD:
        return None if scopes & rule.scopes else Refusal.SCOPE
    if kind is CredentialKind.TOKEN:
        return _change_first(user) if rule.token else Refusal.SCOPE
    if kind is CredentialKind.TEMPORARY:
        return None if rule.temporary else Refusal.SCOPE
    if rule.second_step:
        return None
    if user.enabled_2fa:
        return Refusal.SECOND_FACTOR
    return _change_first(user)


def _change_first(user: User) -> Refusal | None:
    return Refusal.CHANGE_NEEDED if user.password_change_needed else None
