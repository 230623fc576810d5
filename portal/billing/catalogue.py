"""The plans at the payment provider: products, prices and meters, made where they are missing."""

from __future__ import annotations

from typing import Any

import stripe

from portal.billing.gateway import asking
from portal.billing.plans import CURRENCY, METERS, PLANS, Plan, Tier


def ensure(client: stripe.StripeClient) -> dict[str, str]:
    """Make what is missing, and return lookup key -> id of every price; as often as one likes.

    A price is never changed: another amount is another lookup key.

    Raises:
        PaymentsAway, PaymentRefused: as `gateway.asking`.
    """
    with asking():
        known = price_ids(client)
        meters = _meters(client)
        for plan in PLANS.values():
            if missing := [each for each in _prices(plan, meters) if each["lookup_key"] not in known]:
                product = client.v1.products.create({"name": f"Eider {plan.name}", "metadata": {"plan": plan.code}})
                for each in missing:
                    made = client.v1.prices.create({**each, "product": product.id})  # type: ignore[typeddict-item]
                    known[each["lookup_key"]] = made.id
    return known


def price_ids(client: stripe.StripeClient) -> dict[str, str]:
    """Return lookup key -> id of the prices that are there."""
    keys = [key for plan in PLANS.values() for key in (plan.key, *(one.key for one in plan.metered))]
    found = client.v1.prices.list({"lookup_keys": keys, "limit": 100})
    return {each.lookup_key: each.id for each in found.data if each.lookup_key}


def _meters(client: stripe.StripeClient) -> dict[Tier, str]:
    found = {each.event_name: each.id for each in client.v1.billing.meters.list({"limit": 100}).data}
    for tier, name in METERS.items():
        if name not in found:
            made = client.v1.billing.meters.create(
                {
                    "display_name": f"Storage on {tier.value.upper()}, GB days",
                    "event_name": name,
                    "default_aggregation": {"formula": "sum"},
                }
            )
            found[name] = made.id
    return {tier: found[name] for tier, name in METERS.items()}


def _prices(plan: Plan, meters: dict[Tier, str]) -> list[dict[str, Any]]:
    licensed = {
        "currency": CURRENCY,
        "lookup_key": plan.key,
        "nickname": f"{plan.name}, {plan.unit.value}",
        "unit_amount": plan.unit_amount,
        "recurring": {"interval": "month"},
    }
    metered = [
        {
            "currency": CURRENCY,
            "lookup_key": one.key,
            "nickname": f"{plan.name}, GB day on {one.tier.value.upper()}",
            "unit_amount_decimal": one.unit_amount_decimal,
            "recurring": {"interval": "month", "usage_type": "metered", "meter": meters[one.tier]},
        }
        for one in plan.metered
    ]
    return [licensed, *metered]
