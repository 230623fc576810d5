"""Signing in: members by their own password, people with a mailbox by that of the mailbox."""

from __future__ import annotations

import hashlib
from uuid import UUID

from flask_babel import gettext as _
from sqlalchemy import select
from sqlalchemy.orm import selectinload

from mailcore.errors import AuthenticationFailed, MailError, ServerBusy, TooManyAttempts, Unavailable
from mailcore.model.access import Protocol
from mailcore.model.secret import Secret
from mailcore.services import MailServices
from mailcore.services.accounts.identity import Identity
from portal.accounts import factors, services, sessions
from portal.accounts.models import Member, MemberPasskey
from portal.accounts.sessions import Browser
from portal.database import session, unit_of_work


def sign_in(mail: MailServices, email: str, password: Secret, remote_address: str) -> Member | Identity:
    """Return whose password it is: a member's, else a mail user's.

    A mail user is counted as at every other door and as nothing else: guesses at an address where no member is
    bar nobody here. Whatever there is of a member and a mail user, a wrong password costs and counts the same.

    Raises:
        AuthenticationFailed: nobody's.
        TooManyAttempts, ServerBusy: not looked at, or not now.
        UserDisabled, PasswordNotYetValid: a mail user's who may not sign in.
    """
    member = services.find_member(email)
    if member is not None:
        return _member_first(mail, member, password, remote_address)
    try:
        return _mail_user(mail, email, password, remote_address)
    except (AuthenticationFailed, TooManyAttempts):
        services.check_password(mail, email, password, remote_address)
        raise


def _member_first(mail: MailServices, member: Member, password: Secret, remote_address: str) -> Member | Identity:
    """Look at the member's password, then at that of the mail user of the same address, if there is one."""
    try:
        permit = services.admit(mail, member.email, remote_address)
    except TooManyAttempts as locked:
        try:
            return _mail_user(mail, member.email, password, remote_address)
        except AuthenticationFailed:
            raise locked from None
    if services.is_right(mail, permit, member, password):
        return member
    try:
        identity = _mail_user(mail, member.email, password, remote_address)
    except (AuthenticationFailed, TooManyAttempts):
        raise
    except MailError:
        mail.failed_logins.take_back(permit)
        raise
    mail.failed_logins.take_back(permit)
    return identity


def _mail_user(mail: MailServices, email: str, password: Secret, remote_address: str) -> Identity:
    return mail.authentication.login(email, password, Protocol.PORTAL, remote_address)


def refusal_of(error: MailError) -> tuple[str, int]:
    """Return what is said to who is not let in, and with which status.

    Raises:
        Unavailable: it was our own trouble.
    """
    if isinstance(error, TooManyAttempts | ServerBusy):
        return _("Too many tries. Wait a few minutes, then try it again."), 429
    if isinstance(error, Unavailable):
        raise error
    if isinstance(error, AuthenticationFailed):
        return _("Address or password is wrong."), 400
    return _("You cannot sign in. Ask your administrator."), 400


# -- the second step of members -----------------------------------------------------------------


def password_version(member: Member) -> str:
    """Return what changes with a member's password; the salt in its hash keeps this from telling anything of it."""
    return _version_of(member.password_hash)


def _version_of(password_hash: str | None) -> str:
    return hashlib.sha256(b"eider second step" + (password_hash or "").encode()).hexdigest()[:32]


def open_session(member: Member, version: str, factor: str, browser: Browser) -> Secret:
    """Sign in a member whose password was right, unless it was changed since: that ends sessions, this one too.

    Raises:
        AuthenticationFailed: it was.
    """
    with unit_of_work() as current:
        wanted = select(Member.password_hash).where(Member.id == member.id).with_for_update(read=True)
        if _version_of(current.scalar(wanted)) != version:
            raise AuthenticationFailed
        return sessions.open_session(member, factor, browser)


def find_in_second_step(member_id: UUID, version: str) -> Member | None:
    """Return who gave the right password and still has it."""
    wanted = select(Member).where(Member.id == member_id).options(selectinload(Member.passkeys))
    member = session().scalars(wanted).one_or_none()
    return member if member is not None and password_version(member) == version else None


def check_code(mail: MailServices, member: Member, code: str, remote_address: str) -> str:
    """Use up a code of the app or a recovery code, and return which it was.

    Raises:
        SecondFactorWrong: neither.
        TooManyAttempts: too many were wrong lately.
    """
    is_recovery = "-" in code or len(code.strip()) > 8
    permit = mail.failed_logins.admit(f"member-code:{member.id}", None, None, remote_address)
    if is_recovery:
        factors.use_recovery_code(member, code)
    else:
        factors.use_code(mail, member, code)
    mail.failed_logins.take_back(permit, is_good=True)
    return "recovery" if is_recovery else "totp"


def passkey_ids(member_id: UUID) -> list[bytes]:
    """Return the ids of a member's passkeys."""
    return list(session().scalars(select(MemberPasskey.id).where(MemberPasskey.member_id == member_id)))
