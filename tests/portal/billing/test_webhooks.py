"""Webhooks: forged ones are refused, all others end with the state as it is at the provider (Attack W16)."""

from __future__ import annotations

import json
import random
import time
from typing import Any

import pytest
import stripe
from sqlalchemy import select

from portal.accounts.models import Organisation
from portal.billing import enforcement, mirror, webhooks
from portal.billing.models import BillingEvent
from portal.database import session
from tests.portal.billing.conftest import Billed
from tests.stubs.stripe import API_KEY, WEBHOOK_SECRET, Object, client_of, local_stripe, signature


def post(billed: Billed, payload: str, header: str | None) -> int:
    """Send bytes to the endpoint as anybody can."""
    headers = {} if header is None else {"Stripe-Signature": header}
    client = billed.app.test_client()
    return client.post("/hooks/stripe", data=payload, headers=headers, content_type="application/json").status_code


def event_of(billed: Billed, organisation: Organisation) -> Object:
    """The last thing that happened to an organisation's customer."""
    customer = billed.customer(organisation)
    return next(
        one for one in reversed(billed.server.world.events) if one["data"]["object"].get("customer") == customer
    )


def noted(event_id: str) -> BillingEvent | None:
    session().expire_all()
    return session().scalars(select(BillingEvent).where(BillingEvent.id == event_id)).one_or_none()


FORGERIES = {
    "without a signature": lambda _payload: None,
    "of another secret": lambda payload: signature(payload, "whsec_other"),
    "too old": lambda payload: signature(payload, WEBHOOK_SECRET, int(time.time()) - 301),
    "too early": lambda payload: signature(payload, WEBHOOK_SECRET, int(time.time()) + 310),
    "of another body": lambda payload: signature(payload + " ", WEBHOOK_SECRET),
    "malformed": lambda _payload: "t=x,v1=y",
}


@pytest.mark.parametrize("forge", FORGERIES.values(), ids=FORGERIES.keys())
def test_what_is_forged_is_refused_and_not_noted(billed: Billed, forge: Any) -> None:
    event = {**event_of(billed, billed.subscribed()), "id": f"evt_forged_{random.randrange(1 << 60)}"}
    payload = json.dumps(event)
    assert post(billed, payload, forge(payload)) == 400
    assert noted(event["id"]) is None


def test_a_forged_event_that_is_believed_would_be_seen(billed: Billed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stripe.WebhookSignature, "verify_header", lambda *_: True)
    event = {**event_of(billed, billed.subscribed()), "id": f"evt_believed_{random.randrange(1 << 60)}"}
    payload = json.dumps(event)
    assert post(billed, payload, signature(payload, "whsec_other")) == 200


@pytest.mark.parametrize("age_s", [-290, 0, 290])
def test_within_five_minutes_it_is_believed(billed: Billed, age_s: int) -> None:
    payload = json.dumps(event_of(billed, billed.subscribed()))
    assert post(billed, payload, signature(payload, WEBHOOK_SECRET, int(time.time()) - age_s)) == 200


def test_what_an_event_says_is_never_taken_over(billed: Billed) -> None:
    """Signed or not, the content of an event is old by the time it comes: the object is fetched."""
    organisation = billed.subscribed(quantity=5)
    event = json.loads(json.dumps(event_of(billed, organisation)))
    event["id"], event["type"] = f"evt_lie_{random.randrange(1 << 60)}", "customer.subscription.updated"
    event["data"]["object"] = {
        **billed.server.world.of_kind("subscription", customer=billed.customer(organisation))[0],
        "status": "canceled",
        "items": {"data": [{"quantity": 99999}]},
    }
    payload = json.dumps(event)
    assert post(billed, payload, signature(payload, WEBHOOK_SECRET)) == 200
    assert billed.mirrored(organisation) == billed.provided(organisation)
    assert billed.subscription(organisation).quantity == 5


def test_a_replayed_event_is_noted_once_and_asks_for_nothing(billed: Billed) -> None:
    event = event_of(billed, billed.subscribed())
    billed.server.calls.clear()
    payload = json.dumps(event)
    for _ in range(3):
        assert post(billed, payload, signature(payload, WEBHOOK_SECRET)) == 200
    assert not billed.server.calls
    found = noted(event["id"])
    assert found is not None
    assert found.outcome == webhooks.APPLIED


def _turbulent(billed: Billed) -> tuple[Organisation, list[Object]]:
    """Many things that happen to an organisation, held back."""
    organisation = billed.subscribed(quantity=3)
    assert billed.server.webhooks is not None
    billed.server.webhooks.hold()
    found = billed.subscription(organisation)
    for quantity in (7, 2, 9):
        billed.client.v1.subscriptions.update(found.id, {"items": [{"id": found.item, "quantity": quantity}]})
    billed.server.advance(days=50)
    billed.client.v1.subscriptions.update(found.id, {"cancel_at_period_end": True})
    assert billed.mirrored(organisation) != billed.provided(organisation)
    return organisation, billed.server.webhooks.held()


