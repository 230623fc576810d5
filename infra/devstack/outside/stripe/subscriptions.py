"""Subscriptions: begun, changed, ended, and what time does to them."""

from __future__ import annotations

import calendar
import copy
from datetime import UTC, datetime
from typing import Any

from infra.devstack.outside.stripe import invoices
from infra.devstack.outside.stripe.faults import ApiFault, missing
from infra.devstack.outside.stripe.world import Object, World

DAY_S = 24 * 3600
TOLD_BEFORE_S = 3 * DAY_S
ENDED = ("canceled", "incomplete_expired")


def months_after(moment: int, months: int, day: int) -> int:
    """Return the moment so many months later, on that day of the month or its last."""
    at = datetime.fromtimestamp(moment, UTC)
    number = at.year * 12 + at.month - 1 + months
    year, month = divmod(number, 12)
    last = calendar.monthrange(year, month + 1)[1]
    return int(at.replace(year=year, month=month + 1, day=min(day, last)).timestamp())


def create(world: World, given: dict[str, Any]) -> Object:
    """Begin a subscription, with its first invoice unless it begins with a trial."""
    customer = world.get("customer", given.get("customer", ""))
    trial_end = given.get("trial_end")
    if "trial_period_days" in given:
        trial_end = world.now + given["trial_period_days"] * DAY_S
    trial_end = trial_end if isinstance(trial_end, int) else None
    subscription = world.add(
        "sub",
        "subscription",
        customer=customer["id"],
        status="trialing" if trial_end else "active",
        currency=given.get("currency", ""),
        start_date=world.now,
        billing_cycle_anchor=trial_end or world.now,
        trial_start=world.now if trial_end else None,
        trial_end=trial_end,
        cancel_at=None,
        cancel_at_period_end=given.get("cancel_at_period_end", False),
        canceled_at=None,
        ended_at=None,
        collection_method="charge_automatically",
        default_payment_method=given.get("default_payment_method"),
        billing_mode={"type": "flexible", **given.get("billing_mode", {})},
        latest_invoice=None,
        discounts=[],
        metadata=given.get("metadata", {}),
        items={"object": "list", "data": [], "has_more": False, "url": "/v1/subscription_items"},
    )
    subscription["_told_of_trial_end"] = False
    subscription["discounts"] = _new_discounts(world, subscription, given.get("discounts") or [])
    for each in given.get("items", []):
        _add_item(world, subscription, each)
    _set_period(subscription, world.now, trial_end or _next_end(subscription, world.now))
    customer["currency"] = subscription["currency"]
    world.tell("customer.subscription.created", subscription)
    if trial_end is None:
        if given.get("payment_behavior", "allow_incomplete") == "default_incomplete":
            subscription["status"] = "incomplete"
        _bill(world, subscription, "subscription_create", None)
    return subscription


def update(world: World, subscription: Object, given: dict[str, Any]) -> None:
    """Change a subscription; a change of items in the middle of a period is prorated to the second."""
    if subscription["status"] in ENDED:
        raise missing("subscription", subscription["id"])
    at = given.get("proration_date", world.now)
    behavior = given.get("proration_behavior", "create_prorations")
    for each in given.get("items", []):
        _change_item(world, subscription, each, at, prorate=behavior != "none")
    for name in ("cancel_at_period_end", "default_payment_method"):
        if name in given:
            subscription[name] = given[name]
    if "cancel_at_period_end" in given:
        ends = _period(subscription)[1] if given["cancel_at_period_end"] else None
        subscription.update(cancel_at=ends, canceled_at=world.now if ends else None)
    if "discounts" in given:
        subscription["discounts"] = _new_discounts(world, subscription, given["discounts"] or [])
    if "metadata" in given:
        subscription["metadata"] = {**subscription["metadata"], **given["metadata"]}
    if given.get("trial_end") == "now" and subscription["status"] == "trialing":
        subscription["trial_end"] = world.now
    world.tell("customer.subscription.updated", subscription)
    if behavior == "always_invoice" and given.get("items"):
        _collect(world, invoices.make(world, subscription, "subscription_update", []))
    tick(world)


