"""What an organisation does about its subscription, but for changing it (`changes`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import stripe

from mailcore.errors import Conflict, NotFound, ValueInvalid
from mailcore.model.actor import Actor
from mailcore.services import MailServices
from portal.accounts.models import Organisation
from portal.audit.services import record
from portal.billing import catalogue, entitlements, mirror, plans
from portal.billing.fitting import check_fits
from portal.billing.gateway import asking, once
from portal.billing.models import BillingAccount, Subscription
from portal.billing.plans import PLANS, Plan
from portal.database import unit_of_work
from portal.jobs import enqueue_after_commit
from portal.mail_plane import Portal

LEAST_TRIAL: Final = timedelta(hours=48)
"""Checkout takes no trial that ends sooner."""


class NoSubscription(NotFound):
    """There is none that runs."""


class SubscriptionRuns(Conflict):
    """There is one already: it is changed, not begun again."""


class PaymentDue(Conflict):
    """An invoice is to be paid first."""


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

    Pages that were opened before are closed: nobody pays for two plans.

    The provider's flexible mode of billing bills what was metered when a metered item is taken away.

    Raises:
        ValueInvalid: no such plan, or not so many.
        SubscriptionRuns, PaymentDue, BeyondSpendCap, SeatsInUse, StorageInUse: why not.
        PaymentsAway, PaymentRefused: as `gateway.asking`.
    """
    plan = PLANS.get(code)
    if plan is None:
        raise ValueInvalid("choose one of the plans")
    with unit_of_work():
        account = mirror.lock_account(organisation.id)
        with asking():
            _look_again(payments, account)
        _check_may_begin(entitlements.facts_of(organisation))
        check_fits(payments.mail, organisation, account, plan, quantity, payments.clock())
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

    Where the commit fails after the provider took it, the mirror notes it with what is fetched next.

    Raises:
        NoSubscription, CouponUsed: why not.
        PaymentsAway, PaymentRefused: as `gateway.asking`; unknown, expired or used up.
    """
    with unit_of_work():
        account = mirror.lock_account(organisation.id)
        subscription = running(organisation)
        coupon = code.strip()[:80]
        if not mirror.take_coupon(organisation.id, coupon):
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


def _check_may_begin(facts: entitlements.Facts) -> None:
    """A plan begins where none runs and nothing is owed for one that did; what never began is neither."""
    found = facts.subscription
    if found is None or found.status in entitlements.NOT_BEGUN:
        return
    if found.status not in entitlements.ENDED:
        raise SubscriptionRuns(found.id)
    if facts.unpaid:
        raise PaymentDue(facts.unpaid[0].id)


def _look_again(payments: Payments, account: BillingAccount) -> None:
    """Learn of what was paid for and not told yet, and close the pages on which it might be paid for once more."""
    if account.customer is None:
        return
    mirror.fetch_all(payments.client, account)
    sessions = payments.client.v1.checkout.sessions
    for each in sessions.list({"customer": account.customer, "status": "open", "limit": 100}).auto_paging_iter():
        sessions.expire(each.id)


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
    data: dict[str, Any] = {"metadata": {"organisation": str(organisation.id)}, "billing_mode": {"type": "flexible"}}
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
