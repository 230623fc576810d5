"""The local Stripe: the real SDK talks to it, it refuses what the SDK's types do not know, and time makes invoices."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import stripe

from infra.devstack.outside.stripe import parameters, subscriptions
from tests.stubs.stripe import WEBHOOK_SECRET, StripeServer, client_of, local_stripe

DAY_S = 24 * 3600
START = 1_800_000_000


@pytest.fixture
def server() -> Iterator[StripeServer]:
    with local_stripe(now=START) as running:
        yield running


class Shop:
    """A customer with a card, and prices: seats, and a meter."""

    def __init__(self, server: StripeServer, card: str = "pm_card_visa") -> None:
        self.server, self.client = server, client_of(server)
        self.v1 = self.client.v1
        product = self.v1.products.create({"name": "Mail"})
        self.seat = self.v1.prices.create(
            {"product": product.id, "currency": "eur", "unit_amount": 500, "recurring": {"interval": "month"}}
        )
        meter = self.v1.billing.meters.create(
            {"display_name": "SSD", "event_name": "ssd", "default_aggregation": {"formula": "sum"}}
        )
        self.used = self.v1.prices.create(
            {
                "product": product.id,
                "currency": "eur",
                "unit_amount_decimal": "0.7",  # type: ignore[typeddict-item]
                "recurring": {"interval": "month", "usage_type": "metered", "meter": meter.id},
            }
        )
        self.customer = self.v1.customers.create({"email": "owner@firm.test", "name": "Firm"})
        attached = self.v1.payment_methods.attach(card, {"customer": self.customer.id})
        self.v1.customers.update(self.customer.id, {"invoice_settings": {"default_payment_method": attached.id}})

    def subscribe(self, seats: int = 3, **more: Any) -> stripe.Subscription:
        items = [{"price": self.seat.id, "quantity": seats}, {"price": self.used.id}]
        return self.v1.subscriptions.create({"customer": self.customer.id, "items": items, **more})  # type: ignore[typeddict-item]

    def invoices(self) -> list[stripe.Invoice]:
        return list(self.v1.invoices.list({"customer": self.customer.id, "limit": 100}).data)


@pytest.mark.parametrize(
    "given",
    [
        {"customer": "x", "colour": "red"},
        {"customer": "x", "items": [{"price": "p", "amount": 3}]},
        {"customer": "x", "trial_settings": {"end_behavior": {"missing_payment_method": "shrug"}}},
        {"customer": "x", "trial_period_days": "soon"},
    ],
    ids=["unknown", "unknown below", "unknown value", "of another type"],
)
def test_what_the_types_of_the_sdk_do_not_know_is_refused(server: StripeServer, given: dict[str, Any]) -> None:
    with pytest.raises(stripe.InvalidRequestError):
        client_of(server).v1.subscriptions.create(given)  # type: ignore[arg-type]
    assert not server.world.of_kind("subscription")


def test_what_the_types_of_the_sdk_need_must_be_there(server: StripeServer) -> None:
    with pytest.raises(stripe.InvalidRequestError, match="Missing required param: name"):
        client_of(server).v1.products.create({})  # type: ignore[typeddict-item]


def test_a_server_that_takes_any_field_would_be_seen(server: StripeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parameters, "check", lambda given, _shape: dict(given))
    client_of(server).v1.customers.create({"colour": "red"})  # type: ignore[typeddict-unknown-key]
    assert server.world.of_kind("customer")


def test_objects_have_no_field_that_the_sdk_does_not_know(server: StripeServer) -> None:
    shop = Shop(server)
    subscription = shop.subscribe()
    found = [subscription, shop.customer, shop.seat, shop.invoices()[0], subscription["items"].data[0]]
    found += [shop.invoices()[0].lines.data[0], shop.v1.events.list().data[0]]
    for each in found:
        unknown = set(each.to_dict()) - set(type(each).__annotations__)
        assert not unknown, type(each)


def test_a_key_of_nobody_is_refused(server: StripeServer) -> None:
    other = stripe.StripeClient("sk_test_other", base_addresses={"api": server.url}, max_network_retries=0)
    with pytest.raises(stripe.AuthenticationError):
        other.v1.customers.list()


def test_a_call_repeated_under_its_key_is_done_once(server: StripeServer) -> None:
    client = client_of(server)
    options: Any = {"idempotency_key": "once"}
    first = client.v1.customers.create({"name": "Firm"}, options)
    assert client.v1.customers.create({"name": "Firm"}, options).id == first.id
    with pytest.raises(stripe.IdempotencyError):
        client.v1.customers.create({"name": "Other"}, options)


def test_a_preview_is_the_invoice_that_comes(server: StripeServer) -> None:
    shop = Shop(server)
    subscription = shop.subscribe(seats=3)
    server.advance(days=10)
    item = subscription["items"].data[0].id
    change: Any = {"items": [{"id": item, "quantity": 7}], "proration_date": server.world.now}
    preview = shop.v1.invoices.create_preview({"subscription": subscription.id, "subscription_details": change})
    events = len(server.world.events)
    shop.v1.subscriptions.update(subscription.id, change)
    assert server.world.events[events]["type"] == "customer.subscription.updated"  # the preview told nobody
    server.advance(days=31)
    invoice = shop.invoices()[0]
    assert [(each.amount, each.period.start) for each in invoice.lines.data] == [
        (each.amount, each.period.start) for each in preview.lines.data
    ]
    assert (invoice.total, invoice.status) == (preview.total, "paid")
    assert invoice.total > 7 * 500


def test_what_was_metered_is_billed_once_and_afterwards(server: StripeServer) -> None:
    shop = Shop(server)
    shop.subscribe(seats=1)
    server.advance(days=1)
    event: Any = {
        "event_name": "ssd",
        "payload": {"stripe_customer_id": shop.customer.id, "value": "100"},
        "identifier": "day-1",
    }
    shop.v1.billing.meter_events.create(event)
    with pytest.raises(stripe.InvalidRequestError):
        shop.v1.billing.meter_events.create(event)
    server.advance(days=31)
    assert [line.amount for line in shop.invoices()[0].lines.data] == [500, 70]
    server.advance(days=31)
    assert [line.amount for line in shop.invoices()[0].lines.data] == [500, 0]


def test_a_card_that_does_not_pay_is_tried_again_until_another_pays(server: StripeServer) -> None:
    shop = Shop(server)
    subscription = shop.subscribe(trial_period_days=14)
    assert (subscription.status, shop.invoices()) == ("trialing", [])
    bad = shop.v1.payment_methods.attach("pm_card_chargeCustomerFail", {"customer": shop.customer.id})
    shop.v1.customers.update(shop.customer.id, {"invoice_settings": {"default_payment_method": bad.id}})
    server.advance(days=14)
    invoice = shop.invoices()[0]
    assert (invoice.status, invoice.attempt_count, invoice.amount_remaining) == ("open", 1, 1500)
    assert shop.v1.subscriptions.retrieve(subscription.id).status == "past_due"
    server.advance(days=3)
    assert shop.invoices()[0].attempt_count == 2
    with pytest.raises(stripe.CardError):
        shop.v1.invoices.pay(invoice.id or "")
    good = shop.v1.payment_methods.attach("pm_card_visa", {"customer": shop.customer.id})
    shop.v1.customers.update(shop.customer.id, {"invoice_settings": {"default_payment_method": good.id}})
    server.advance(days=8)
    assert (shop.invoices()[0].status, shop.v1.subscriptions.retrieve(subscription.id).status) == ("paid", "active")
    told = [each["type"] for each in server.world.events]
    assert told.count("invoice.payment_failed") == 3
    assert told.count("invoice.paid") == 1


def test_a_coupon_takes_off_what_it_says_as_often_as_it_may(server: StripeServer) -> None:
    shop = Shop(server)
    coupon = shop.v1.coupons.create({"id": "HALF", "percent_off": 50, "duration": "once", "max_redemptions": 1})
    subscription = shop.subscribe(seats=2, discounts=[{"coupon": coupon.id}])
    assert shop.invoices()[0].total == 500
    server.advance(days=32)
    assert shop.invoices()[0].total == 1000
    with pytest.raises(stripe.InvalidRequestError):
        shop.v1.subscriptions.update(subscription.id, {"discounts": [{"coupon": coupon.id}]})


def test_what_is_cancelled_ends_with_its_period(server: StripeServer) -> None:
    shop = Shop(server)
    subscription = shop.subscribe()
    shop.v1.subscriptions.update(subscription.id, {"cancel_at_period_end": True})
    server.advance(days=20)
    assert shop.v1.subscriptions.retrieve(subscription.id).status == "active"
    server.advance(days=20)
    ended = shop.v1.subscriptions.retrieve(subscription.id)
    assert (ended.status, len(shop.invoices())) == ("canceled", 1)


def test_months_end_on_their_last_day() -> None:
    january_31 = 1_801_353_600  # 2027-01-31
    assert subscriptions.months_after(january_31, 1, 31) - january_31 == 28 * DAY_S
    assert subscriptions.months_after(january_31, 2, 31) - january_31 == 59 * DAY_S


class Endpoint:
    """What takes webhooks and believes what is signed."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        taken = self.taken

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                event = stripe.Webhook.construct_event(body, self.headers["Stripe-Signature"], WEBHOOK_SECRET)
                taken.append(event.id)
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/"


