"""What an organisation does about its subscription: nothing is changed before the next invoice was shown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import stripe
from sqlalchemy.dialects.postgresql import insert

from mailcore.errors import Conflict, LimitExceeded, NotFound, ValueInvalid
from mailcore.model.actor import Actor
from mailcore.services import MailServices
from portal.accounts.models import Organisation
from portal.audit.services import record
from portal.billing import catalogue, entitlements, mirror, plans
from portal.billing.gateway import PaymentRefused, asking, lines_of, once
from portal.billing.models import BillingAccount, ChangeState, QuantityChange, Subscription, UsedCoupon
from portal.billing.plans import PLANS, Plan, Unit
from portal.database import session, unit_of_work
from portal.jobs import enqueue_after_commit
from portal.mail_plane import Portal

LEAST_TRIAL: Final = timedelta(hours=48)
"""Checkout takes no trial that ends sooner."""
PREVIEW_HOLDS: Final = timedelta(hours=1)


class NoSubscription(NotFound):
    """There is none that runs."""


class SubscriptionRuns(Conflict):
    """There is one already: it is changed, not begun again."""


class PreviewOutdated(Conflict):
    """What was shown no longer holds: look at it again."""


class BeyondSpendCap(LimitExceeded):
    """A month would cost more than the organisation allows itself."""


class SeatsInUse(Conflict):
    """More users are there than there would be seats; the detail is how many."""


class CouponUsed(Conflict):
    """The organisation has used this coupon."""


class PaymentsUnknown(RuntimeError):
    """STRIPE_KEY is not set: nobody pays here."""


@dataclass(frozen=True, slots=True)
class Payments:
    """What these services need: the provider's client, the mail plane, the time and where we are."""

    client: stripe.StripeClient
    mail: MailServices
    clock: Callable[[], datetime]
    public_url: str

    @classmethod
    def of(cls, portal: Portal) -> Payments:
        """Return those of a process.

        Raises:
            PaymentsUnknown: the settings name no provider.
        """
        if portal.payments is None:
            raise PaymentsUnknown
        return cls(portal.payments, portal.mail, portal.clock, portal.settings.public_url)


def begin_checkout(payments: Payments, actor: Actor, organisation: Organisation, code: str, quantity: int) -> str:
    """Return the address of the page on which a plan is paid for; what is left of the trial stays free.

    Raises:
        ValueInvalid: no such plan, or not so many.
        SubscriptionRuns, SeatsInUse, BeyondSpendCap: why not.
        PaymentsAway, PaymentRefused: as `gateway.asking`.
    """
    plan = PLANS.get(code)
    if plan is None:
        raise ValueInvalid("choose one of the plans")
    with unit_of_work():
        account = mirror.lock_account(organisation.id)
        running = entitlements.current_subscription(organisation)
        if running is not None and running.status not in entitlements.ENDED:
            raise SubscriptionRuns(running.id)
        _check_quantity(payments, organisation, account, plan, quantity)
        with asking():
            customer = _customer(payments, organisation, account, actor)
            session_ = payments.client.v1.checkout.sessions.create(
                _checkout(payments, organisation, plan, quantity, customer)  # type: ignore[arg-type]
            )
        record(
            actor,
            "billing.checkout_begun",
            plan.code,
            {"quantity": quantity},
            organisation_id=organisation.id,
        )
    return session_.url or payments.public_url


def preview(payments: Payments, actor: Actor, organisation: Organisation, quantity: int) -> QuantityChange:
    """Return a change with the next invoice as it will be if it is confirmed; kept for an hour.

    Raises:
        NoSubscription, SeatsInUse, BeyondSpendCap, ValueInvalid: why not.
        PaymentsAway, PaymentRefused: as `gateway.asking`.
    """
    with unit_of_work() as current:
        account = mirror.lock_account(organisation.id)
        subscription = running(organisation)
        _check_quantity(payments, organisation, account, plans.BY_KEY[subscription.price_key], quantity)
        at = payments.clock().replace(microsecond=0)
        wanted: Any = _wanted(subscription, quantity, at)
        with asking():
            found = payments.client.v1.invoices.create_preview(
                {"subscription": subscription.id, "subscription_details": wanted}
            )
        change = QuantityChange(
            organisation_id=organisation.id,
            subscription=subscription.id,
            from_quantity=subscription.quantity,
            to_quantity=quantity,
            prorated_at=at,
            currency=found.currency,
            total=found.total,
            lines=lines_of(found),
            wanted_by=actor.identity,
            created_at=at,
        )
        current.add(change)
    return change


