"""Customers, catalogue, cards, tax ids, meters, sessions: objects that mostly lie there."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

from infra.devstack.outside.stripe.faults import ApiFault
from infra.devstack.outside.stripe.world import Object, World

Given = dict[str, Any]
TEST_CARDS = {"pm_card_visa": "4242", "pm_card_chargeCustomerFail": "0341"}
"""Names by which tests attach a card, with its last digits."""
_EU_VAT = re.compile(r"[A-Z]{2}[A-Z0-9]{2,12}")
_MAX_IDENTIFIER = 100


def create_customer(world: World, given: Given) -> Object:
    """A customer without a card."""
    found = world.add(
        "cus",
        "customer",
        email=given.get("email"),
        name=given.get("name"),
        address=given.get("address"),
        description=given.get("description"),
        metadata=given.get("metadata", {}),
        balance=0,
        currency=None,
        delinquent=False,
        discount=None,
        invoice_settings={"default_payment_method": None, "custom_fields": None, "footer": None},
        next_invoice_sequence=1,
        preferred_locales=given.get("preferred_locales", []),
        tax_exempt=given.get("tax_exempt", "none"),
    )
    found["invoice_prefix"] = f"EIDER{found['id'][-6:]}"
    world.tell("customer.created", found)
    return found


def update_customer(world: World, found: Object, given: Given) -> None:
    """Change what is given; a new card for invoices is tried on what is open when that is due."""
    settings = given.pop("invoice_settings", {})
    found["invoice_settings"].update(settings)
    found["metadata"] = {**found["metadata"], **given.pop("metadata", {})}
    found.update(given)
    world.tell("customer.updated", found)


def create_product(world: World, given: Given) -> Object:
    """A product."""
    found = world.add(
        "prod",
        "product",
        active=True,
        name=given["name"],
        description=given.get("description"),
        images=[],
        marketing_features=[],
        metadata=given.get("metadata", {}),
        default_price=None,
        updated=world.now,
        type="service",
    )
    world.tell("product.created", found)
    return found


def create_price(world: World, given: Given) -> Object:
    """A recurring price in one currency.

    Raises:
        ApiFault: its lookup key is taken, or it has no amount.
    """
    key = given.get("lookup_key")
    if key and world.of_kind("price", lookup_key=key):
        raise ApiFault("A price with this lookup key exists", param="lookup_key")
    amount = given.get("unit_amount_decimal", given.get("unit_amount"))
    if amount is None:
        raise ApiFault("Missing required param: unit_amount.", code="parameter_missing", param="unit_amount")
    recurring = {"interval_count": 1, "usage_type": "licensed", "meter": None, **given.get("recurring", {})}
    if recurring["usage_type"] == "metered":
        world.get("billing.meter", recurring["meter"] or "")
    exact = Decimal(amount)
    found = world.add(
        "price",
        "price",
        active=True,
        billing_scheme="per_unit",
        currency=given["currency"],
        lookup_key=key,
        metadata=given.get("metadata", {}),
        nickname=given.get("nickname"),
        product=world.get("product", given["product"])["id"],
        recurring=recurring,
        type="recurring",
        unit_amount=int(exact) if exact == int(exact) else None,
        unit_amount_decimal=str(exact),
    )
    world.tell("price.created", found)
    return found


def create_coupon(world: World, given: Given) -> Object:
    """A coupon under the id that was asked for."""
    if ("percent_off" in given) == ("amount_off" in given):
        raise ApiFault("Must provide percent_off or amount_off", param="percent_off")
    percent = given.get("percent_off")
    fields = {
        "amount_off": given.get("amount_off"),
        "currency": given.get("currency"),
        "duration": given.get("duration", "once"),
        "duration_in_months": given.get("duration_in_months"),
        "max_redemptions": given.get("max_redemptions"),
        "metadata": given.get("metadata", {}),
        "name": given.get("name"),
        "percent_off": float(percent) if percent is not None else None,
        "redeem_by": given.get("redeem_by"),
        "times_redeemed": 0,
        "valid": True,
    }
    found = world.add("coupon", "coupon", **fields)
    if "id" in given:
        if given["id"] in world.objects:
            raise ApiFault("Coupon already exists.", code="resource_already_exists", param="id")
        del world.objects[found["id"]]
        found["id"] = given["id"]
        world.objects[found["id"]] = found
    return found


def attach_card(world: World, name: str, given: Given) -> Object:
    """Make a test card the customer's.

    Raises:
        ApiFault: there is no test card of that name.
    """
    if name not in TEST_CARDS:
        raise ApiFault(f"No such PaymentMethod: '{name}'", status=404, code="resource_missing", param="id")
    found = new_card(world, given["customer"], TEST_CARDS[name])
    world.tell("payment_method.attached", found)
    return found


def new_card(world: World, customer: str, last4: str) -> Object:
    """A card of a customer's."""
    return world.add(
        "pm",
        "payment_method",
        customer=world.get("customer", customer)["id"],
        type="card",
        card={"brand": "visa", "last4": last4, "exp_month": 12, "exp_year": 2040},
        billing_details={},
        metadata={},
    )


