"""Reads of billing; the organisation comes first."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import select

from portal.accounts.models import Organisation
from portal.billing.models import BillingAccount, ChangeState, Invoice, PlanChange
from portal.database import session

INVOICES = 120
REFUSAL_SHOWN = timedelta(days=1)


def account_of(organisation: Organisation) -> BillingAccount | None:
    """Return the organisation as a customer, if it ever was one."""
    return session().get(BillingAccount, organisation.id)


def invoices_of(organisation: Organisation) -> Sequence[Invoice]:
    """Return its invoices, the newest first."""
    wanted = select(Invoice).where(Invoice.organisation_id == organisation.id, Invoice.status != "draft")
    return session().scalars(wanted.order_by(Invoice.created_at.desc(), Invoice.id.desc()).limit(INVOICES)).all()


def invoice_due(organisation: Organisation) -> Invoice | None:
    """Return the oldest invoice that was to be paid and could not, with a page where it can be; None: there is none."""
    wanted = select(Invoice).where(Invoice.organisation_id == organisation.id, Invoice.status == "open")
    found = session().scalars(wanted.order_by(Invoice.created_at, Invoice.id).limit(INVOICES))
    return next((one for one in found if one.is_unpaid and one.hosted_url), None)


def change_under_way(organisation: Organisation, now: datetime) -> PlanChange | None:
    """Return the change that was confirmed and is not made yet, or the last one if it was refused within a day."""
    wanted = (
        select(PlanChange)
        .where(PlanChange.organisation_id == organisation.id, PlanChange.state != ChangeState.PREVIEWED)
        .order_by(PlanChange.confirmed_at.desc())
        .limit(1)
    )
    found = session().scalars(wanted).one_or_none()
    if found is None or found.state == ChangeState.APPLIED:
        return None
    is_old = found.confirmed_at is None or found.confirmed_at < now - REFUSAL_SHOWN
    return None if found.state == ChangeState.REFUSED and is_old else found