def confirm(payments: Payments, actor: Actor, organisation: Organisation, change_id: UUID) -> QuantityChange:
    """Say that a previewed change is wanted; a worker makes it, once, under the same instant of proration.

    Raises:
        NotFound: no such change of this organisation.
        PreviewOutdated: it was shown too long ago, or something else was changed meanwhile.
    """
    with unit_of_work():
        account = mirror.lock_account(organisation.id)
        change = find_change(organisation, change_id)
        subscription = running(organisation)
        if change.state != ChangeState.PREVIEWED or payments.clock() > change.created_at + PREVIEW_HOLDS:
            raise PreviewOutdated(change_id)
        if (subscription.id, subscription.quantity) != (change.subscription, change.from_quantity):
            raise PreviewOutdated(change_id)
        _check_quantity(payments, organisation, account, plans.BY_KEY[subscription.price_key], change.to_quantity)
        change.state, change.confirmed_at = ChangeState.CONFIRMED, payments.clock()
        record(
            actor,
            "billing.quantity_wanted",
            subscription.id,
            {"from": change.from_quantity, "to": change.to_quantity, "total": change.total},
            organisation_id=organisation.id,
        )
        enqueue_after_commit("billing.apply_change", change_id=str(change.id))
    return change


def apply_change(payments: Payments, change_id: UUID) -> None:
    """Make a confirmed change at the provider; as often as one likes, it happens once.

    Raises:
        PaymentsAway: not known whether it was made; the same call again finds out.
    """
    with unit_of_work() as current:
        change = current.get(QuantityChange, change_id, populate_existing=True)
        if change is None:
            return
        account = mirror.lock_account(change.organisation_id)
        current.refresh(change)
        if change.state != ChangeState.CONFIRMED:
            return
        subscription = current.get(Subscription, change.subscription, populate_existing=True)
        assert subscription is not None
        wanted = _wanted(subscription, change.to_quantity, change.prorated_at)
        try:
            with asking():
                payments.client.v1.subscriptions.update(subscription.id, wanted, once(change.id))  # type: ignore[arg-type]
                mirror.fetch_subscription(payments.client, account, subscription.id)
        except PaymentRefused as refusal:
            change.state, change.reason = ChangeState.REFUSED, str(refusal)[:200]
            return
        change.state = ChangeState.APPLIED
        enqueue_after_commit("billing.enforce", organisation_id=str(change.organisation_id))


def cancel(payments: Payments, actor: Actor, organisation: Organisation, *, ends: bool) -> None:
    """End the subscription with the period that is paid for (`ends`), or let it go on after all.

    Raises:
        NoSubscription: there is none that runs.
        PaymentsAway, PaymentRefused: as `gateway.asking`.
    """
    with unit_of_work():
        account = mirror.lock_account(organisation.id)
        subscription = running(organisation)
        with asking():
            payments.client.v1.subscriptions.update(subscription.id, {"cancel_at_period_end": ends})
            mirror.fetch_subscription(payments.client, account, subscription.id)
        what = "billing.cancelled" if ends else "billing.resumed"
        record(actor, what, subscription.id, {}, organisation_id=organisation.id)
        enqueue_after_commit("billing.enforce", organisation_id=str(organisation.id))


def card_page(payments: Payments, actor: Actor, organisation: Organisation) -> str:
    """Return the address of the provider's page for cards.

    Raises:
        PaymentsAway, PaymentRefused: as `gateway.asking`.
    """
    with unit_of_work():
        account = mirror.lock_account(organisation.id)
        with asking():
            customer = _customer(payments, organisation, account, actor)
            found = payments.client.v1.billing_portal.sessions.create(
                {"customer": customer, "return_url": f"{payments.public_url}/billing"}
            )
    return found.url


def use_coupon(payments: Payments, actor: Actor, organisation: Organisation, code: str) -> None:
    """Take a coupon off the coming invoices; an organisation uses each once, however many ask at the same time.

    Raises:
        NoSubscription, CouponUsed: why not.
        PaymentsAway, PaymentRefused: as `gateway.asking`; unknown, expired or used up.
    """
    with unit_of_work():
        account = mirror.lock_account(organisation.id)
        subscription = running(organisation)
        coupon = code.strip()[:80]
        if not _take_coupon(organisation, coupon):
            raise CouponUsed(code)
        discounts: Any = [*({"discount": each} for each in subscription.discounts), {"coupon": coupon}]
        options: Any = once(f"{organisation.id}-coupon-{coupon}")
        with asking():
            payments.client.v1.subscriptions.update(subscription.id, {"discounts": discounts}, options)
            mirror.fetch_subscription(payments.client, account, subscription.id)
        record(actor, "billing.coupon_used", coupon, {}, organisation_id=organisation.id)


def add_tax_id(payments: Payments, actor: Actor, organisation: Organisation, kind: str, value: str) -> None:
    """Let invoices bear a number for taxes.

    Raises:
        PaymentsAway, PaymentRefused: as `gateway.asking`; not such a number.
    """
    with unit_of_work():
        account = mirror.lock_account(organisation.id)
        with asking():
            customer = _customer(payments, organisation, account, actor)
            given: Any = {"type": kind, "value": value.strip()}
            payments.client.v1.customers.tax_ids.create(customer, given)
            mirror.fetch_customer(payments.client, account)
        record(actor, "billing.tax_id_added", value.strip(), {"type": kind}, organisation_id=organisation.id)


