"""What staff change about organisations: each with a reason, in the organisation's own audit log."""

from __future__ import annotations

from redis import Redis
from rq.job import Job
from rq.registry import FailedJobRegistry
from rq.serializers import JSONSerializer

from mailcore.errors import Conflict, NotFound, ValueInvalid
from mailcore.model.actor import Actor
from portal.accounts.models import Organisation, OrganisationState
from portal.audit.services import record
from portal.database import unit_of_work, utc_now
from portal.jobs import enqueue_after_commit
from portal.staff.models import Suspension
from workers.registry import JOBS, QUEUES


def suspend(actor: Actor, organisation: Organisation, reason: str, appeal: str) -> None:
    """Let nobody of an organisation sign in to mail, which still comes in; its owner reads why and how to object.

    Raises:
        ValueInvalid: without a reason or a word on how to object.
        Conflict: it is not active.
    """
    reason, appeal = words(reason), words(appeal)
    with unit_of_work() as current:
        current.refresh(organisation, with_for_update=True)
        if organisation.state != OrganisationState.ACTIVE:
            raise Conflict("the organisation is not active")
        organisation.state = OrganisationState.SUSPENDED
        current.merge(
            Suspension(
                organisation_id=organisation.id,
                reason=reason,
                appeal=appeal,
                suspended_by=actor.identity,
                suspended_at=utc_now(),
            )
        )
        details = {"reason": reason, "appeal": appeal}
        record(actor, "organisation.suspended", organisation.name, details, organisation_id=organisation.id)
        enqueue_after_commit("portal.provision", organisation_id=str(organisation.id))


def lift(actor: Actor, organisation: Organisation, reason: str) -> None:
    """End a suspension.

    Raises:
        ValueInvalid: without a reason.
        Conflict: it is not suspended.
    """
    reason = words(reason)
    with unit_of_work() as current:
        current.refresh(organisation, with_for_update=True)
        if organisation.state != OrganisationState.SUSPENDED:
            raise Conflict("the organisation is not suspended")
        organisation.state = OrganisationState.ACTIVE
        found = current.get(Suspension, organisation.id)
        if found is not None:
            current.delete(found)
        record(actor, "organisation.restored", organisation.name, {"reason": reason}, organisation_id=organisation.id)
        enqueue_after_commit("portal.provision", organisation_id=str(organisation.id))


def retry_job(actor: Actor, redis: Redis, job_id: str) -> None:
    """Put a failed job on its queue again; jobs are idempotent.

    Raises:
        NotFound: no such job failed.
    """
    for name in QUEUES:
        registry = FailedJobRegistry(name, connection=redis, serializer=JSONSerializer)
        if job_id in registry.get_job_ids():
            job = Job.fetch(job_id, connection=redis, serializer=JSONSerializer)
            if job.description not in JOBS:
                raise NotFound(job_id)
            registry.requeue(job)
            with unit_of_work():
                record(actor, "job.retried", job.description, {"job": job_id})
            return
    raise NotFound(job_id)


def words(text: str) -> str:
    """Return a reason on one line.

    Raises:
        ValueInvalid: there is none.
    """
    reason = " ".join(text.split())[:300]
    if not reason:
        raise ValueInvalid("give a reason")
    return reason
