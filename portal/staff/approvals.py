"""Destructive steps: one member of staff asks, another one carries out or declines."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final
from uuid import UUID

from mailcore.errors import NotFound, NotPermitted
from mailcore.model.actor import Actor
from portal.accounts.models import Organisation, OrganisationState
from portal.audit.services import record
from portal.database import unit_of_work, utc_now
from portal.jobs import enqueue_after_commit
from portal.staff import limits
from portal.staff.models import WAITS, Approval, ApprovalState
from portal.staff.services import words

CLOSE: Final = "close"
"""End an organisation: its mail is refused from then on."""


def ask_to_close(actor: Actor, organisation: Organisation, reason: str) -> Approval:
    """Ask that an organisation be closed; somebody else decides.

    Raises:
        ValueInvalid: without a reason.
    """
    with unit_of_work() as current:
        asked = Approval(organisation_id=organisation.id, what=CLOSE, reason=words(reason), asked_by=actor.identity)
        current.add(asked)
        current.flush()
        details = {"reason": asked.reason}
        record(actor, "organisation.closing_asked", organisation.name, details, organisation_id=organisation.id)
    return asked


def decide(actor: Actor, approval_id: UUID, *, approve: bool) -> None:
    """Carry out what somebody else asked for, or decline it.

    Raises:
        NotFound: nothing such waits, or it was asked too long ago.
        NotPermitted: the same person asked for it.
    """
    with unit_of_work() as current:
        found = current.get(Approval, approval_id, with_for_update=True)
        if found is None or found.state != ApprovalState.ASKED or found.asked_at < utc_now() - WAITS:
            raise NotFound(approval_id)
        if found.asked_by == actor.identity:
            raise NotPermitted("somebody else decides")
        found.decided_by, found.decided_at = actor.identity, utc_now()
        found.state = ApprovalState.DONE if approve else ApprovalState.DECLINED
        organisation = current.get_one(Organisation, found.organisation_id)
        if approve:
            CARRIED_OUT[found.what](actor, organisation, found)
        else:
            details = {"what": found.what, "asked_by": found.asked_by, "reason": found.reason}
            record(actor, "approval.declined", organisation.name, details, organisation_id=organisation.id)


def _close(actor: Actor, organisation: Organisation, found: Approval) -> None:
    organisation.state = OrganisationState.CLOSED
    enqueue_after_commit("portal.provision", organisation_id=str(organisation.id))
    details = {"asked_by": found.asked_by, "reason": found.reason}
    record(actor, "organisation.closed", organisation.name, details, organisation_id=organisation.id)


CARRIED_OUT: Final[Mapping[str, Callable[[Actor, Organisation, Approval], None]]] = {
    CLOSE: _close,
    limits.LIMIT: limits.carry_out,
}