def test_events_come_signed_late_twice_and_out_of_order() -> None:
    endpoint = Endpoint()
    with local_stripe(endpoint.url) as server:
        assert server.webhooks is not None
        client = client_of(server)
        client.v1.customers.create({"name": "first"})
        server.webhooks.settle()
        assert endpoint.taken == [server.world.events[0]["id"]]
        server.webhooks.hold()
        for name in ("second", "third"):
            client.v1.customers.create({"name": name})
        server.webhooks.settle()
        second, third = server.webhooks.held()
        assert len(endpoint.taken) == 1
        server.webhooks.release([third, second, third])
        server.webhooks.settle()
        assert endpoint.taken[1:] == [third["id"], second["id"], third["id"]]
    endpoint.server.shutdown()


def test_the_world_outlives_the_server(tmp_path: Path) -> None:
    kept = tmp_path / "stripe.json"
    with StripeServer(kept_in=kept) as server:
        shop = Shop(server)
        subscription = shop.subscribe()
        server.advance(days=3)
        now = server.world.now
    with StripeServer(kept_in=kept) as server:
        assert server.world.now == now
        found = client_of(server).v1.subscriptions.retrieve(subscription.id)
        assert found.to_dict() == subscription.to_dict() | {"latest_invoice": found.latest_invoice}
        assert client_of(server).v1.customers.create({}).id not in (shop.customer.id, subscription.id)