def create_tax_id(world: World, customer: str, given: Given) -> Object:
    """A customer's number for taxes; its register is asked later.

    Raises:
        ApiFault: no number looks like this.
    """
    if given["type"] == "eu_vat" and not _EU_VAT.fullmatch(given["value"]):
        raise ApiFault("Invalid value for eu_vat.", code="tax_id_invalid", param="value")
    found = world.add(
        "txi",
        "tax_id",
        country=given["value"][:2],
        customer=world.get("customer", customer)["id"],
        owner={"type": "customer", "customer": customer},
        type=given["type"],
        value=given["value"],
        verification={"status": "pending", "verified_address": None, "verified_name": None},
    )
    world.tell("customer.tax_id.created", found)
    return found


def create_meter(world: World, given: Given) -> Object:
    """A meter that counts events of one name."""
    if world.of_kind("billing.meter", event_name=given["event_name"]):
        raise ApiFault("A meter with this event name exists", param="event_name")
    return world.add(
        "mtr",
        "billing.meter",
        customer_mapping=given.get("customer_mapping", {"type": "by_id", "event_payload_key": "stripe_customer_id"}),
        default_aggregation=given["default_aggregation"],
        display_name=given["display_name"],
        event_name=given["event_name"],
        event_time_window=None,
        status="active",
        status_transitions={"deactivated_at": None},
        updated=world.now,
        value_settings=given.get("value_settings", {"event_payload_key": "value"}),
    )


def create_meter_event(world: World, given: Given) -> Object:
    """Count something used; an identifier counts once.

    Raises:
        ApiFault: no meter has that name, or the identifier was there before.
    """
    meters = world.of_kind("billing.meter", event_name=given["event_name"])
    if not meters:
        raise ApiFault(f"No meter with event name {given['event_name']}", code="no_meter", param="event_name")
    for key in (meters[0]["customer_mapping"]["event_payload_key"], meters[0]["value_settings"]["event_payload_key"]):
        if key not in given["payload"]:
            raise ApiFault(f"Missing payload key {key}", code="meter_event_no_customer_defined", param="payload")
    identifier = given.get("identifier", "")
    if len(identifier) > _MAX_IDENTIFIER:
        raise ApiFault("The identifier is too long", param="identifier")
    if identifier and world.of_kind("billing.meter_event", identifier=identifier):
        raise ApiFault("An event already exists with this identifier", code="duplicate_meter_event")
    return world.add(
        "mev",
        "billing.meter_event",
        event_name=given["event_name"],
        identifier=identifier or world.new_id("mevi"),
        payload=given["payload"],
        timestamp=given.get("timestamp", world.now),
    )