def cancel(world: World, subscription: Object) -> None:
    """End a subscription now; what was metered so far is billed."""
    if subscription["status"] in ENDED:
        raise missing("subscription", subscription["id"])
    lines = invoices.metered_lines(world, subscription, _period(subscription)[0], world.now)
    lines = [line for line in lines if line["amount"]]
    subscription.update(status="canceled", canceled_at=subscription["canceled_at"] or world.now, ended_at=world.now)
    world.tell("customer.subscription.deleted", subscription)
    if lines:
        _collect(world, invoices.make(world, subscription, "subscription_cycle", lines))


def preview(world: World, given: dict[str, Any]) -> Object:
    """Return the next invoice as it would be after a change, without making the change."""
    imagined = world.imagined()
    details = {name: value for name, value in given.get("subscription_details", {}).items() if value is not None}
    if "subscription" not in given:
        subscription = create(imagined, {"customer": given.get("customer", ""), **details})
        found = imagined.get("invoice", subscription["latest_invoice"]) if subscription["latest_invoice"] else None
        return _as_preview(found or _next_invoice(imagined, subscription))
    subscription = imagined.get("subscription", given["subscription"])
    if subscription["status"] in ENDED:
        raise ApiFault("No upcoming invoices for customer", status=404, code="invoice_upcoming_none")
    before = subscription["latest_invoice"]
    update(imagined, subscription, details)
    if subscription["latest_invoice"] != before:
        return _as_preview(imagined.get("invoice", subscription["latest_invoice"]))
    return _as_preview(_next_invoice(imagined, subscription))


def advance(world: World, until: int) -> None:
    """Let the time go by: trials and periods end, payments are tried again, each at its moment."""
    while (moment := _next_moment(world)) is not None and moment <= until:
        world.now = max(world.now, moment)
        tick(world)
    world.now = max(world.now, until)


def tick(world: World) -> None:
    """Do what is due by now."""
    for subscription in world.of_kind("subscription"):
        if subscription["status"] not in ENDED:
            _pass_time(world, subscription)
    for invoice in world.of_kind("invoice", status="open"):
        attempt = invoice["next_payment_attempt"]
        if attempt is not None and attempt <= world.now:
            invoices.collect(world, invoice)


def _pass_time(world: World, subscription: Object) -> None:
    trial_end = subscription["trial_end"]
    is_trial = subscription["status"] == "trialing"
    if is_trial and trial_end - TOLD_BEFORE_S <= world.now and not subscription["_told_of_trial_end"]:
        subscription["_told_of_trial_end"] = True
        world.tell("customer.subscription.trial_will_end", subscription)
    start, end = _period(subscription)
    end = min(end, trial_end) if is_trial else end
    if world.now < end:
        return
    if subscription["cancel_at_period_end"]:
        cancel(world, subscription)
        return
    if is_trial:
        subscription.update(status="active", billing_cycle_anchor=end)
    _set_period(subscription, end, _next_end(subscription, end))
    world.tell("customer.subscription.updated", subscription)
    _bill(world, subscription, "subscription_cycle", None if is_trial else start)


def _next_moment(world: World) -> int | None:
    moments = [
        each["next_payment_attempt"]
        for each in world.of_kind("invoice", status="open")
        if each["next_payment_attempt"] is not None
    ]
    for each in world.of_kind("subscription"):
        if each["status"] not in ENDED:
            moments.append(_period(each)[1])
            if each["status"] == "trialing" and not each["_told_of_trial_end"]:
                moments.append(each["trial_end"] - TOLD_BEFORE_S)
    return min(moments, default=None)


def _next_invoice(world: World, subscription: Object) -> Object:
    """Return the invoice of the end of the period."""
    start, end = _period(subscription)
    world.now = end
    if subscription["cancel_at_period_end"]:
        lines = invoices.metered_lines(world, subscription, start, end)
    else:
        _set_period(subscription, end, _next_end(subscription, end))
        used_since = None if subscription["status"] == "trialing" else start
        lines = invoices.lines_of_period(world, subscription, end, used_since)
    return invoices.make(world, subscription, "upcoming", lines)


def _as_preview(invoice: Object) -> Object:
    return {
        **invoice,
        "id": f"upcoming_{invoice['id']}",
        "billing_reason": "upcoming",
        "status": "draft",
        "number": None,
    }


