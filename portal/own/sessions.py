"""Browsers where a mail user is signed in; they end with the user's other sessions."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from uuid import UUID

from flask import abort, g
from sqlalchemy import delete, select

from mailcore.model.actor import Actor, ActorKind, Door
from mailcore.model.ids import UserId
from mailcore.model.secret import Secret
from mailcore.model.tenant import User
from mailcore.services import MailServices
from portal.access import actor as portal_actor
from portal.access import current
from portal.accounts.models import PortalSession
from portal.accounts.sessions import IDLE_FOR, LIVES_FOR, TEMPORARY, TOKEN_BYTES, Browser, digest, mail_user_of
from portal.database import session, unit_of_work, utc_now
from portal.mail_plane import mail, portal


class SignedOutMeanwhile(Exception):
    """The password was changed elsewhere, or somebody ended every session: sign in again."""


class PasswordFirst(Exception):
    """Somebody else chose the password: another comes before anything else."""


def open_session(user: User, factor: str, browser: Browser) -> Secret:
    """Sign a mail user in and return the token for the cookie."""
    token = secrets.token_urlsafe(TOKEN_BYTES)
    with unit_of_work() as current_session:
        current_session.add(
            PortalSession(
                digest=digest(token),
                mail_user=str(user.id),
                mail_tenant=str(user.tenant_id),
                mail_address=user.address,
                mail_auth_version=user.auth_version,
                factor=factor,
                remote_address=browser.remote_address[:64],
                user_agent="".join(one for one in browser.user_agent if one.isprintable())[:300],
                expires_at=utc_now() + LIVES_FOR,
            )
        )
    return Secret(token)


def me(*, needs_password: bool = True) -> User:
    """Return the mail user of this request as it is now; two round trips a request.

    Raises:
        SignedOutMeanwhile: this session is over.
        PasswordFirst: `needs_password`, and another must be chosen first.
    """
    if current().session.mail_user is None:
        abort(403)
    if "own_user" not in g:
        g.own_user = _living(mail(), current().session)
    user: User = g.own_user
    if needs_password and (user.password_change_needed or current().session.factor == TEMPORARY):
        raise PasswordFirst
    return user


def _living(services: MailServices, found: PortalSession) -> User:
    user = mail_user_of(services, found)
    if user is None:
        end(found.digest)
        raise SignedOutMeanwhile
    return user


def follow_version(user_id: UserId) -> None:
    """Let this session go on after its own user changed what ends all others."""
    user = mail().users.get(user_id)
    with unit_of_work() as current_session:
        own = current_session.merge(current().session)
        own.mail_auth_version = user.auth_version
        if own.factor == TEMPORARY:
            own.factor = "password"
    g.own_user = user


def acting(user: User) -> Actor:
    """Return the mail user as who changes something in the own account."""
    base = portal_actor()
    return Actor(ActorKind.USER, Door.PORTAL, user.address, user.id, base.remote_address, base.request_id)


def list_of(user_id: UserId) -> Sequence[PortalSession]:
    """Return the browsers where a mail user is signed in, the last used first."""
    now = utc_now()
    wanted = select(PortalSession).where(
        PortalSession.mail_user == str(user_id), PortalSession.expires_at > now, PortalSession.seen_at > now - IDLE_FOR
    )
    return session().scalars(wanted.order_by(PortalSession.seen_at.desc()).limit(100)).all()


def end(token_digest: bytes) -> None:
    """End one session."""
    with unit_of_work() as current_session:
        current_session.execute(delete(PortalSession).where(PortalSession.digest == token_digest))


def end_by_id(user_id: UserId, session_id: UUID) -> bool:
    """End one of a user's sessions; False if the user has none such."""
    with unit_of_work() as current_session:
        ended = current_session.execute(
            delete(PortalSession).where(PortalSession.mail_user == str(user_id), PortalSession.id == session_id)
        )
    return bool(ended.rowcount)  # type: ignore[attr-defined]


def origin() -> str:
    """Return the origin to which passkeys are bound: the settings say it, never the request."""
    return portal().settings.public_url
