"""Sessions of browsers: made at sign-in, known by the hash of a token in the cookie, ended here."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from uuid import UUID

from bson import ObjectId
from sqlalchemy import delete, select, update
from sqlalchemy.orm import joinedload

from mailcore.errors import NotFound
from mailcore.model.ids import UserId
from mailcore.model.secret import Secret
from mailcore.model.tenant import State, User
from mailcore.services import MailServices
from portal.access import SignedIn
from portal.accounts import links
from portal.accounts.models import (
    LinkPurpose,
    Member,
    Membership,
    Organisation,
    OrganisationState,
    PortalSession,
)
from portal.database import session, unit_of_work, utc_now
from portal.permissions import Role

LIVES_FOR: Final = timedelta(days=14)
IDLE_FOR: Final = timedelta(hours=24)
SEEN_EVERY: Final = timedelta(minutes=5)
CONFIRMED_FOR: Final = timedelta(minutes=15)
"""So long after somebody proved who it is may security be changed without asking again."""
TOKEN_BYTES: Final = 32
TEMPORARY: Final = "temporary"
"""How a session was opened in which another password comes before anything else."""


@dataclass(frozen=True, slots=True)
class Browser:
    """From where somebody signs in."""

    remote_address: str
    user_agent: str


def digest(token: str) -> bytes:
    """Return the hash by which a token is known."""
    return hashlib.sha256(b"eider portal session" + token.encode("utf-8", "surrogatepass")).digest()


def open_session(member: Member, factor: str, browser: Browser) -> Secret:
    """Sign a member in and return the token for the cookie; works on the organisation joined first.

    Links for another password, asked for before, open nothing any more: who signs in needs none.
    """
    token = secrets.token_urlsafe(TOKEN_BYTES)
    with unit_of_work() as current:
        links.forget(member.canonical_email, LinkPurpose.RESET)
        first = current.scalars(
            select(Membership.organisation_id)
            .where(Membership.member_id == member.id)
            .order_by(Membership.created_at)
            .limit(1)
        ).first()
        current.add(
            PortalSession(
                digest=digest(token),
                member_id=member.id,
                organisation_id=first,
                is_staff=member.is_staff and first is None,
                factor=factor,
                remote_address=browser.remote_address[:64],
                user_agent=clean(browser.user_agent),
                expires_at=utc_now() + LIVES_FOR,
            )
        )
    return Secret(token)


def find_session(token: str) -> SignedIn | None:
    """Return who is signed in by this token, or None; one round trip, two for members with passkeys to count."""
    row = (
        session()
        .execute(
            select(PortalSession, Membership)
            .outerjoin(
                Membership,
                (Membership.member_id == PortalSession.member_id)
                & (Membership.organisation_id == PortalSession.organisation_id),
            )
            .where(PortalSession.digest == digest(token))
            .options(
                joinedload(PortalSession.member).selectinload(Member.passkeys), joinedload(PortalSession.organisation)
            )
        )
        .first()
    )
    if row is None:
        return None
    found, membership = row
    now = utc_now()
    if found.expires_at <= now or found.seen_at + IDLE_FOR <= now:
        return None
    if now - found.seen_at > SEEN_EVERY:
        _touch(found)
    return _signed_in(found, membership)


def still_good(mail: MailServices, who: SignedIn | None) -> SignedIn | None:
    """Return who is signed in, unless it is a mail user for whom that is over; two looks at the directory for those."""
    if who is None or who.role is not Role.MAIL_USER:
        return who
    return who if mail_user_of(mail, who.session) is not None else None


def mail_user_of(mail: MailServices, found: PortalSession) -> User | None:
    """Return the mail user of a session as it is now; None if password, factors or a state changed since; two looks."""
    try:
        user = mail.users.get(UserId(ObjectId(found.mail_user)))
        tenant = mail.tenants.get(user.tenant_id)
    except NotFound:
        return None
    is_same = user.auth_version == found.mail_auth_version and not user.is_shared
    return user if is_same and user.state is State.ACTIVE and tenant.admits is State.ACTIVE else None


def _signed_in(found: PortalSession, membership: Membership | None) -> SignedIn | None:
    if found.mail_user is not None:
        return SignedIn(found, Role.MAIL_USER)
    if found.is_staff:
        if found.member is None or not found.member.is_staff:
            return None
        return SignedIn(found, Role.STAFF, found.member, needs_second_factor=not found.member.has_second_factor)
    organisation = found.organisation
    if membership is None or organisation is None or organisation.state == OrganisationState.CLOSED:
        return None
    assert found.member is not None
    role = Role(membership.role)
    needs = role.value in organisation.second_factor_roles and not found.member.has_second_factor
    return SignedIn(found, role, found.member, organisation, needs)


def _touch(found: PortalSession) -> None:
    with unit_of_work() as current:
        current.execute(update(PortalSession).where(PortalSession.digest == found.digest).values(seen_at=utc_now()))


def renew(old: PortalSession, **changes: object) -> Secret:
    """Give a session a new token: after a second factor, or when its role changes, the old one opens nothing."""
    token = secrets.token_urlsafe(TOKEN_BYTES)
    with unit_of_work():
        old.digest, old.confirmed_at = digest(token), utc_now()
        for name, value in changes.items():
            setattr(old, name, value)
        session().flush()
    return Secret(token)


def is_confirmed(found: PortalSession, within: timedelta = CONFIRMED_FOR) -> bool:
    """Tell whether the owner proved lately who it is."""
    return utc_now() - found.confirmed_at <= within


def confirm(found: PortalSession) -> None:
    """Note that the owner has just proved who it is."""
    with unit_of_work():
        found.confirmed_at = utc_now()


def list_sessions(member_id: UUID) -> Sequence[PortalSession]:
    """Return a member's living sessions, the last used first."""
    now = utc_now()
    return (
        session()
        .scalars(
            select(PortalSession)
            .where(
                PortalSession.member_id == member_id,
                PortalSession.expires_at > now,
                PortalSession.seen_at > now - IDLE_FOR,
            )
            .order_by(PortalSession.seen_at.desc())
            .limit(100)
        )
        .all()
    )


def end_session(token_digest: bytes) -> None:
    """Sign out one browser."""
    with unit_of_work() as current:
        current.execute(delete(PortalSession).where(PortalSession.digest == token_digest))


def end_sessions(member_id: UUID, *, keep: bytes | None = None, only: UUID | None = None) -> int:
    """Sign a member out everywhere but in the session to `keep`, or in the one named; return how many ended."""
    with unit_of_work() as current:
        which = delete(PortalSession).where(PortalSession.member_id == member_id)
        if keep is not None:
            which = which.where(PortalSession.digest != keep)
        if only is not None:
            which = which.where(PortalSession.id == only)
        return int(current.execute(which).rowcount)  # type: ignore[attr-defined]


def organisations_of(member_id: UUID) -> Sequence[Organisation]:
    """Return where somebody is a member, by name."""
    return (
        session()
        .scalars(
            select(Organisation)
            .join(Membership, Membership.organisation_id == Organisation.id)
            .where(Membership.member_id == member_id)
            .order_by(Organisation.name)
        )
        .all()
    )


def clean(user_agent: str) -> str:
    """Return what a browser calls itself, fit to be stored and shown."""
    return "".join(character for character in user_agent if character.isprintable())[:300]