@pytest.mark.parametrize("order", ["backwards", "shuffled and twice", "last half dropped"])
def test_in_any_order_the_state_ends_as_the_provider_has_it(billed: Billed, order: str) -> None:
    organisation, events = _turbulent(billed)
    assert len(events) > 6
    sent = {
        "backwards": events[::-1],
        "shuffled and twice": random.Random(4).sample([*events, *events], 2 * len(events)),
        "last half dropped": events[: len(events) // 2],
    }[order]
    assert billed.server.webhooks is not None
    billed.server.webhooks.release(sent)
    billed.settle()
    assert {status for event, status in billed.server.webhooks.answers if event in {one["id"] for one in sent}} == {200}
    if order != "last half dropped":
        assert billed.mirrored(organisation) == billed.provided(organisation)
    else:
        enforcement.reconcile(billed.client, organisation.id)
        assert billed.mirrored(organisation) == billed.provided(organisation)


def test_a_mirror_that_believes_what_events_say_would_be_seen(billed: Billed, monkeypatch: pytest.MonkeyPatch) -> None:
    organisation, events = _turbulent(billed)

    def believe(client: stripe.StripeClient, account: Any, told: webhooks.Told) -> None:
        said = next(one for one in events if one["id"] == told.id)["data"]["object"]
        if told.object == "subscription":
            mirror.store_subscription(account, stripe.Subscription.construct_from(said, API_KEY))
        elif told.object == "invoice":
            mirror.store_invoice(account, stripe.Invoice.construct_from(said, API_KEY))

    monkeypatch.setattr(webhooks, "_fetch", believe)
    assert billed.server.webhooks is not None
    billed.server.webhooks.release(events[::-1])
    billed.settle()
    assert billed.mirrored(organisation) != billed.provided(organisation)


def test_all_dropped_the_nightly_comparison_finds_them(billed: Billed) -> None:
    organisation, _ = _turbulent(billed)
    assert billed.server.webhooks is not None
    billed.server.webhooks.release([])
    billed.waiting.append(("billing.compare", {}))
    billed.run_jobs()
    assert billed.mirrored(organisation) == billed.provided(organisation)


def _of_another_account(billed: Billed, **changes: Any) -> Object:
    event = json.loads(json.dumps(event_of(billed, billed.subscribed())))
    return {**event, "id": f"evt_other_{random.randrange(1 << 60)}", **changes}


@pytest.mark.parametrize("changes", [{"account": "acct_other"}, {"livemode": True}], ids=["account", "live"])
def test_an_event_of_another_account_changes_nothing(billed: Billed, changes: dict[str, Any]) -> None:
    event = _of_another_account(billed, **changes)
    payload = json.dumps(event)
    billed.server.calls.clear()
    assert post(billed, payload, signature(payload, WEBHOOK_SECRET)) == 200
    found = noted(event["id"])
    assert found is not None
    assert found.outcome == webhooks.NOT_OURS
    assert not billed.server.calls


def test_a_customer_of_nobody_changes_nothing(billed: Billed) -> None:
    customer = billed.client.v1.customers.create({"name": "Stranger"})
    billed.settle()
    event = next(one for one in billed.server.world.events if one["data"]["object"]["id"] == customer.id)
    found = noted(event["id"])
    assert found is not None
    assert found.outcome == webhooks.NOT_OURS


def test_another_customers_object_is_not_written_into_ours(billed: Billed) -> None:
    """An event may name our customer and another's subscription."""
    ours, others = billed.subscribed(quantity=2), billed.subscribed(quantity=4)
    before = billed.mirrored(ours), billed.mirrored(others)
    event = _of_another_account(billed, type="customer.subscription.updated")
    event["data"] = {
        "object": {
            "object": "subscription",
            "id": billed.subscription(others).id,
            "customer": billed.customer(ours),
        }
    }
    payload = json.dumps(event)
    assert post(billed, payload, signature(payload, WEBHOOK_SECRET)) == 200
    assert (billed.mirrored(ours), billed.mirrored(others)) == before


def test_when_the_provider_is_away_the_event_is_applied_when_it_comes_again(
    billed: Billed, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = _of_another_account(billed)
    payload = json.dumps(event)
    real = billed.app.extensions["eider"].payments
    with local_stripe() as gone:
        client = client_of(gone)
    object.__setattr__(billed.app.extensions["eider"], "payments", client)
    try:
        assert post(billed, payload, signature(payload, WEBHOOK_SECRET)) == 503
    finally:
        object.__setattr__(billed.app.extensions["eider"], "payments", real)
    found = noted(event["id"])
    assert found is not None
    assert found.applied_at is None
    assert post(billed, payload, signature(payload, WEBHOOK_SECRET)) == 200
    found = noted(event["id"])
    assert found is not None
    assert found.outcome == webhooks.APPLIED


def test_no_amount_is_anything_but_whole_minor_units(billed: Billed) -> None:
    organisation = billed.subscribed()
    billed.advance(days=45)
    _, invoices = billed.mirrored(organisation)
    assert invoices
    for _, _, total, remaining in invoices:
        assert (type(total), type(remaining)) == (int, int)
