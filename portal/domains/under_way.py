"""What is still being done for a domain, and how a page is told when that changes."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final, Protocol
from uuid import UUID

from sqlalchemy import select

from portal.database import session, utc_now
from portal.domains.models import DomainClaim
from portal.progress import Progress

WATCHED: Final = timedelta(minutes=10)
"""So long after somebody asked for a look, or after a look, the page waits for what comes of it."""


class Standing(Protocol):
    """What has to be known of a claim."""

    checked_at: datetime | None
    next_check_at: datetime
    verified_at: datetime | None
    applied_at: datetime | None
    problem: str | None


def topic(claim_id: UUID) -> str:
    """Return under what news of a domain are announced."""
    return f"domain:{claim_id}"


def is_looking(claim: Standing) -> bool:
    """Whether a look at its records is due now, or was never made."""
    since_due = utc_now() - claim.next_check_at
    return claim.checked_at is None or timedelta(0) <= since_due < WATCHED


def is_under_way(claim: Standing) -> bool:
    """Whether something follows by itself: a look, or what the mail plane makes of the last one."""
    if is_looking(claim):
        return True
    checked_at = claim.checked_at
    if claim.verified_at is None or checked_at is None or claim.problem is not None:
        return False
    is_applied = claim.applied_at is not None and claim.applied_at >= checked_at
    return not is_applied and utc_now() - checked_at < WATCHED


def version(claim: Standing) -> str:
    """Return what is another whenever the page would show something else."""
    return "/".join(str(each) for each in (claim.checked_at, claim.verified_at, claim.applied_at, claim.problem))


def progress_of(organisation_id: UUID, claim_id: UUID) -> Progress:
    """Return how far an organisation's domain is; one round trip. One that is gone has come to its end."""
    found = session().execute(
        select(
            DomainClaim.checked_at,
            DomainClaim.next_check_at,
            DomainClaim.verified_at,
            DomainClaim.applied_at,
            DomainClaim.problem,
        ).where(
            DomainClaim.organisation_id == organisation_id,
            DomainClaim.id == claim_id,
            DomainClaim.removed_at.is_(None),
        )
    ).one_or_none()  # fmt: skip
    if found is None:
        return Progress(ended=True)
    return Progress(ended=not is_under_way(found), version=version(found))
