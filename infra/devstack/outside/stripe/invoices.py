"""Invoices: their lines, prorations and discounts, and what becomes of them when they are to be paid."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from infra.devstack.outside.stripe.faults import ApiFault
from infra.devstack.outside.stripe.world import Object, World

DAY_S = 24 * 3600
DECLINED = "0341"
"""The last digits of the card that can be stored and never pays."""


def cents(amount: Decimal) -> int:
    """Return an amount in minor units, half away from zero."""
    return int(amount.quantize(Decimal(1), ROUND_HALF_UP))


def lines_of_period(world: World, subscription: Object, start: int, used_since: int | None) -> list[Object]:
    """Return what is due when a period begins at `start`: seats ahead, what was metered since `used_since` behind."""
    lines = []
    for item in subscription["items"]["data"]:
        if item["price"]["recurring"]["usage_type"] == "licensed":
            end = item["current_period_end"]
            amount = cents(_unit(item["price"]) * item["quantity"])
            lines.append(_line(world, subscription, item, amount, item["quantity"], start, end))
    return lines + ([] if used_since is None else metered_lines(world, subscription, used_since, start))


def metered_lines(world: World, subscription: Object, start: int, end: int) -> list[Object]:
    """Return what was used from `start` until `end`."""
    lines = []
    for item in subscription["items"]["data"]:
        if item["price"]["recurring"].get("meter") is not None:
            used = _used(world, subscription, item, start, end)
            lines.append(_line(world, subscription, item, cents(_unit(item["price"]) * used), int(used), start, end))
    return lines


def _used(world: World, subscription: Object, item: Object, start: int, end: int) -> Decimal:
    """Return what an item's meter has within [start, end), since the item is there."""
    since = max(start, item.get("_used_since", start))
    return metered(world, item["price"]["recurring"]["meter"], subscription["customer"], since, end)


def metered(world: World, meter_id: str, customer: str, start: int, end: int) -> Decimal:
    """Return what a customer's events of a meter come to within [start, end)."""
    meter = world.get("billing.meter", meter_id)
    who, value = meter["customer_mapping"]["event_payload_key"], meter["value_settings"]["event_payload_key"]
    values = [
        Decimal(event["payload"][value])
        for event in reversed(world.of_kind("billing.meter_event", event_name=meter["event_name"]))
        if event["payload"][who] == customer and start <= event["timestamp"] < end
    ]
    formula = meter["default_aggregation"]["formula"]
    if formula == "count":
        return Decimal(len(values))
    return sum(values, Decimal(0)) if formula == "sum" else (values[-1] if values else Decimal(0))


def add_proration(world: World, subscription: Object, item: Object, before: Object, at: int) -> None:
    """Note what a change of an item in the middle of its period gives back and costs."""
    end = item["current_period_end"]
    part = Decimal(end - at) / (end - item["current_period_start"])
    for old, sign, text in ((before, -1, "Unused time on"), (item, 1, "Remaining time on")):
        amount = sign * cents(_unit(old["price"]) * old["quantity"] * part)
        what = f"{text} {old['quantity']} × {_name(old['price'])}"
        _note(world, subscription, old["price"], old["quantity"], amount, what, at, end)


def add_use(world: World, subscription: Object, item: Object, at: int) -> None:
    """Note what was used of a metered item that is taken away, for the next invoice."""
    if item["price"]["recurring"].get("meter") is None:
        return
    start = item["current_period_start"]
    used = _used(world, subscription, item, start, at)
    amount = cents(_unit(item["price"]) * used)
    _note(world, subscription, item["price"], int(used), amount, f"{int(used)} × {_name(item['price'])}", start, at)


def _note(
    world: World, subscription: Object, price: Object, quantity: int, amount: int, text: str, start: int, end: int
) -> None:
    """Keep something for the next invoice."""
    world.add(
        "ii",
        "invoiceitem",
        amount=amount,
        currency=subscription["currency"],
        customer=subscription["customer"],
        description=text,
        invoice=None,
        period={"start": start, "end": end},
        proration=True,
        quantity=quantity,
        pricing={"type": "price_details", "price_details": {"price": price["id"]}},
        parent={"type": "subscription_details", "subscription_details": {"subscription": subscription["id"]}},
        metadata={},
    )


