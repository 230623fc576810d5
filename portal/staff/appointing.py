"""Who is of staff: operators appoint and dismiss, at the shell alone."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select

from mailcore.errors import Conflict, NotFound
from mailcore.model.actor import Actor
from portal.accounts import sessions
from portal.accounts.emails import lookalike_of, read_email
from portal.accounts.models import Member, Membership
from portal.accounts.services import store_member
from portal.audit.services import record
from portal.database import session, unit_of_work


def appoint(actor: Actor, email: str) -> Member:
    """Make somebody staff, who then has a link for a password mailed and sets a second factor up.

    Raises:
        AddressInvalid: not an address.
        AddressTaken: it looks like another member's.
        Conflict: somebody who belongs to an organisation: staff have an address of their own.
    """
    display, canonical = read_email(email)
    with unit_of_work() as current:
        member = _find(canonical)
        if member is None:
            member = Member(
                email=display, canonical_email=canonical, lookalike_email=lookalike_of(canonical), name=display
            )
            store_member(member)
        if current.scalars(select(Membership).where(Membership.member_id == member.id).limit(1)).first() is not None:
            raise Conflict(f"{display} belongs to an organisation: staff have an address of their own")
        if not member.is_staff:
            member.is_staff = True
            sessions.end_sessions(member.id)
            record(actor, "staff.appointed", member.email)
    return member


def dismiss(actor: Actor, email: str) -> None:
    """Let somebody be of staff no more; every session ends now.

    Raises:
        AddressInvalid: not an address.
        NotFound: nobody of staff has it.
    """
    _, canonical = read_email(email)
    with unit_of_work():
        member = _find(canonical)
        if member is None or not member.is_staff:
            raise NotFound(f"nobody of staff is {email}")
        member.is_staff = False
        sessions.end_sessions(member.id)
        record(actor, "staff.dismissed", member.email)


def list_staff() -> Sequence[Member]:
    """Return everybody of staff, by address."""
    return session().scalars(select(Member).where(Member.is_staff.is_(True)).order_by(Member.canonical_email)).all()


def _find(canonical: str) -> Member | None:
    wanted = select(Member).where(Member.canonical_email == canonical).with_for_update()
    return session().scalars(wanted.execution_options(populate_existing=True)).one_or_none()
