"""Signing in: passwords checked, tokens of users minted and taken back."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Final, Literal

from pydantic import StringConstraints

from mailcore.api.call import Call
from mailcore.api.errors import ApiError
from mailcore.api.fields import Flag, Input, Nothing, Output, PresentPassword
from mailcore.api.operation import Operation, Permission
from mailcore.errors import AddressInvalid, AuthenticationFailed, UserNotFound
from mailcore.model.access import Protocol
from mailcore.model.factors import CHECKED
from mailcore.model.ids import UserId
from mailcore.model.roles import Action, Resource, Role, may
from mailcore.model.secret import Secret
from mailcore.model.tenant import User
from mailcore.model.token import TokenOwner, TokenScope
from mailcore.services.process.clock import now

SLIDES: Final = timedelta(days=14)
LIFE: Final = timedelta(days=180)
"""A user's token ends so long after its last use, and so long after it was made."""
SCOPES: Final = {
    "master": Protocol.API,
    "imap": Protocol.IMAP,
    "pop3": Protocol.POP3,
    "smtp": Protocol.SMTP,
}
UserName = Annotated[str, StringConstraints(min_length=1, max_length=256)]
_Scope = Literal["master", "imap", "pop3", "smtp"]


class PreAuth(Input):
    """Who wants to sign in."""

    username: UserName
    scope: _Scope = "master"


class Authenticate(Input):
    """A name, a password, and what for; `token` asks for one."""

    username: UserName
    password: Annotated[PresentPassword, StringConstraints(min_length=1)]
    protocol: Annotated[str, StringConstraints(max_length=255)] = "API"
    scope: _Scope = "master"
    app_id: Annotated[str, StringConstraints(max_length=255)] | None = None
    token: Flag = False


class Known(Output):
    """A user and its second factors."""

    id: str
    username: str
    address: str
    scope: str
    require2fa: list[str] | Literal[False]


class SignedIn(Known):
    """The password is right. With a second factor the nonces take the token's place until it is checked."""

    require2fa_enabled: bool
    require_password_change: bool
    token: str | None = None
    two_factor_nonce: str | None = None
    totp_nonce: str | None = None
    password_pwned: bool | None = None


def pre_authenticate(call: Call, given: PreAuth) -> dict[str, Any]:
    """Tell front ends whom a name means before a password is asked for.

    Raises:
        AuthenticationFailed: nobody that the token sees.
    """
    try:
        route = call.services.addresses.find(given.username)
    except AddressInvalid:
        route = None
    if route is None or not call.sees(route.tenant_id) or call.token_user not in {None, route.user_id}:
        raise AuthenticationFailed("nobody of that name")
    try:
        user = call.services.users.get(route.user_id)
    except UserNotFound:  # it was deleted, and its addresses are kept for it
        raise AuthenticationFailed("nobody of that name") from None
    return _known(user, given.scope)


def authenticate(call: Call, given: Authenticate) -> dict[str, Any]:
    """Check a password, as every other door does; wrong ones count.

    Raises:
        ApiError: the token may not mint others.
        AuthenticationFailed: unknown, wrong, or not of the token's tenant; each at the same cost.
    """
    if given.token and not may(call.role, Action.CREATE, Resource.AUTHENTICATION, own=False):
        raise ApiError(403, "MissingPrivileges", "This token may not make tokens")
    remote = str(given.ip) if given.ip is not None else call.actor.remote_address
    if call.token_user is not None:  # it speaks for one user: no other is looked at, from nowhere but where it asks
        if given.username.strip().lower() not in _names(call.services.users.get(call.token_user)):
            raise AuthenticationFailed("another user's")
        remote = call.actor.remote_address
    within = call.tenant_id if call.token_user is None else None
    identity = call.services.authentication.login(
        given.username, Secret(given.password.encode()), SCOPES[given.scope], remote, within=within
    )
    user = call.services.users.get(identity.user_id)
    found = _known(user, given.scope) | {
        "require2faEnabled": user.settings.requires_2fa or bool(user.enabled_2fa),
        "requirePasswordChange": identity.password_change_needed,
    }
    if given.scope != "master":
        return found
    if CHECKED & set(identity.second_step):
        nonce = call.services.second_factors.begin_step(identity).reveal_text()
        return found | {"twoFactorNonce": nonce, "totpNonce": nonce}
    if given.token:
        found["token"] = mint(call, user, change_first=identity.password_change_needed)
    return found


def _names(user: User) -> set[str]:
    return {str(user.id), user.address.lower()}


def mint(call: Call, user: User, *, change_first: bool = False) -> str:
    """Return a new token of a user, which ends two weeks after its last use.

    `change_first`, or where the user has to: it lets its user choose another password, and does nothing else.
    """
    owner = TokenOwner(TokenScope.USER, user.tenant_id, user.id)
    made = call.services.tokens.create(
        call.actor,
        owner,
        Role.USER,
        "Signed in by the API",
        ends_at=now() + LIFE,
        slides=SLIDES,
        change_first=change_first or user.password_change_needed,
    )
    return made[1].reveal_text()


def check_token(_call: Call, given: Nothing) -> dict[str, Any]:
    """Say that the token is good."""
    return {
        **({"sess": given.sess} if given.sess is not None else {}),
        **({"ip": str(given.ip)} if given.ip is not None else {}),
    }


def revoke_token(call: Call, _: Nothing) -> dict[str, Any]:
    """Take the token back that the request carries."""
    assert call.token is not None
    assert call.value is not None
    call.services.tokens.revoke(call.actor, call.token.owner, call.token.id)
    call.services.bearers.forget(call.value)
    return {}


class TokenChecked(Output):
    """The token is good; what was given comes back."""

    sess: str | None = None
    ip: str | None = None


def _known(user: User, scope: str) -> dict[str, Any]:
    return {
        "id": str(UserId(user.id)),
        "username": user.address,
        "address": user.address,
        "scope": scope,
        "require2fa": sorted(factor.value for factor in user.enabled_2fa) or False,
    }


_READ: Final = Permission(Resource.AUTHENTICATION, Action.READ, own_without_user=True, before_change=True)
OPERATIONS: Final = (
    Operation(
        "POST", "/preauth", "preAuthenticate", "Find who wants to sign in", _READ, PreAuth, Known, pre_authenticate,
    ),
    Operation("POST", "/authenticate", "authenticate", "Check a password", _READ, Authenticate, SignedIn, authenticate),
    Operation(
        "DELETE", "/authenticate", "revokeToken", "Take this token back",
        Permission(Resource.AUTHENTICATION, Action.DELETE, own_without_user=True, before_change=True),
        Nothing, Output, revoke_token,
    ),
    Operation("GET", "/authenticated", "checkToken", "Is this token good?", _READ, Nothing, TokenChecked, check_token),
)  # fmt: skip
