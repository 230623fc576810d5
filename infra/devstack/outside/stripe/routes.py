"""The calls that this server answers: one row each, with the SDK's class of its parameters."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from stripe import params
from stripe.params import billing, billing_portal, checkout

from infra.devstack.outside.stripe import invoices, objects, sessions, subscriptions
from infra.devstack.outside.stripe.faults import ApiFault
from infra.devstack.outside.stripe.world import Object, World, listed

Given = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Call:
    """One call: the world, what was given, ids from the path, and where this server is found."""

    world: World
    given: Given
    ids: tuple[str, ...]
    base_url: str

    def object(self, kind: str, number: int = 0) -> Object:
        """Return the object whose id the path names."""
        return self.world.get(kind, self.ids[number])

    def page(self, url: str, kind: str, **values: Any) -> Object:
        """Return a page of objects of a kind, by the usual parameters of lists."""
        found = self.world.of_kind(kind, **values)
        return listed(f"/v1/{url}", found, self.given.get("limit", 10), self.given.get("starting_after", ""))


@dataclass(frozen=True, slots=True)
class Route:
    """Method and path of a call, its parameters, and what answers it."""

    method: str
    path: re.Pattern[str]
    shape: type
    answer: Callable[[Call], Object]


def find(method: str, path: str) -> tuple[Route, tuple[str, ...]]:
    """Return the route of a call with the ids in its path.

    Raises:
        ApiFault: this server has no such call.
    """
    for route in ROUTES:
        found = route.path.fullmatch(path)
        if route.method == method and found:
            return route, found.groups()
    raise ApiFault(f"Unrecognized request URL ({method}: {path}).", status=404)


def _changed(call: Call, kind: str, change: Callable[[World, Object, Given], None]) -> Object:
    found = call.object(kind)
    change(call.world, found, call.given)
    return found


def _cancelled(call: Call) -> Object:
    found = call.object("subscription")
    subscriptions.cancel(call.world, found)
    return found


def _subscriptions(call: Call) -> Object:
    wanted, values = call.given.get("status", "open"), {}
    if "customer" in call.given:
        values["customer"] = call.given["customer"]
    found = call.world.of_kind("subscription", **values)
    if wanted == "open":
        found = [each for each in found if each["status"] not in subscriptions.ENDED]
    elif wanted != "all":
        found = [each for each in found if each["status"] == wanted]
    return listed("/v1/subscriptions", found, call.given.get("limit", 10), call.given.get("starting_after", ""))


def _invoices(call: Call) -> Object:
    values = {name: call.given[name] for name in ("customer", "status") if name in call.given}
    found = call.world.of_kind("invoice", **values)
    if "subscription" in call.given:
        wanted = call.given["subscription"]
        found = [each for each in found if each["parent"]["subscription_details"]["subscription"] == wanted]
    return listed("/v1/invoices", found, call.given.get("limit", 10), call.given.get("starting_after", ""))


def _sessions(call: Call) -> Object:
    values = {name: call.given[name] for name in ("customer", "status") if name in call.given}
    return call.page("checkout/sessions", "checkout.session", **values)


def _prices(call: Call) -> Object:
    keys = call.given.get("lookup_keys")
    found = [each for each in call.world.of_kind("price") if keys is None or each["lookup_key"] in keys]
    return listed("/v1/prices", found, call.given.get("limit", 10), call.given.get("starting_after", ""))


def _paid(call: Call) -> Object:
    found = call.object("invoice")
    invoices.pay_by_hand(call.world, found, call.given.get("payment_method"))
    return found


def _voided(call: Call) -> Object:
    found = call.object("invoice")
    found.update(status="void", next_payment_attempt=None, amount_remaining=0)
    found["status_transitions"]["voided_at"] = call.world.now
    call.world.tell("invoice.voided", found)
    return found


def _deleted_tax_id(call: Call) -> Object:
    found = call.object("tax_id", 1)
    del call.world.objects[found["id"]]
    call.world.tell("customer.tax_id.deleted", found)
    return {"id": found["id"], "object": "tax_id", "deleted": True}


def _summaries(call: Call) -> Object:
    start, end = call.given["start_time"], call.given["end_time"]
    used = invoices.metered(call.world, call.ids[0], call.given["customer"], start, end)
    row = {
        "id": "mtrsum_1",
        "object": "billing.meter_event_summary",
        "aggregated_value": float(used),
        "start_time": start,
        "end_time": end,
        "livemode": False,
        "meter": call.ids[0],
    }
    return listed(f"/v1/billing/meters/{call.ids[0]}/event_summaries", [row])


def _events(call: Call) -> Object:
    found = list(reversed(call.world.events))
    return listed("/v1/events", found, call.given.get("limit", 10), call.given.get("starting_after", ""))


def _row(method: str, path: str, shape: type, answer: Callable[[Call], Object]) -> Route:
    return Route(method, re.compile("/v1/" + path.replace("{id}", "([A-Za-z0-9_-]+)")), shape, answer)


ROUTES = (
    _row("POST", "customers", params.CustomerCreateParams, lambda c: objects.create_customer(c.world, c.given)),
    _row("GET", "customers", params.CustomerListParams, lambda c: c.page("customers", "customer")),
    _row("GET", "customers/{id}", params.CustomerRetrieveParams, lambda c: c.object("customer")),
    _row(
        "POST",
        "customers/{id}",
        params.CustomerUpdateParams,
        lambda c: _changed(c, "customer", objects.update_customer),
    ),
    _row(
        "POST",
        "customers/{id}/tax_ids",
        params.CustomerTaxIdCreateParams,
        lambda c: objects.create_tax_id(c.world, c.ids[0], c.given),
    ),
    _row(
        "GET",
        "customers/{id}/tax_ids",
        params.CustomerTaxIdListParams,
        lambda c: c.page(f"customers/{c.ids[0]}/tax_ids", "tax_id", customer=c.ids[0]),
    ),
    _row("DELETE", "customers/{id}/tax_ids/{id}", params.CustomerTaxIdDeleteParams, _deleted_tax_id),
    _row("POST", "products", params.ProductCreateParams, lambda c: objects.create_product(c.world, c.given)),
    _row("GET", "products", params.ProductListParams, lambda c: c.page("products", "product")),
    _row("GET", "products/{id}", params.ProductRetrieveParams, lambda c: c.object("product")),
    _row("POST", "prices", params.PriceCreateParams, lambda c: objects.create_price(c.world, c.given)),
    _row("GET", "prices", params.PriceListParams, _prices),
    _row("GET", "prices/{id}", params.PriceRetrieveParams, lambda c: c.object("price")),
    _row("POST", "coupons", params.CouponCreateParams, lambda c: objects.create_coupon(c.world, c.given)),
    _row("GET", "coupons/{id}", params.CouponRetrieveParams, lambda c: c.object("coupon")),
    _row(
        "POST",
        "payment_methods/{id}/attach",
        params.PaymentMethodAttachParams,
        lambda c: objects.attach_card(c.world, c.ids[0], c.given),
    ),
    _row("GET", "payment_methods/{id}", params.PaymentMethodRetrieveParams, lambda c: c.object("payment_method")),
    _row(
        "POST",
        "subscriptions",
        params.SubscriptionCreateParams,
        lambda c: subscriptions.create(c.world, c.given),
    ),
    _row("GET", "subscriptions", params.SubscriptionListParams, _subscriptions),
    _row("GET", "subscriptions/{id}", params.SubscriptionRetrieveParams, lambda c: c.object("subscription")),
    _row(
        "POST",
        "subscriptions/{id}",
        params.SubscriptionUpdateParams,
        lambda c: _changed(c, "subscription", subscriptions.update),
    ),
    _row("DELETE", "subscriptions/{id}", params.SubscriptionCancelParams, _cancelled),
    _row(
        "POST",
        "invoices/create_preview",
        params.InvoiceCreatePreviewParams,
        lambda c: subscriptions.preview(c.world, c.given),
    ),
    _row("GET", "invoices", params.InvoiceListParams, _invoices),
    _row("GET", "invoices/{id}", params.InvoiceRetrieveParams, lambda c: c.object("invoice")),
    _row("POST", "invoices/{id}/pay", params.InvoicePayParams, _paid),
    _row("POST", "invoices/{id}/void", params.InvoiceVoidInvoiceParams, _voided),
    _row(
        "POST",
        "checkout/sessions",
        checkout.SessionCreateParams,
        lambda c: sessions.create_checkout(c.world, c.given, c.base_url),
    ),
    _row("GET", "checkout/sessions", checkout.SessionListParams, _sessions),
    _row(
        "POST",
        "checkout/sessions/{id}/expire",
        checkout.SessionExpireParams,
        lambda c: sessions.expire(c.world, c.object("checkout.session")),
    ),
    _row("GET", "checkout/sessions/{id}", checkout.SessionRetrieveParams, lambda c: c.object("checkout.session")),
    _row(
        "POST",
        "billing_portal/sessions",
        billing_portal.SessionCreateParams,
        lambda c: sessions.create_portal(c.world, c.given, c.base_url),
    ),
    _row("POST", "billing/meters", billing.MeterCreateParams, lambda c: objects.create_meter(c.world, c.given)),
    _row("GET", "billing/meters", billing.MeterListParams, lambda c: c.page("billing/meters", "billing.meter")),
    _row("GET", "billing/meters/{id}/event_summaries", billing.MeterListEventSummariesParams, _summaries),
    _row(
        "POST",
        "billing/meter_events",
        billing.MeterEventCreateParams,
        lambda c: objects.create_meter_event(c.world, c.given),
    ),
    _row("GET", "events", params.EventListParams, _events),
)
