"""Checkout and the customer's portal: sessions, and what a customer does on their pages."""

from __future__ import annotations

from typing import Any

from infra.devstack.outside.stripe import invoices, objects, subscriptions
from infra.devstack.outside.stripe.faults import ApiFault
from infra.devstack.outside.stripe.world import Object, World

LASTS_S = 24 * 3600
LEAST_TRIAL_S = 48 * 3600
"""Checkout takes no trial that ends sooner."""


def create_checkout(world: World, given: dict[str, Any], base_url: str) -> Object:
    """A page on which a customer subscribes.

    Raises:
        ApiFault: what is to be subscribed to is missing or unknown.
    """
    if given.get("mode") != "subscription" or not given.get("line_items"):
        raise ApiFault("This server has sessions of mode subscription with line items", param="mode")
    for each in given["line_items"]:
        world.get("price", each.get("price", ""))
    data = given.get("subscription_data", {})
    if data.get("trial_end", world.now + LEAST_TRIAL_S) < world.now + LEAST_TRIAL_S:
        raise ApiFault("The trial must end at least 48 hours from now", param="subscription_data[trial_end]")
    session = world.add(
        "cs_test",
        "checkout.session",
        mode="subscription",
        customer=world.get("customer", given.get("customer", ""))["id"],
        client_reference_id=given.get("client_reference_id"),
        success_url=given.get("success_url"),
        cancel_url=given.get("cancel_url"),
        expires_at=world.now + LASTS_S,
        metadata=given.get("metadata", {}),
        payment_method_types=["card"],
        payment_status="unpaid",
        status="open",
        subscription=None,
        invoice=None,
        discounts=[],
    )
    session["url"] = f"{base_url}/c/pay/{session['id']}"
    session["_wanted"] = {"items": given["line_items"], "discounts": given.get("discounts"), **data}
    return session


def expire(world: World, session: Object) -> Object:
    """End a page that nobody shall subscribe on any more.

    Raises:
        ApiFault: it is over already.
    """
    if session["status"] != "open":
        raise ApiFault("Only open sessions can be expired", param="session")
    session["status"] = "expired"
    world.tell("checkout.session.expired", session)
    return session


def subscribe(world: World, session: Object, last4: str) -> None:
    """Do what the customer's button on the page does.

    Raises:
        ApiFault: the session is over, or the card was declined.
    """
    if session["status"] != "open" or session["expires_at"] <= world.now:
        raise ApiFault("This session has expired", code="checkout_session_expired")
    if last4 not in objects.TEST_CARDS.values():
        raise ApiFault("Your card was declined.", status=402, kind="card_error", code="card_declined")
    card = objects.new_card(world, session["customer"], last4)
    world.tell("payment_method.attached", card)
    wanted = {name: value for name, value in session["_wanted"].items() if value is not None}
    subscription = subscriptions.create(
        world, {"customer": session["customer"], "default_payment_method": card["id"], **wanted}
    )
    session.update(
        status="complete",
        payment_status="paid" if subscription["latest_invoice"] else "no_payment_required",
        subscription=subscription["id"],
        invoice=subscription["latest_invoice"],
    )
    world.tell("checkout.session.completed", session)


def create_portal(world: World, given: dict[str, Any], base_url: str) -> Object:
    """A page on which a customer changes the card."""
    session = world.add(
        "bps",
        "billing_portal.session",
        customer=world.get("customer", given.get("customer", ""))["id"],
        configuration="bpc_default",
        return_url=given.get("return_url"),
        locale=given.get("locale"),
        on_behalf_of=None,
        flow=None,
    )
    session["url"] = f"{base_url}/p/session/{session['id']}"
    return session


def change_card(world: World, session: Object, last4: str) -> None:
    """Give the customer a new card, and pay with it what is open."""
    customer = world.get("customer", session["customer"])
    card = objects.new_card(world, customer["id"], last4)
    world.tell("payment_method.attached", card)
    customer["invoice_settings"]["default_payment_method"] = card["id"]
    world.tell("customer.updated", customer)
    for subscription in world.of_kind("subscription", customer=customer["id"]):
        if subscription["status"] not in subscriptions.ENDED:
            subscription["default_payment_method"] = card["id"]
            world.tell("customer.subscription.updated", subscription)
    for invoice in world.of_kind("invoice", customer=customer["id"], status="open"):
        invoices.collect(world, invoice)


def pay(world: World, invoice: Object, last4: str) -> None:
    """Pay an invoice on its page, with a card for this time only.

    Raises:
        ApiFault: the invoice is not open, or the card was declined.
    """
    if last4 not in objects.TEST_CARDS.values():
        raise ApiFault("Your card was declined.", status=402, kind="card_error", code="card_declined")
    card = objects.new_card(world, invoice["customer"], last4)
    invoices.pay_by_hand(world, invoice, card["id"])