def _bill(world: World, subscription: Object, reason: str, used_since: int | None) -> None:
    lines = invoices.lines_of_period(world, subscription, _period(subscription)[0], used_since)
    _collect(world, invoices.make(world, subscription, reason, lines))


def _collect(world: World, invoice: Object) -> None:
    invoices.finalize(world, invoice)
    invoices.collect(world, invoice)


def _add_item(world: World, subscription: Object, given: dict[str, Any]) -> Object:
    price = world.get("price", given["price"])
    if subscription["currency"] not in ("", price["currency"]):
        raise ApiFault("All prices of a subscription have one currency", code="currency_mismatch", param="items")
    if price["id"] in [each["price"]["id"] for each in subscription["items"]["data"]]:
        raise ApiFault(f"A subscription has no two items of one price: {price['id']}", param="items")
    subscription["currency"] = price["currency"]
    item = world.add(
        "si",
        "subscription_item",
        price=copy.deepcopy(price),
        subscription=subscription["id"],
        metadata={},
        discounts=[],
        tax_rates=[],
    )
    del item["livemode"]
    if price["recurring"]["usage_type"] == "licensed":
        item["quantity"] = given.get("quantity", 1)
    elif "quantity" in given:
        raise ApiFault("Metered prices have no quantity", param="items[0][quantity]")
    subscription["items"]["data"].append(item)
    return item


def _change_item(world: World, subscription: Object, given: dict[str, Any], at: int, *, prorate: bool) -> None:
    start, end = _period(subscription)
    if "id" not in given:
        item = _add_item(world, subscription, given)
        item.update(current_period_start=start, current_period_end=end, _used_since=world.now)
        return
    items = subscription["items"]["data"]
    found = [each for each in items if each["id"] == given["id"]]
    if not found:
        raise missing("subscription_item", given["id"])
    item = found[0]
    before = copy.deepcopy(item)
    bills = prorate and subscription["status"] != "trialing"
    if given.get("deleted"):
        items.remove(item)
        if bills and subscription["billing_mode"]["type"] == "flexible":
            invoices.add_use(world, subscription, item, at)
        return
    if "price" in given:
        item["price"] = copy.deepcopy(world.get("price", given["price"]))
    if "quantity" in given:
        item["quantity"] = given["quantity"]
    changed = (item["price"]["id"], item.get("quantity")) != (before["price"]["id"], before.get("quantity"))
    if changed and bills and "quantity" in item:
        if not start <= at <= end:
            raise ApiFault("The proration date lies outside the current period", param="proration_date")
        invoices.add_proration(world, subscription, item, before, at)


def _new_discounts(world: World, subscription: Object, given: list[dict[str, Any]]) -> list[str]:
    made = []
    for each in given:
        if "discount" in each:
            made.append(world.get("discount", each["discount"])["id"])
            continue
        coupon = world.get("coupon", each["coupon"])
        if not coupon["valid"] or (coupon["redeem_by"] is not None and coupon["redeem_by"] <= world.now):
            raise ApiFault(f"Coupon {coupon['id']} is expired or used up", code="coupon_expired", param="discounts")
        coupon["times_redeemed"] += 1
        coupon["valid"] = coupon["max_redemptions"] is None or coupon["times_redeemed"] < coupon["max_redemptions"]
        months = coupon["duration_in_months"]
        day = datetime.fromtimestamp(world.now, UTC).day
        discount = world.add(
            "di",
            "discount",
            customer=subscription["customer"],
            subscription=subscription["id"],
            source={"type": "coupon", "coupon": coupon["id"]},
            start=world.now,
            end=months_after(world.now, months, day) if months else None,
            promotion_code=None,
        )
        made.append(discount["id"])
    return made


def _period(subscription: Object) -> tuple[int, int]:
    item = subscription["items"]["data"][0]
    return item["current_period_start"], item["current_period_end"]


def _set_period(subscription: Object, start: int, end: int) -> None:
    for item in subscription["items"]["data"]:
        item.update(current_period_start=start, current_period_end=end)


def _next_end(subscription: Object, start: int) -> int:
    recurring = subscription["items"]["data"][0]["price"]["recurring"]
    months = recurring["interval_count"] * (12 if recurring["interval"] == "year" else 1)
    day = datetime.fromtimestamp(subscription["billing_cycle_anchor"], UTC).day
    return months_after(start, months, day)
