"""Reads of staff: which organisation an address or a domain belongs to, and what is known of it without its mail."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from redis import Redis
from rq import Queue
from rq.job import Job
from rq.serializers import JSONSerializer
from sqlalchemy import or_, select

from mailcore.errors import NotFound, SyntaxFault
from mailcore.model.ids import TenantId
from mailcore.services import MailServices
from portal.accounts.models import Member, Membership, Organisation
from portal.database import session, utc_now
from portal.staff.models import WAITS, Approval, ApprovalState, Suspension
from workers.registry import QUEUES

FOUND = 50
FAILED = 100


@dataclass(frozen=True, slots=True)
class FailedJob:
    """A job that ended by an error; what it was given and what it said stay in the log."""

    id: str
    queue: str
    name: str
    ended_at: datetime | None
    error: str


def find_organisations(mail: MailServices, text: str) -> Sequence[Organisation]:
    """Return organisations by a domain or address of theirs, an address of a member, or a part of their name."""
    text = " ".join(text.split())[:320]
    if not text:
        return []
    tenants = [str(one) for one in _tenants(mail, text)]
    by_member = (
        select(Membership.organisation_id)
        .join(Member, Member.id == Membership.member_id)
        .where(Member.canonical_email == text.lower())
    )
    name = text.replace("\\", "\\\\").replace("%", r"\%").replace("_", r"\_")
    wanted = select(Organisation).where(
        or_(Organisation.tenant.in_(tenants), Organisation.id.in_(by_member), Organisation.name.ilike(f"%{name}%"))
    )
    return session().scalars(wanted.order_by(Organisation.name).limit(FOUND)).all()


def _tenants(mail: MailServices, text: str) -> list[TenantId]:
    found = []
    try:
        if "@" in text:
            found.append(mail.addresses.get(text).tenant_id)
    except (NotFound, SyntaxFault):
        pass
    try:
        owner = mail.domains.owner_of(text.rpartition("@")[2])
    except SyntaxFault:
        owner = None
    return found if owner is None else [*found, owner]


def get_organisation(organisation_id: UUID) -> Organisation:
    """Return an organisation.

    Raises:
        NotFound: there is none.
    """
    found = session().get(Organisation, organisation_id)
    if found is None:
        raise NotFound(organisation_id)
    return found


def suspension_of(organisation_id: UUID) -> Suspension | None:
    """Return why an organisation is suspended, if it is."""
    return session().get(Suspension, organisation_id)


def approvals_asked() -> Sequence[tuple[Approval, Organisation]]:
    """Return what waits for a second member of staff, the oldest first."""
    wanted = (
        select(Approval, Organisation)
        .join(Organisation, Organisation.id == Approval.organisation_id)
        .where(Approval.state == ApprovalState.ASKED, Approval.asked_at > utc_now() - WAITS)
        .order_by(Approval.asked_at)
        .limit(FOUND)
    )
    return [(row[0], row[1]) for row in session().execute(wanted)]


def failed_jobs(redis: Redis | None) -> list[FailedJob]:
    """Return jobs that failed, the latest first; one round trip for each queue and one for each job."""
    if redis is None:
        return []
    found = []
    for name in QUEUES:
        queue = Queue(name, connection=redis, serializer=JSONSerializer)
        for job_id in queue.failed_job_registry.get_job_ids(0, FAILED):
            job = Job.fetch(job_id, connection=redis, serializer=JSONSerializer)
            found.append(FailedJob(job.id, name, job.description or "", job.ended_at, _kind(job)))
    return sorted(found, key=lambda job: str(job.ended_at), reverse=True)[:FAILED]


def _kind(job: Job) -> str:
    """Return the class of the error: its text may hold an address."""
    result = job.latest_result()
    lines = (result.exc_string or "").strip().splitlines() if result is not None else []
    return lines[-1].partition(":")[0].rpartition(".")[2][:80] if lines else ""
