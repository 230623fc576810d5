"""Reads of domains; the organisation first."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import joinedload, selectinload

from portal.accounts.models import Organisation
from portal.database import session, unit_of_work
from portal.domains.errors import ClaimNotFound
from portal.domains.models import DomainClaim, RecordResult
from portal.domains.records import State

PAGE = 50


def list_claims(organisation: Organisation, after: str = "") -> Sequence[DomainClaim]:
    """Return up to `PAGE` domains by name, of those whose names come after one; one round trip."""
    return (
        session()
        .scalars(
            select(DomainClaim)
            .where(
                DomainClaim.organisation_id == organisation.id,
                DomainClaim.removed_at.is_(None),
                DomainClaim.name > after,
            )
            .order_by(DomainClaim.name)
            .limit(PAGE)
        )
        .all()
    )


def count_claims(organisation: Organisation) -> int:
    """Return how many domains an organisation claims."""
    mine = DomainClaim.organisation_id == organisation.id
    return session().scalar(select(func.count()).select_from(DomainClaim).where(mine)) or 0


def count_open(claim_ids: Sequence[UUID]) -> dict[UUID, int]:
    """Return how many records of each domain are not as they should be; one round trip."""
    rows = session().execute(
        select(RecordResult.claim_id, func.count())
        .where(RecordResult.claim_id.in_(claim_ids), RecordResult.state != State.MATCH)
        .group_by(RecordResult.claim_id)
    )
    return {row[0]: row[1] for row in rows}


def get_claim(organisation: Organisation, claim_id: UUID, *, for_change: bool = False) -> DomainClaim:
    """Return one domain of an organisation with its records; two round trips.

    Raises:
        ClaimNotFound: it has none such.
    """
    wanted = (
        select(DomainClaim)
        .where(
            DomainClaim.organisation_id == organisation.id, DomainClaim.id == claim_id, DomainClaim.removed_at.is_(None)
        )
        .options(selectinload(DomainClaim.results))
    )
    claim = session().scalars(wanted.with_for_update() if for_change else wanted).one_or_none()
    if claim is None:
        raise ClaimNotFound(claim_id)
    return claim


def find_claim(organisation: Organisation, name: str) -> DomainClaim | None:
    """Return an organisation's claim of a name, given up or not."""
    mine = DomainClaim.organisation_id == organisation.id
    return session().scalars(select(DomainClaim).where(mine, DomainClaim.name == name)).one_or_none()


# -- across organisations: who has a name, and what the jobs work on --------------------------------


def proven_elsewhere(organisation_id: UUID, names: Sequence[str]) -> list[str]:
    """Return which of these names another organisation has proven."""
    wanted = select(DomainClaim.name).where(
        DomainClaim.name.in_(names),
        DomainClaim.verified_at.is_not(None),
        DomainClaim.organisation_id != organisation_id,
    )
    return list(session().scalars(wanted))


def load(claim_id: UUID) -> DomainClaim | None:
    """Return a claim with organisation and records as it is now; no transaction stays open, DNS or mail comes next."""
    with unit_of_work() as current:
        return current.get(
            DomainClaim,
            claim_id,
            options=[joinedload(DomainClaim.organisation), selectinload(DomainClaim.results)],
            populate_existing=True,
        )


def list_due(at: datetime, limit: int) -> list[UUID]:
    """Return the claims whose records have to be looked at, the longest due first; locked until the commit."""
    wanted = (
        select(DomainClaim.id)
        .where(DomainClaim.next_check_at <= at, DomainClaim.removed_at.is_(None))
        .order_by(DomainClaim.next_check_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return list(session().scalars(wanted))


def list_to_apply(after: UUID | None, limit: int) -> list[UUID]:
    """Return claims that the mail plane has to follow, in order of id."""
    concerns = (
        DomainClaim.verified_at.is_not(None) | DomainClaim.removed_at.is_not(None) | (DomainClaim.proof_missed > 0)
    )
    wanted = select(DomainClaim.id).where(concerns).order_by(DomainClaim.id).limit(limit)
    return list(session().scalars(wanted if after is None else wanted.where(DomainClaim.id > after)))
