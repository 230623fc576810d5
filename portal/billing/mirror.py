"""The mirror: rows made equal to objects that were just fetched, one customer at a time."""

from __future__ import annotations

import logging
from typing import Any, Final
from uuid import UUID

import stripe
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert

from mailcore.model.actor import Actor, ActorKind, Door
from portal.audit.services import record
from portal.billing.gateway import coupons_of, invoice_fields, subscription_fields
from portal.billing.models import BillingAccount, Invoice, Subscription, UsedCoupon
from portal.billing.plans import BY_KEY
from portal.database import session, utc_now

log = logging.getLogger(__name__)

PAGE = 100
BILLING: Final = Actor(ActorKind.SYSTEM, Door.WORKER, "billing")
"""Who does what follows from the provider."""


def lock_account(organisation_id: UUID) -> BillingAccount:
    """Return the organisation's account, made if it is missing, and keep others from it until the commit.

    Whoever fetches does so behind this lock: what is written last was fetched last.
    """
    current = session()
    current.execute(insert(BillingAccount).values(organisation_id=organisation_id).on_conflict_do_nothing())
    wanted = select(BillingAccount).where(BillingAccount.organisation_id == organisation_id).with_for_update()
    return current.scalars(wanted.execution_options(populate_existing=True)).one()


def lock_customer(customer: str) -> BillingAccount | None:
    """Return whose customer this is, locked in the same way; None: nobody's here."""
    wanted = select(BillingAccount).where(BillingAccount.customer == customer).with_for_update()
    return session().scalars(wanted.execution_options(populate_existing=True)).one_or_none()


def fetch_all(client: stripe.StripeClient, account: BillingAccount) -> None:
    """Make everything of a customer equal to what is there; behind its lock."""
    if account.customer is None:
        return
    subscriptions = client.v1.subscriptions.list(
        {"customer": account.customer, "status": "all", "limit": PAGE, "expand": ["data.discounts"]}
    )
    coupons = []
    for subscription in subscriptions.auto_paging_iter():
        store_subscription(account, subscription)
        coupons += coupons_of(subscription)
    for invoice in client.v1.invoices.list({"customer": account.customer, "limit": PAGE}).auto_paging_iter():
        store_invoice(account, invoice)
    fetch_customer(client, account)
    _note_coupons(account, coupons)


def fetch_subscription(client: stripe.StripeClient, account: BillingAccount, subscription_id: str) -> None:
    """Make one subscription equal to what is there; behind the customer's lock."""
    found = client.v1.subscriptions.retrieve(subscription_id, {"expand": ["discounts"]})
    store_subscription(account, found)
    if str(found.customer) == account.customer:
        _note_coupons(account, coupons_of(found))


def fetch_invoice(client: stripe.StripeClient, account: BillingAccount, invoice_id: str) -> None:
    """Make one invoice equal to what is there, and its subscription; behind the customer's lock."""
    found = client.v1.invoices.retrieve(invoice_id)
    store_invoice(account, found)
    details = found.parent.subscription_details if found.parent is not None else None
    if details is not None:
        fetch_subscription(client, account, str(details.subscription))


def fetch_customer(client: stripe.StripeClient, account: BillingAccount) -> None:
    """Make what is known of a customer equal to what is there: tax ids, the card."""
    assert account.customer is not None
    found = client.v1.customers.retrieve(account.customer)
    tax_ids = client.v1.customers.tax_ids.list(account.customer, {"limit": PAGE})
    account.tax_ids = [{"id": each.id, "type": each.type, "value": each.value} for each in tax_ids.data]
    card = found.invoice_settings.default_payment_method if found.invoice_settings else None
    if isinstance(card, str):
        shown = client.v1.payment_methods.retrieve(card).card
        account.card = f"{shown.brand} •••• {shown.last4}" if shown is not None else ""


def store_subscription(account: BillingAccount, found: stripe.Subscription) -> None:
    """Write a subscription that was just fetched; another customer's is not ours to write."""
    if str(found.customer) != account.customer:
        return
    fields = subscription_fields(found)
    if fields["price_key"] in BY_KEY:
        _store(Subscription, account, fields)
    else:
        _store_unknown(account, fields)


def _store_unknown(account: BillingAccount, fields: dict[str, Any]) -> None:
    """Write what is told of a subscription to a price that is none of our plans: the plan that it was stays."""
    log.error("billing.price_unknown", extra={"subscription": fields["id"], "price": fields["price_key"]})
    known = session().get(Subscription, fields["id"])
    if known is not None:
        plan = {"price_key": known.price_key, "quantity": known.quantity}
        _store(Subscription, account, {**fields, **plan})


def take_coupon(organisation_id: UUID, coupon: str) -> bool:
    """Note that an organisation uses a coupon; False if it did before."""
    noted = insert(UsedCoupon).values(organisation_id=organisation_id, coupon=coupon).on_conflict_do_nothing()
    return session().execute(noted.returning(UsedCoupon.coupon)).one_or_none() is not None


def _note_coupons(account: BillingAccount, coupons: list[str]) -> None:
    """Note coupons that the provider took and whose use was never committed here: they are not taken again."""
    for coupon in coupons:
        if take_coupon(account.organisation_id, coupon):
            record(BILLING, "billing.coupon_used", coupon, organisation_id=account.organisation_id)


def store_invoice(account: BillingAccount, found: stripe.Invoice) -> None:
    """Write an invoice that was just fetched; another customer's is not ours to write."""
    if str(found.customer) == account.customer:
        _store(Invoice, account, invoice_fields(found))


def _store(table: type[Subscription | Invoice], account: BillingAccount, fields: dict[str, Any]) -> None:
    values = {**fields, "organisation_id": account.organisation_id, "fetched_at": utc_now()}
    changed = {name: value for name, value in values.items() if name != "id"}
    session().execute(insert(table).values(**values).on_conflict_do_update(index_elements=["id"], set_=changed))
