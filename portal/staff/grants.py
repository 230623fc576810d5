"""Grants: an organisation lets staff look, or act, for a time; without one they see no more than its plan."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final, TypeVar, cast
from uuid import UUID

from flask import abort, g, request
from sqlalchemy import select
from werkzeug.exceptions import Forbidden

from mailcore.errors import NotFound, ValueInvalid
from mailcore.model.actor import Actor
from portal.access import actor
from portal.accounts.models import Organisation
from portal.audit.services import record
from portal.database import session, unit_of_work, utc_now
from portal.staff.models import SupportGrant

View = TypeVar("View", bound=Callable[..., Any])
LONGEST: Final = timedelta(hours=72)


class NoGrant(Forbidden):
    """The organisation has not let staff do this."""


class Grant(StrEnum):
    """What a page of staff needs of the organisation it is about."""

    READ = "read"
    WRITE = "write"


def give(actor_: Actor, organisation: Organisation, reason: str, hours: int, *, may_write: bool) -> SupportGrant:
    """Let staff look, or act, for some hours.

    Raises:
        ValueInvalid: without a reason, or for too long.
    """
    reason = " ".join(reason.split())[:300]
    if not reason or not 0 < hours <= LONGEST // timedelta(hours=1):
        raise ValueInvalid("a grant has a reason and lasts 1 to 72 hours")
    with unit_of_work() as current:
        grant = SupportGrant(
            organisation_id=organisation.id,
            granted_by=actor_.identity,
            reason=reason,
            may_write=may_write,
            created_at=utc_now(),
            expires_at=utc_now() + timedelta(hours=hours),
        )
        current.add(grant)
        details = {"reason": reason, "hours": hours, "may_write": may_write}
        record(actor_, "support.granted", organisation.name, details, organisation_id=organisation.id)
    return grant


def revoke(actor_: Actor, organisation: Organisation, grant_id: UUID) -> None:
    """End a grant now.

    Raises:
        NotFound: the organisation gave no such grant.
    """
    with unit_of_work() as current:
        grant = current.get(SupportGrant, grant_id)
        if grant is None or grant.organisation_id != organisation.id:
            raise NotFound(grant_id)
        grant.revoked_at = grant.revoked_at or utc_now()
        record(actor_, "support.revoked", organisation.name, {}, organisation_id=organisation.id)


def list_grants(organisation: Organisation) -> Sequence[SupportGrant]:
    """Return the grants of an organisation, the newest first."""
    wanted = select(SupportGrant).where(SupportGrant.organisation_id == organisation.id)
    return session().scalars(wanted.order_by(SupportGrant.created_at.desc()).limit(50)).all()


def find_grant(organisation_id: UUID, needed: Grant, now: datetime) -> SupportGrant | None:
    """Return the grant that lets staff do this now, or None."""
    wanted = select(SupportGrant).where(
        SupportGrant.organisation_id == organisation_id,
        SupportGrant.expires_at > now,
        SupportGrant.revoked_at.is_(None),
    )
    if needed is Grant.WRITE:
        wanted = wanted.where(SupportGrant.may_write.is_(True))
    return session().scalars(wanted.order_by(SupportGrant.may_write.desc()).limit(1)).one_or_none()


def under_grant(needed: Grant) -> Callable[[View], View]:
    """Let a page of staff about an organisation be seen only under its grant; each view stands in its audit log.

    The view's path names the organisation as `organisation_id`. The note comes before the page: what cannot be noted
    is not shown.
    """

    def decorate(view: View) -> View:
        @functools.wraps(view)
        def guarded(*arguments: Any, **named: Any) -> Any:
            organisation_id: UUID = named["organisation_id"]
            if session().get(Organisation, organisation_id) is None:
                abort(404)
            grant = find_grant(organisation_id, needed, utc_now())
            if grant is None:
                raise NoGrant
            details = {"grant": str(grant.id), "method": request.method, "needs": needed.value}
            with unit_of_work():
                record(actor(), "support.viewed", request.path, details, organisation_id=organisation_id)
            g.support_grant = grant
            return view(*arguments, **named)

        guarded.portal_grant = needed  # type: ignore[attr-defined]
        return cast("View", guarded)

    return decorate