def remove_tax_id(payments: Payments, actor: Actor, organisation: Organisation, tax_id: str) -> None:
    """Let invoices no longer bear a number.

    Raises:
        NotFound: the organisation has no such number.
        PaymentsAway, PaymentRefused: as `gateway.asking`.
    """
    with unit_of_work():
        account = mirror.lock_account(organisation.id)
        if account.customer is None or tax_id not in {each["id"] for each in account.tax_ids}:
            raise NotFound(tax_id)
        with asking():
            payments.client.v1.customers.tax_ids.delete(account.customer, tax_id)
            mirror.fetch_customer(payments.client, account)
        record(actor, "billing.tax_id_removed", tax_id, {}, organisation_id=organisation.id)


def set_spend_cap(actor: Actor, organisation: Organisation, minor_units: int | None) -> None:
    """Say what a month may cost at most; None is without a cap. What is running is not made smaller by it.

    Raises:
        ValueInvalid: not a positive amount.
    """
    if minor_units is not None and minor_units <= 0:
        raise ValueInvalid("a cap is a positive amount")
    with unit_of_work():
        account = mirror.lock_account(organisation.id)
        before, account.spend_cap = account.spend_cap, minor_units
        record(
            actor,
            "billing.spend_cap",
            organisation.name,
            {"before": before, "after": minor_units},
            organisation_id=organisation.id,
        )
        enqueue_after_commit("billing.enforce", organisation_id=str(organisation.id))


def running(organisation: Organisation) -> Subscription:
    """Return the subscription that runs.

    Raises:
        NoSubscription: there is none.
    """
    found = entitlements.current_subscription(organisation)
    if found is None or found.status in entitlements.ENDED | entitlements.NOT_BEGUN:
        raise NoSubscription(organisation.id)
    return found


def find_change(organisation: Organisation, change_id: UUID) -> QuantityChange:
    """Return a change of this organisation.

    Raises:
        NotFound: it has none such.
    """
    found = session().get(QuantityChange, change_id, populate_existing=True)
    if found is None or found.organisation_id != organisation.id:
        raise NotFound(change_id)
    return found


def _take_coupon(organisation: Organisation, coupon: str) -> bool:
    """Note that an organisation uses a coupon; False if it did before."""
    noted = insert(UsedCoupon).values(organisation_id=organisation.id, coupon=coupon).on_conflict_do_nothing()
    return session().execute(noted.returning(UsedCoupon.coupon)).one_or_none() is not None


def _check_quantity(
    payments: Payments, organisation: Organisation, account: BillingAccount, plan: Plan, quantity: int
) -> None:
    if not plan.least_units <= quantity <= plan.most_units:
        raise ValueInvalid(f"{plan.least_units} to {plan.most_units}")
    if account.spend_cap is not None and plan.unit_amount * quantity > account.spend_cap:
        raise BeyondSpendCap(plan.unit_amount * quantity)
    if plan.unit is Unit.SEAT and payments.mail.tenants.find(organisation.tenant_id) is not None:
        used = payments.mail.users.count_of_tenant(organisation.tenant_id)
        if quantity < used:
            raise SeatsInUse(used)


def _customer(payments: Payments, organisation: Organisation, account: BillingAccount, actor: Actor) -> str:
    """Return the organisation's customer, made once however often this is called."""
    if account.customer is None:
        made = payments.client.v1.customers.create(
            {
                "name": organisation.name,
                "email": actor.identity,
                "metadata": {"organisation": str(organisation.id)},
            },
            once(f"{organisation.id}-customer"),  # type: ignore[arg-type]
        )
        account.customer = made.id
    return account.customer


def _checkout(
    payments: Payments, organisation: Organisation, plan: Plan, quantity: int, customer: str
) -> dict[str, Any]:
    prices = catalogue.price_ids(payments.client)
    data: dict[str, Any] = {"metadata": {"organisation": str(organisation.id)}}
    trial_end = organisation.created_at + plans.TRIAL
    if trial_end >= payments.clock() + LEAST_TRIAL:
        data["trial_end"] = int(trial_end.timestamp())
    return {
        "mode": "subscription",
        "customer": customer,
        "client_reference_id": str(organisation.id),
        "line_items": [
            {"price": prices[plan.key], "quantity": quantity},
            *({"price": prices[one.key]} for one in plan.metered),
        ],
        "subscription_data": data,
        "success_url": f"{payments.public_url}/billing/welcome?session={{CHECKOUT_SESSION_ID}}",
        "cancel_url": f"{payments.public_url}/billing",
    }


def _wanted(subscription: Subscription, quantity: int, at: datetime) -> dict[str, Any]:
    """Return the change as the provider takes it: the same for the preview and for the real one."""
    wanted: dict[str, Any] = {
        "items": [{"id": subscription.item, "quantity": quantity}],
        "proration_behavior": "create_prorations",
    }
    if subscription.status != "trialing":
        wanted["proration_date"] = int(at.timestamp())
    return wanted