def _name(price: Object) -> str:
    return str(price["nickname"] or price["id"])


def pending_lines(world: World, subscription: Object, invoice_id: str) -> list[Object]:
    """Return lines of what was noted for the next invoice, and take it into this one."""
    lines = []
    for each in reversed(world.of_kind("invoiceitem", customer=subscription["customer"], invoice=None)):
        if each["parent"]["subscription_details"]["subscription"] != subscription["id"]:
            continue
        each["invoice"] = invoice_id
        details = {"invoice_item": each["id"], "proration": True, "subscription": subscription["id"]}
        lines.append(
            {
                "id": world.new_id("il"),
                "object": "line_item",
                **{name: each[name] for name in ("amount", "currency", "description", "period", "quantity", "pricing")},
                "parent": {"type": "invoice_item_details", "invoice_item_details": details},
                "metadata": {},
            }
        )
    return lines


def make(world: World, subscription: Object, reason: str, lines: list[Object]) -> Object:
    """Store an invoice of these lines, pending ones first, and finalize it."""
    invoice = world.add("in", "invoice", customer=subscription["customer"])
    lines = [*pending_lines(world, subscription, invoice["id"]), *lines]
    subtotal = sum(line["amount"] for line in lines)
    discounts = _discounts(world, subscription, subtotal)
    total = subtotal - sum(each["amount"] for each in discounts)
    customer = world.get("customer", subscription["customer"])
    due = max(0, total + customer["balance"])
    number = customer["next_invoice_sequence"]
    customer["next_invoice_sequence"] = number + 1
    periods = [line["period"] for line in lines]
    invoice.update(
        currency=subscription["currency"],
        number=f"{customer['invoice_prefix']}-{number:04d}",
        billing_reason=reason,
        collection_method="charge_automatically",
        lines={"object": "list", "data": lines, "has_more": False, "url": f"/v1/invoices/{invoice['id']}/lines"},
        subtotal=subtotal,
        total=total,
        total_discount_amounts=discounts,
        total_taxes=[],
        starting_balance=customer["balance"],
        ending_balance=None,
        amount_due=due,
        amount_paid=0,
        amount_remaining=due,
        attempt_count=0,
        attempted=False,
        next_payment_attempt=None,
        parent={
            "type": "subscription_details",
            "quote_details": None,
            "subscription_details": {"subscription": subscription["id"], "metadata": subscription["metadata"]},
        },
        period_start=min((each["start"] for each in periods), default=world.now),
        period_end=max((each["end"] for each in periods), default=world.now),
        status="draft",
        status_transitions={
            "finalized_at": None,
            "paid_at": None,
            "voided_at": None,
            "marked_uncollectible_at": None,
        },
        hosted_invoice_url=None,
        invoice_pdf=None,
        customer_email=customer["email"],
        customer_name=customer["name"],
        metadata={},
    )
    world.tell("invoice.created", invoice)
    return invoice


def finalize(world: World, invoice: Object) -> None:
    """Make a draft the invoice that is to be paid; what is given back beyond it is credit for the next."""
    customer = world.get("customer", invoice["customer"])
    customer["balance"] = min(0, invoice["total"] + customer["balance"])
    invoice.update(
        status="open",
        ending_balance=customer["balance"],
        hosted_invoice_url=f"{world.base_url}/i/{invoice['id']}",
        invoice_pdf=f"{world.base_url}/i/{invoice['id']}.pdf",
    )
    invoice["status_transitions"]["finalized_at"] = world.now
    subscription = subscription_of(world, invoice)
    subscription["latest_invoice"] = invoice["id"]
    world.tell("invoice.finalized", invoice)


