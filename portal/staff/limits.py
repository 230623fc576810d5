"""Limits of an organisation as staff set them; `billing.enforce` makes the mail plane equal to what follows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from mailcore.errors import NotFound, ValueInvalid
from mailcore.model.actor import Actor
from mailcore.services import MailServices
from portal.accounts.models import Organisation
from portal.audit.services import record
from portal.billing.adjustments import MOST, Limit, adjustments_of
from portal.billing.models import Adjustment
from portal.database import unit_of_work, utc_now
from portal.domains import queries as domains
from portal.jobs import enqueue_after_commit
from portal.staff.models import Approval
from portal.staff.services import words

LIMIT: Final = "limit"
"""Set a limit below what is in use: who is there stays, but nobody and nothing comes in beside."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A limit that is to be set."""

    limit: Limit
    value: int
    reason: str
    until: datetime | None


def in_use(mail: MailServices, organisation: Organisation) -> Mapping[Limit, int]:
    """Return what an organisation uses of what is counted."""
    tenant = mail.tenants.find(organisation.tenant_id)
    return {
        Limit.USERS: mail.users.count_of_tenant(organisation.tenant_id) if tenant is not None else 0,
        Limit.STORAGE: tenant.used_bytes if tenant is not None else 0,
        Limit.DOMAINS: domains.count_claims(organisation),
    }


def set_limit(actor: Actor, mail: MailServices, organisation: Organisation, wanted: Wanted) -> Approval | None:
    """Set a limit in the place of the plan's; below what is in use another member of staff has to agree first.

    Returns what waits for that, or None if it is done.

    Raises:
        ValueInvalid: without a reason, beyond what anybody may have, or over already.
    """
    reason = words(wanted.reason)
    if not 0 < wanted.value <= MOST[wanted.limit]:
        raise ValueInvalid(f"a number from 1 to {MOST[wanted.limit]}")
    if wanted.until is not None and wanted.until <= utc_now():
        raise ValueInvalid("it would be over already")
    checked = Wanted(wanted.limit, wanted.value, reason, wanted.until)
    if wanted.value >= in_use(mail, organisation).get(wanted.limit, 0):
        with unit_of_work():
            _write(actor, organisation, checked)
        return None
    told = _told(checked)
    with unit_of_work() as current:
        asked = Approval(
            organisation_id=organisation.id, what=LIMIT, details=told, reason=reason, asked_by=actor.identity
        )
        current.add(asked)
        current.flush()
        record(actor, "limit.asked", organisation.name, {**told, "reason": reason}, organisation_id=organisation.id)
    return asked


def carry_out(actor: Actor, organisation: Organisation, found: Approval) -> None:
    """Set what somebody else asked for; within a unit of work."""
    until = found.details["until"]
    wanted = Wanted(
        Limit(found.details["limit"]),
        int(found.details["value"]),
        found.reason,
        datetime.fromisoformat(until) if until else None,
    )
    _write(actor, organisation, wanted, asked_by=found.asked_by)


def end(actor: Actor, organisation: Organisation, limit: Limit, reason: str) -> None:
    """Let the plan's limit count again.

    Raises:
        ValueInvalid: without a reason.
        NotFound: nothing is set.
    """
    reason = words(reason)
    with unit_of_work():
        found = adjustments_of(organisation.id).get(limit)
        if found is None or found.ended_at is not None:
            raise NotFound(limit)
        found.ended_at = utc_now()
        details = {"limit": limit.value, "reason": reason}
        record(actor, "limit.ended", organisation.name, details, organisation_id=organisation.id)
        enqueue_after_commit("billing.enforce", organisation_id=str(organisation.id))


def _write(actor: Actor, organisation: Organisation, wanted: Wanted, asked_by: str = "") -> None:
    with unit_of_work() as current:
        current.merge(
            Adjustment(
                organisation_id=organisation.id,
                name=wanted.limit.value,
                value=wanted.value,
                reason=wanted.reason,
                set_by=actor.identity,
                set_at=utc_now(),
                expires_at=wanted.until,
                ended_at=None,
            )
        )
        current.flush()
        details = {**_told(wanted), "reason": wanted.reason, **({"asked_by": asked_by} if asked_by else {})}
        record(actor, "limit.set", organisation.name, details, organisation_id=organisation.id)
        enqueue_after_commit("billing.enforce", organisation_id=str(organisation.id))


def _told(wanted: Wanted) -> dict[str, object]:
    until = wanted.until.isoformat() if wanted.until is not None else ""
    return {"limit": wanted.limit.value, "value": wanted.value, "until": until}
