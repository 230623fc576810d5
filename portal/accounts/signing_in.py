"""Signing in: members by their own password, people with a mailbox by that of the mailbox."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from bson import ObjectId
from sqlalchemy import select
from sqlalchemy.orm import selectinload

from mailcore.errors import AuthenticationFailed, NonceInvalid, NotFound, SecondFactorWrong
from mailcore.model.access import Protocol
from mailcore.model.actor import Actor, ActorKind, Door
from mailcore.model.ids import UserId
from mailcore.model.secret import Secret
from mailcore.services import MailServices
from portal.accounts import factors, services, sessions
from portal.accounts.models import Member, MemberPasskey, PortalSession
from portal.accounts.sessions import Browser
from portal.database import session, unit_of_work, utc_now

MEMBER: Final = "member"
USER: Final = "user"


@dataclass(frozen=True, slots=True)
class Found:
    """Whose password was right; `name` stands for them in the signed cookie until the second step is done."""

    name: str
    needs_second_step: bool
    has_code: bool = False
    has_passkey: bool = False
    member: Member | None = None
    user_id: UserId | None = None
    auth_version: int = 0
    nonce: Secret | None = None
    needs_password: bool = False
    """Somebody else chose it: another comes before anything else."""


def sign_in(mail: MailServices, email: str, password: Secret, remote_address: str) -> Found:
    """Return whose password it is: a member's, else a mail user's; unknown ones cost as much as wrong ones.

    Raises:
        AuthenticationFailed: nobody's.
        TooManyAttempts, ServerBusy: not looked at, or not now.
    """
    try:
        member = services.check_password(mail, email, password, remote_address)
    except AuthenticationFailed:
        return _mail_user(mail, email, password, remote_address)
    return _of_member(member)


def find_signing_in(mail: MailServices, name: str) -> Found | None:
    """Return who is in the middle of signing in, by the name that stands in the cookie."""
    kind, _, rest = name.partition(":")
    if kind == MEMBER:
        member = (
            session()
            .scalars(select(Member).where(Member.id == UUID(rest)).options(selectinload(Member.passkeys)))
            .one_or_none()
        )
        return _of_member(member) if member is not None else None
    identity, _, nonce = rest.partition(":")
    user_id = UserId(ObjectId(identity))
    try:
        user = mail.users.get(user_id)
    except NotFound:
        return None
    has = set(user.enabled_2fa)
    return Found(name, True, "totp" in has, "webauthn" in has, None, user_id, user.auth_version, Secret(nonce))


def check_code(mail: MailServices, found: Found, code: str, remote_address: str) -> str:
    """Use up a code of the app or a recovery code, and return which it was.

    Raises:
        SecondFactorWrong: neither.
        TooManyAttempts: five were wrong lately.
    """
    is_recovery = "-" in code or len(code.strip()) > 8
    factor = "recovery" if is_recovery else "totp"
    if found.member is not None:
        permit = mail.failed_logins.admit(f"member-code:{found.member.id}", None, None, remote_address)
        if is_recovery:
            factors.use_recovery_code(found.member, code)
        else:
            factors.use_code(mail, found.member, code)
        mail.failed_logins.take_back(permit, is_good=True)
        return factor
    _finish_step(mail, found, _user_check(mail, found, code, remote_address, is_recovery=is_recovery))
    return factor


def open_session(mail: MailServices, found: Found, factor: str, browser: Browser) -> Secret:
    """Sign in who was found, and return the token for the cookie."""
    if found.member is not None:
        return sessions.open_session(found.member, factor, browser)
    assert found.user_id is not None
    user = mail.users.get(found.user_id)
    token = secrets.token_urlsafe(sessions.TOKEN_BYTES)
    with unit_of_work() as current:
        current.add(
            PortalSession(
                digest=sessions.digest(token),
                mail_user=str(user.id),
                mail_tenant=str(user.tenant_id),
                mail_address=user.address,
                mail_auth_version=found.auth_version,
                factor=sessions.TEMPORARY if found.needs_password else factor,
                remote_address=browser.remote_address[:64],
                user_agent=sessions.clean(browser.user_agent),
                expires_at=utc_now() + sessions.LIVES_FOR,
            )
        )
    return Secret(token)


def passkey_ids(member_id: UUID) -> list[bytes]:
    """Return the ids of a member's passkeys."""
    return list(session().scalars(select(MemberPasskey.id).where(MemberPasskey.member_id == member_id)))


def _of_member(member: Member) -> Found:
    return Found(
        f"{MEMBER}:{member.id}",
        member.has_second_factor,
        member.sealed_totp_seed is not None,
        bool(member.passkeys),
        member,
    )


def _mail_user(mail: MailServices, email: str, password: Secret, remote_address: str) -> Found:
    identity = mail.authentication.login(email, password, Protocol.PORTAL, remote_address)
    if not identity.second_step:
        return Found(
            f"{USER}:{identity.user_id}",
            False,
            user_id=identity.user_id,
            auth_version=identity.auth_version,
            needs_password=identity.password_change_needed,
        )
    nonce = mail.second_factors.begin_step(identity)
    has = set(identity.second_step)
    return Found(
        f"{USER}:{identity.user_id}:{nonce.reveal_text()}",
        True,
        "totp" in has,
        "webauthn" in has,
        None,
        identity.user_id,
        identity.auth_version,
        nonce,
    )


def _user_check(
    mail: MailServices, found: Found, code: str, remote_address: str, *, is_recovery: bool
) -> Callable[[], object]:
    assert found.user_id is not None
    user_id = found.user_id
    actor = Actor(ActorKind.USER, Door.PORTAL, str(user_id), None, remote_address)
    if is_recovery:
        return lambda: mail.second_factors.check_recovery_code(actor, user_id, Secret(code.strip()))
    return lambda: mail.totp.check(user_id, code)


def _finish_step(mail: MailServices, found: Found, check: Callable[[], object]) -> None:
    assert found.user_id is not None
    assert found.nonce is not None
    try:
        mail.second_factors.finish_step(found.user_id, found.nonce, check)
    except NonceInvalid as error:
        raise SecondFactorWrong from error
