"""Making the mail plane equal to what organisations are entitled to: jobs that may run as often as they like."""

from __future__ import annotations

import logging
from datetime import datetime
from typing import Final
from uuid import UUID

import stripe
from sqlalchemy import select

from mailcore.model.tenant import Tenant
from mailcore.services import MailServices
from portal.accounts.models import Organisation
from portal.billing import mirror
from portal.billing.adjustments import Limit, adjusted, adjustments_of
from portal.billing.entitlements import entitlements
from portal.billing.gateway import asking
from portal.billing.mirror import BILLING
from portal.billing.models import Adjustment, BillingAccount, ChangeState, PlanChange
from portal.database import session, unit_of_work

log = logging.getLogger(__name__)

PAGE: Final = 500


def enforce(mail: MailServices, organisation_id: UUID, now: datetime, *, pays: bool = True) -> bool:
    """Give an organisation's tenant the limits and the standing that it is entitled to; return whether any differed.

    Where nobody `pays` only what staff set is made so. Writes what differs, so a second run writes nothing. A tenant
    that is not there yet gets them by the comparison.
    """
    organisation = session().get(Organisation, organisation_id, populate_existing=True)
    tenant = None if organisation is None else mail.tenants.find(organisation.tenant_id)
    if organisation is None or tenant is None:
        return False
    adjustments = adjustments_of(organisation.id)
    changed = _set_recipients(mail, tenant, adjustments.get(Limit.RECIPIENTS), now)
    if not pays:
        users = adjusted(adjustments.get(Limit.USERS), tenant.limits.users, now)
        storage = adjusted(adjustments.get(Limit.STORAGE), tenant.limits.quota_bytes, now)
        return _set_plan(mail, tenant, users, storage) or changed
    wanted = entitlements(organisation, now)
    storage = None if wanted.storage_bytes is None else max(1, wanted.storage_bytes)
    changed = _set_plan(mail, tenant, wanted.seats, storage) or changed
    if tenant.pays is not (wanted.plan is not None):
        mail.tenants.set_pays(BILLING, tenant.id, pays=wanted.plan is not None)
        changed = True
    if tenant.standing is not wanted.standing:
        mail.tenants.set_standing(BILLING, tenant.id, wanted.standing)
        changed = True
    if changed:
        log.info("billing.enforced", extra={"organisation": str(organisation_id), "stage": wanted.stage.value})
    return changed


def _set_plan(mail: MailServices, tenant: Tenant, users: int | None, storage: int | None) -> bool:
    changed = False
    if tenant.limits.users != users:
        mail.pools.set_max_users(BILLING, tenant.id, users)
        changed = True
    if tenant.limits.quota_bytes != storage:
        mail.pools.set_quota(BILLING, tenant.id, storage)
        changed = True
    return changed


def _set_recipients(mail: MailServices, tenant: Tenant, found: Adjustment | None, now: datetime) -> bool:
    """No plan says how many recipients a day there may be: what is set for reasons of abuse stays, too."""
    name = "tenant_recipients_per_day"
    current = tenant.limits.sending.get(name)
    wanted = adjusted(found, current, now)
    if wanted == current:
        return False
    mail.tenants.set_sending_limit(BILLING, tenant.id, name, wanted, found.reason if found is not None else "")
    return True


def reconcile(client: stripe.StripeClient, organisation_id: UUID) -> None:
    """Make the mirror of an organisation equal to what the provider has now.

    Raises:
        PaymentsAway: it does not answer.
    """
    with unit_of_work():
        account = mirror.lock_account(organisation_id)
        with asking():
            mirror.fetch_all(client, account)


def organisations(after: UUID | None = None) -> list[UUID]:
    """Return a page of organisations by id."""
    wanted = select(Organisation.id).order_by(Organisation.id).limit(PAGE)
    return list(session().scalars(wanted if after is None else wanted.where(Organisation.id > after)))


def adjusted_organisations() -> list[UUID]:
    """Return organisations of which staff ever set a limit."""
    return list(session().scalars(select(Adjustment.organisation_id).distinct()))


def customers(after: UUID | None = None) -> list[UUID]:
    """Return a page of organisations that are customers, by id."""
    wanted = select(BillingAccount.organisation_id).where(BillingAccount.customer.is_not(None))
    wanted = wanted.order_by(BillingAccount.organisation_id).limit(PAGE)
    return list(session().scalars(wanted if after is None else wanted.where(BillingAccount.organisation_id > after)))


def unmade_changes() -> list[UUID]:
    """Return changes that were confirmed and that nobody made yet."""
    wanted = select(PlanChange.id).where(PlanChange.state == ChangeState.CONFIRMED).limit(PAGE)
    return list(session().scalars(wanted))
