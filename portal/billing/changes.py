"""Another plan, or more or less of it: shown as the next invoice, confirmed, and made once by a worker."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import stripe
from sqlalchemy import delete, select

from mailcore.errors import Conflict, LimitExceeded, NotFound, SyntaxFault, ValueInvalid
from mailcore.model.actor import Actor
from portal.accounts.models import Organisation
from portal.audit.services import record
from portal.billing import catalogue, mirror
from portal.billing.entitlements import entitlements
from portal.billing.fitting import check_fits
from portal.billing.gateway import PaymentRefused, asking, lines_of, once
from portal.billing.models import BillingAccount, ChangeState, PlanChange, Subscription
from portal.billing.plans import BY_KEY, PLANS, Plan
from portal.billing.services import PaymentDue, Payments, running
from portal.billing.stages import Stage
from portal.database import session, unit_of_work
from portal.jobs import enqueue_after_commit

PREVIEW_HOLDS: Final = timedelta(hours=1)
KEPT: Final = timedelta(days=1)
"""How long a preview that nobody confirmed can still be looked at."""
OUTDATED: Final = "outdated"
"""Why a change was refused after all: somebody else made another."""
NO_LONGER_FITS: Final = "no_longer_fits"
"""Or users and mail came meanwhile for which it has no room."""


class PreviewOutdated(Conflict):
    """What was shown no longer holds: look at it again."""


class ChangeUnderWay(Conflict):
    """Another change was confirmed and is being made."""


class NothingChanges(Conflict):
    """That is what there is."""


def preview(
    payments: Payments, actor: Actor, organisation: Organisation, quantity: int, code: str | None = None
) -> PlanChange:
    """Return a change with the next invoice as it will be if it is confirmed; kept for an hour.

    The quantity is of seats or GB, the code that of another plan; None keeps the plan.

    Raises:
        NoSubscription, NothingChanges, PaymentDue: why not.
        ValueInvalid, BeyondSpendCap, SeatsInUse, StorageInUse: as `check_fits`.
        PaymentsAway, PaymentRefused: as `gateway.asking`.
    """
    with unit_of_work() as current:
        account = mirror.lock_account(organisation.id)
        subscription = running(organisation)
        with asking():
            found = _fetch(payments, account, subscription)
            plan = _plan(subscription, code)
            if (plan.key, quantity) == (subscription.price_key, subscription.quantity):
                raise NothingChanges(plan.code)
            _check(payments, organisation, account, subscription, plan, quantity)
            at = payments.clock().replace(microsecond=0)
            wanted = _wanted(payments, found, plan, quantity, at)
            invoice = _next_invoice(payments, subscription, wanted)
        change = PlanChange(
            organisation_id=organisation.id,
            subscription=subscription.id,
            from_price=subscription.price_key,
            to_price=plan.key,
            from_quantity=subscription.quantity,
            to_quantity=quantity,
            wanted=wanted,
            prorated_at=at,
            currency=invoice.currency,
            total=invoice.total,
            lines=lines_of(invoice),
            wanted_by=actor.identity,
            created_at=at,
        )
        current.add(change)
    return change


def confirm(payments: Payments, actor: Actor, organisation: Organisation, change_id: UUID) -> PlanChange:
    """Say that a previewed change is wanted; a worker makes it, once, under the same instant of proration.

    The next invoice is worked out again: it must be the one that was shown. To confirm twice is to confirm once.

    Raises:
        NotFound: no such change of this organisation.
        PreviewOutdated: it was shown too long ago, or anything that it shows has changed.
        ChangeUnderWay: another one is being made.
        PaymentDue, BeyondSpendCap, SeatsInUse, StorageInUse: it fitted when it was shown.
        PaymentsAway, PaymentRefused: as `gateway.asking`.
    """
    with unit_of_work():
        account = mirror.lock_account(organisation.id)
        change = find_change(organisation, change_id)
        if change.state in {ChangeState.CONFIRMED, ChangeState.APPLIED}:
            return change
        if change.state != ChangeState.PREVIEWED or payments.clock() > change.created_at + PREVIEW_HOLDS:
            raise PreviewOutdated(change_id)
        if _is_under_way(organisation):
            raise ChangeUnderWay(change_id)
        subscription = running(organisation)
        with asking():
            _check_still_holds(payments, account, subscription, change)
        _check(payments, organisation, account, subscription, BY_KEY[change.to_price], change.to_quantity)
        change.state, change.confirmed_at = ChangeState.CONFIRMED, payments.clock()
        what = "billing.quantity_wanted" if change.to_price == change.from_price else "billing.plan_wanted"
        told: dict[str, Any] = {"from": change.from_quantity, "to": change.to_quantity, "total": change.total}
        if change.to_price != change.from_price:
            told |= {"from_plan": BY_KEY[change.from_price].code, "to_plan": BY_KEY[change.to_price].code}
        record(actor, what, subscription.id, told, organisation_id=organisation.id)
        enqueue_after_commit("billing.apply_change", change_id=str(change.id))
    return change


def apply_change(payments: Payments, change_id: UUID) -> None:
    """Make a confirmed change at the provider; as often as one likes, it happens once.

    What the provider has is looked at first: whoever died after the call is followed by one that finds it made, also
    when the provider no longer knows the call's key.

    Raises:
        PaymentsAway: not known whether it was made; the same call again finds out.
    """
    with unit_of_work() as current:
        change = current.get(PlanChange, change_id, populate_existing=True)
        if change is None:
            return
        account = mirror.lock_account(change.organisation_id)
        current.refresh(change)
        if change.state != ChangeState.CONFIRMED:
            return
        try:
            with asking():
                change.state, change.reason = _made(payments, account, change)
        except PaymentRefused as refusal:
            change.state, change.reason = ChangeState.REFUSED, str(refusal)[:200]
        enqueue_after_commit("billing.enforce", organisation_id=str(change.organisation_id))


def purge_previews(now: datetime) -> int:
    """Forget changes that were only looked at, a day after; return how many. What was confirmed stays."""
    with unit_of_work() as current:
        gone = current.execute(
            delete(PlanChange).where(PlanChange.state == ChangeState.PREVIEWED, PlanChange.created_at < now - KEPT)
        )
    return int(gone.rowcount)  # type: ignore[attr-defined]


def find_change(organisation: Organisation, change_id: UUID) -> PlanChange:
    """Return a change of this organisation.

    Raises:
        NotFound: it has none such.
    """
    found = session().get(PlanChange, change_id, populate_existing=True)
    if found is None or found.organisation_id != organisation.id:
        raise NotFound(change_id)
    return found


def _made(payments: Payments, account: BillingAccount, change: PlanChange) -> tuple[ChangeState, str]:
    """Make it unless it was made, and return what became of it."""
    current = session()
    subscription = current.get_one(Subscription, change.subscription, populate_existing=True)
    organisation = current.get_one(Organisation, change.organisation_id)
    _fetch(payments, account, subscription)
    if _of(subscription) == (change.to_price, change.to_quantity):
        return ChangeState.APPLIED, ""
    if _of(subscription) != (change.from_price, change.from_quantity):
        return ChangeState.REFUSED, OUTDATED
    try:
        _check(payments, organisation, account, subscription, BY_KEY[change.to_price], change.to_quantity)
    except (Conflict, LimitExceeded, SyntaxFault):
        return ChangeState.REFUSED, NO_LONGER_FITS
    wanted: Any = change.wanted
    payments.client.v1.subscriptions.update(subscription.id, wanted, once(change.id))  # type: ignore[arg-type]
    mirror.fetch_subscription(payments.client, account, subscription.id)
    return ChangeState.APPLIED, ""


def _plan(subscription: Subscription, code: str | None) -> Plan:
    if code is not None and code not in PLANS:
        raise ValueInvalid("choose one of the plans")
    return PLANS[code] if code is not None else BY_KEY[subscription.price_key]


def _of(subscription: Subscription) -> tuple[str, int]:
    return subscription.price_key, subscription.quantity


def _is_under_way(organisation: Organisation) -> bool:
    wanted = select(PlanChange.id).where(
        PlanChange.organisation_id == organisation.id, PlanChange.state == ChangeState.CONFIRMED
    )
    return session().execute(wanted.limit(1)).one_or_none() is not None


def _check(
    payments: Payments,
    organisation: Organisation,
    account: BillingAccount,
    subscription: Subscription,
    plan: Plan,
    quantity: int,
) -> None:
    now = payments.clock()
    if plan.key != subscription.price_key and entitlements(organisation, now).stage is not Stage.ACTIVE:
        raise PaymentDue(subscription.id)
    check_fits(payments.mail, organisation, account, plan, quantity, now)


def _check_still_holds(
    payments: Payments, account: BillingAccount, subscription: Subscription, change: PlanChange
) -> None:
    """Make sure that the change is the one that was shown, and so is its invoice."""
    if subscription.id != change.subscription:
        raise PreviewOutdated(change.id)
    found = _fetch(payments, account, subscription)
    if _of(subscription) != (change.from_price, change.from_quantity) or change.to_price not in BY_KEY:
        raise PreviewOutdated(change.id)
    wanted = _wanted(payments, found, BY_KEY[change.to_price], change.to_quantity, change.prorated_at)
    if wanted != change.wanted:
        raise PreviewOutdated(change.id)
    invoice = _next_invoice(payments, subscription, wanted)
    if (invoice.currency, invoice.total) != (change.currency, change.total):
        raise PreviewOutdated(change.id)


def _fetch(payments: Payments, account: BillingAccount, subscription: Subscription) -> stripe.Subscription:
    """Return the subscription as the provider has it now, the mirror made equal."""
    found = payments.client.v1.subscriptions.retrieve(subscription.id)
    mirror.store_subscription(account, found)
    session().refresh(subscription)
    return found


def _next_invoice(payments: Payments, subscription: Subscription, wanted: Any) -> stripe.Invoice:
    return payments.client.v1.invoices.create_preview({"subscription": subscription.id, "subscription_details": wanted})


def _wanted(payments: Payments, found: stripe.Subscription, plan: Plan, quantity: int, at: datetime) -> dict[str, Any]:
    """Return the change as the provider takes it: the same for the preview and for the real one.

    The plan's own item gets another price, so that its days are prorated; metered ones come and go with the plan.
    """
    there = {str(each.price.lookup_key): each for each in found["items"].data}
    metered = [one.key for one in plan.metered]
    needed = [key for key in (plan.key, *metered) if key not in there]
    prices = catalogue.price_ids(payments.client) if needed else {}
    items: list[dict[str, Any]] = []
    for key, item in there.items():
        if item.price.recurring is None or item.price.recurring.usage_type == "licensed":
            other = {} if key == plan.key else {"price": prices[plan.key]}
            items.append({"id": item.id, "quantity": quantity, **other})
        elif key not in metered:
            items.append({"id": item.id, "deleted": True})
    items += [{"price": prices[key]} for key in metered if key in needed]
    wanted: dict[str, Any] = {"items": items, "proration_behavior": "create_prorations"}
    if found.status != "trialing":
        wanted["proration_date"] = int(at.timestamp())
    return wanted
