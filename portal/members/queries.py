"""Reads of members; the organisation first."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import joinedload, selectinload

from portal.accounts.models import Invitation, Member, Membership, Organisation
from portal.database import session
from portal.permissions import Role

PAGE = 200


def list_members(organisation: Organisation) -> Sequence[Membership]:
    """Return an organisation's members by name, with their passkeys; two round trips."""
    return (
        session()
        .scalars(
            select(Membership)
            .join(Membership.member)
            .where(Membership.organisation_id == organisation.id)
            .options(joinedload(Membership.member).selectinload(Member.passkeys))
            .order_by(Member.name, Member.email)
            .limit(PAGE)
        )
        .all()
    )


def find_membership(organisation: Organisation, member_id: UUID) -> Membership | None:
    """Return one membership of an organisation, or None."""
    return (
        session()
        .scalars(
            select(Membership)
            .where(Membership.organisation_id == organisation.id, Membership.member_id == member_id)
            .options(joinedload(Membership.member).options(selectinload(Member.passkeys)))
        )
        .one_or_none()
    )


def list_members_of_roles(organisation: Organisation, roles: Sequence[Role]) -> Sequence[Member]:
    """Return every member who has one of these roles."""
    mine = Membership.organisation_id == organisation.id
    wanted = select(Member).join(Membership, Membership.member_id == Member.id)
    return session().scalars(wanted.where(mine, Membership.role.in_(roles))).all()


def count_owners(organisation: Organisation) -> int:
    """Return how many own an organisation."""
    wanted = select(func.count()).select_from(Membership)
    mine = Membership.organisation_id == organisation.id
    return session().scalar(wanted.where(mine, Membership.role == Role.OWNER)) or 0


def list_invitations(organisation: Organisation) -> Sequence[Invitation]:
    """Return who is invited and has not answered, the latest first."""
    return (
        session()
        .scalars(
            select(Invitation)
            .where(Invitation.organisation_id == organisation.id)
            .order_by(Invitation.created_at.desc())
            .limit(PAGE)
        )
        .all()
    )