def collect(world: World, invoice: Object) -> None:
    """Try to have an invoice paid by the customer's card."""
    customer, subscription = world.get("customer", invoice["customer"]), subscription_of(world, invoice)
    card = subscription["default_payment_method"] or customer["invoice_settings"]["default_payment_method"]
    if not invoice["amount_due"] or (card and world.get("payment_method", card)["card"]["last4"] != DECLINED):
        paid(world, invoice)
        return
    waits = world.retry_after_days
    made = invoice["attempt_count"]
    invoice.update(
        attempted=True,
        attempt_count=made + 1,
        next_payment_attempt=world.now + waits[made] * DAY_S if made < len(waits) else None,
    )
    world.tell("invoice.payment_failed", invoice)
    if subscription["status"] not in ("canceled", "incomplete", "past_due"):
        subscription["status"] = "past_due"
        world.tell("customer.subscription.updated", subscription)


def paid(world: World, invoice: Object) -> None:
    """Note that an invoice is paid; the subscription is in order once none is open."""
    subscription = subscription_of(world, invoice)
    invoice.update(
        status="paid", amount_paid=invoice["amount_due"], amount_remaining=0, next_payment_attempt=None, attempted=True
    )
    invoice["attempt_count"] += 1 if invoice["amount_due"] else 0
    invoice["status_transitions"]["paid_at"] = world.now
    world.tell("invoice.paid", invoice)
    is_open = [each for each in world.of_kind("invoice", status="open") if subscription_of(world, each) is subscription]
    if subscription["status"] in ("past_due", "incomplete") and not is_open:
        subscription["status"] = "active"
        world.tell("customer.subscription.updated", subscription)


def pay_by_hand(world: World, invoice: Object, card: str | None) -> None:
    """Pay now, as `invoices.pay` does.

    Raises:
        ApiFault: the invoice is not open, or the card was declined.
    """
    if invoice["status"] != "open":
        raise ApiFault(f"Invoice is already {invoice['status']}", code="invoice_not_open")
    if card is not None and world.get("payment_method", card)["card"]["last4"] != DECLINED:
        paid(world, invoice)
        return
    collect(world, invoice)
    if invoice["status"] != "paid":
        raise ApiFault("Your card was declined.", status=402, kind="card_error", code="card_declined")


def subscription_of(world: World, invoice: Object) -> Object:
    """Return the subscription that an invoice is of."""
    return world.get("subscription", invoice["parent"]["subscription_details"]["subscription"])


def _discounts(world: World, subscription: Object, subtotal: int) -> list[dict[str, Any]]:
    """Return what each discount takes off."""
    taken = []
    left = max(0, subtotal)
    for discount_id in subscription["discounts"]:
        discount = world.get("discount", discount_id)
        if discount["end"] is not None and world.now >= discount["end"]:
            continue
        coupon = world.get("coupon", discount["source"]["coupon"])
        if coupon["percent_off"] is not None:
            amount = cents(Decimal(left) * Decimal(str(coupon["percent_off"])) / 100)
        else:
            amount = min(left, coupon["amount_off"])
        if coupon["duration"] == "once":
            discount["end"] = world.now
        left -= amount
        taken.append({"amount": amount, "discount": discount_id})
    return taken


def _line(world: World, subscription: Object, item: Object, amount: int, quantity: int, start: int, end: int) -> Object:
    price = item["price"]
    return {
        "id": world.new_id("il"),
        "object": "line_item",
        "amount": amount,
        "currency": subscription["currency"],
        "description": f"{quantity} × {price['nickname'] or price['id']}",
        "period": {"start": start, "end": end},
        "quantity": quantity,
        "pricing": {"type": "price_details", "price_details": {"price": price["id"], "product": price["product"]}},
        "parent": {
            "type": "subscription_item_details",
            "subscription_item_details": {
                "subscription": subscription["id"],
                "subscription_item": item["id"],
                "proration": False,
            },
        },
        "metadata": {},
    }


def _unit(price: Object) -> Decimal:
    return Decimal(price["unit_amount_decimal"])
