"""What lies where, told to the payment provider: GB for each day and tier, each once."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert

from portal.accounts.models import Organisation
from portal.billing.entitlements import ENDED, NOT_BEGUN, current_subscription
from portal.billing.gateway import PaymentRefused, asking
from portal.billing.models import BillingAccount, MeterReport
from portal.billing.plans import BY_KEY, GIB, METERS, Tier
from portal.billing.services import Payments
from portal.database import session, unit_of_work

DUPLICATE = "identifier"
"""What Stripe's refusal of an event that it has names."""


def report(payments: Payments, organisation_id: UUID) -> None:
    """Note what a tenant stores now as yesterday's use, and tell what was not told yet; as often as one likes.

    Only on a plan that bills it, and not in its trial: a change of plans never bills days of another.

    The note comes first and is never changed, and the provider takes an identifier once: who dies in between tells
    the same again.

    Raises:
        PaymentsAway: it does not answer; the next run tells what is left.
    """
    day = payments.clock().date() - timedelta(days=1)
    with unit_of_work() as current:
        organisation = current.get(Organisation, organisation_id)
        if organisation is None or payments.mail.tenants.find(organisation.tenant_id) is None:
            return
        is_noted = current.get(MeterReport, (organisation_id, day, Tier.SSD.value)) is not None
        if not is_noted and _is_metered(organisation):
            stored = payments.mail.pools.tiers(organisation.tenant_id)
            for tier, size_bytes in ((Tier.SSD, stored.hot_bytes), (Tier.HDD, stored.cold_bytes)):
                gigabytes = -(-size_bytes // GIB)
                current.execute(
                    insert(MeterReport)
                    .values(organisation_id=organisation_id, day=day, tier=tier.value, gigabytes=gigabytes)
                    .on_conflict_do_nothing()
                )
    _tell(payments, organisation_id)


def _is_metered(organisation: Organisation) -> bool:
    """Whether what is stored now is billed by the day."""
    found = current_subscription(organisation)
    if found is None or found.status in ENDED | NOT_BEGUN | {"trialing"}:
        return False
    return bool(BY_KEY[found.price_key].metered)


def _tell(payments: Payments, organisation_id: UUID) -> None:
    account = session().get(BillingAccount, organisation_id)
    if account is None or account.customer is None:
        return
    wanted = select(MeterReport).where(
        MeterReport.organisation_id == organisation_id, MeterReport.reported_at.is_(None)
    )
    for one in session().scalars(wanted).all():
        with unit_of_work():
            try:
                with asking():
                    payments.client.v1.billing.meter_events.create(
                        {
                            "event_name": METERS[Tier(one.tier)],
                            "identifier": f"{organisation_id}-{one.day}-{one.tier}",
                            "payload": {"stripe_customer_id": account.customer, "value": str(one.gigabytes)},
                        }
                    )
            except PaymentRefused as refusal:
                if DUPLICATE not in str(refusal):
                    raise
            one.reported_at = payments.clock()
