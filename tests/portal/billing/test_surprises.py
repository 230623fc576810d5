"""What nobody expects of a bill: two plans paid for, a debt that is forgotten, a plan that is none of ours."""

from __future__ import annotations

from typing import Any

import pytest

from mailcore.model.tenant import Standing
from portal.accounts.models import Organisation
from portal.billing import catalogue, changes, enforcement, mirror, queries, services
from portal.billing.plans import PLANS
from portal.billing.services import PaymentDue, SubscriptionRuns
from portal.billing.stages import Stage
from tests.builders import OPERATOR
from tests.portal.billing.conftest import OWNER, Billed


def page_of(billed: Billed, organisation: Organisation, plan: str, quantity: int) -> str:
    """A page of Checkout, opened."""
    url = services.begin_checkout(billed.payments, OWNER, organisation, plan, quantity)
    return url.removeprefix(billed.server.url)


def subscribe(billed: Billed, page: str) -> int:
    """Press the button of a page; return the status."""
    with billed.server.lock:
        return billed.server.page("POST", page, "card=4242")[0]


def pay_on_two_pages(billed: Billed) -> list[int]:
    organisation = billed.organisation()
    pages = [page_of(billed, organisation, "team", 3), page_of(billed, organisation, "pool", 60)]
    return [subscribe(billed, page) for page in pages]


def test_of_two_pages_that_are_open_one_can_be_paid_on(billed: Billed) -> None:
    assert pay_on_two_pages(billed) == [402, 303]


def test_control_pages_that_stay_open_are_paid_on_twice(billed: Billed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "_look_again", lambda *_: None)
    assert pay_on_two_pages(billed) == [303, 303]


def test_who_paid_and_was_not_told_of_yet_does_not_pay_again(billed: Billed) -> None:
    organisation = billed.organisation()
    page = page_of(billed, organisation, "team", 3)
    assert billed.server.webhooks is not None
    billed.server.webhooks.hold()
    assert subscribe(billed, page) == 303
    billed.server.webhooks.release([])
    with pytest.raises(SubscriptionRuns):
        services.begin_checkout(billed.payments, OWNER, organisation, "team", 3)


def test_a_debt_is_paid_before_there_is_another_plan(billed: Billed) -> None:
    """Else the new plan would be paid for and everything stay closed for the old one's sake."""
    organisation = billed.subscribed(quantity=3, card="0341")
    billed.advance(days=14)
    billed.client.v1.subscriptions.cancel(billed.subscription(organisation).id)
    billed.settle()
    assert billed.entitled(organisation).stage is Stage.CLOSED
    with pytest.raises(PaymentDue):
        services.begin_checkout(billed.payments, OWNER, organisation, "team", 3)
    [debt] = billed.server.world.of_kind("invoice", customer=billed.customer(organisation), status="open")
    card = billed.client.v1.payment_methods.attach("pm_card_visa", {"customer": billed.customer(organisation)})
    billed.client.v1.invoices.pay(debt["id"], {"payment_method": card.id})
    billed.settle()
    billed.check_out(organisation, "team", 3)
    assert billed.entitled(organisation).stage is Stage.ACTIVE
    assert billed.mail.tenants.get(organisation.tenant_id).standing is Standing.FULL


def foreign_price(billed: Billed) -> str:
    """A price that somebody made at the provider's own desk."""
    product = billed.client.v1.products.create({"name": "Special"})
    made: Any = {"product": product.id, "currency": "eur", "unit_amount": 1, "recurring": {"interval": "month"}}
    return billed.client.v1.prices.create({**made, "lookup_key": f"special_{product.id}"}).id


def moved_to(billed: Billed, organisation: Organisation, price: str) -> None:
    found = billed.subscription(organisation)
    billed.client.v1.subscriptions.update(found.id, {"items": [{"id": found.item, "price": price, "quantity": 9}]})
    billed.settle()


def test_a_price_that_is_none_of_ours_leaves_the_plan_as_it_was(billed: Billed) -> None:
    organisation = billed.subscribed(quantity=3)
    moved_to(billed, organisation, foreign_price(billed))
    assert (billed.entitled(organisation).plan, billed.entitled(organisation).seats) == (PLANS["team"], 3)
    services.cancel(billed.payments, OWNER, organisation, ends=True)
    assert billed.subscription(organisation).cancel_at_period_end, "all else is followed"


def test_control_a_price_that_is_taken_over_would_be_seen(billed: Billed, monkeypatch: pytest.MonkeyPatch) -> None:
    organisation = billed.subscribed(quantity=3)
    monkeypatch.setattr(mirror, "BY_KEY", type("All", (), {"__contains__": lambda *_: True})())
    moved = billed.client.v1.subscriptions
    found = billed.subscription(organisation)
    moved.update(found.id, {"items": [{"id": found.item, "price": foreign_price(billed)}]})
    assert billed.server.webhooks is not None
    billed.server.webhooks.settle()
    with pytest.raises(KeyError):
        billed.entitled(organisation)
    billed.waiting.clear()


def test_one_organisation_that_fails_does_not_keep_the_others_from_their_plans(
    billed: Billed, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, good = sorted((billed.subscribed(quantity=4) for _ in range(2)), key=lambda one: one.id)  # as they are visited
    billed.mail.pools.set_max_users(OPERATOR, good.tenant_id, 999)
    enforce = enforcement.enforce

    def fail(mail: Any, organisation_id: Any, now: Any, **named: Any) -> bool:
        if organisation_id == bad.id:
            raise KeyError("a fault of ours")
        return enforce(mail, organisation_id, now, **named)

    monkeypatch.setattr(enforcement, "enforce", fail)
    billed.waiting.append(("billing.tick", {}))
    billed.run_jobs()
    assert billed.mail.tenants.get(good.tenant_id).limits.users == 4


def begun_and_never_paid(billed: Billed, organisation: Organisation) -> None:
    """The bank asked for something that nobody answered."""
    prices = catalogue.price_ids(billed.client)
    billed.client.v1.subscriptions.create(
        {
            "customer": billed.customer(organisation),
            "items": [{"price": prices[PLANS["team"].key], "quantity": 3}],
            "payment_behavior": "default_incomplete",
        }
    )
    billed.settle()


def test_who_could_not_pay_at_first_may_try_again(billed: Billed) -> None:
    organisation = billed.organisation()
    page_of(billed, organisation, "team", 3)  # makes the customer
    begun_and_never_paid(billed, organisation)
    assert billed.subscription(organisation).status == "incomplete"
    assert billed.entitled(organisation).plan is None, "it is still the trial"
    billed.check_out(organisation, "team", 3)
    assert billed.entitled(organisation).plan == PLANS["team"]


def test_a_plan_that_ended_is_not_opened_again_by_one_that_never_began(billed: Billed) -> None:
    organisation = billed.subscribed(quantity=3)
    billed.client.v1.subscriptions.cancel(billed.subscription(organisation).id)
    billed.settle()
    billed.server.advance(seconds=60)
    begun_and_never_paid(billed, organisation)
    assert billed.entitled(organisation).stage is Stage.CLOSED


def test_what_is_given_back_beyond_the_next_invoice_counts_for_those_after(billed: Billed) -> None:
    organisation = billed.subscribed(quantity=100)
    billed.advance(days=15)
    shown = changes.preview(billed.payments, OWNER, organisation, 50, "pool")
    assert shown.total < 0
    changes.confirm(billed.payments, OWNER, organisation, shown.id)
    billed.settle()
    billed.advance(days=31)
    newest = billed.server.world.of_kind("invoice", customer=billed.customer(organisation))[0]
    assert (newest["total"], newest["amount_due"], newest["ending_balance"]) == (shown.total, 0, shown.total)


def test_a_change_that_was_refused_is_told_for_a_day(billed: Billed) -> None:
    organisation = billed.subscribed(quantity=3)
    shown = changes.preview(billed.payments, OWNER, organisation, 4)
    changes.confirm(billed.payments, OWNER, organisation, shown.id)
    found = billed.subscription(organisation)
    billed.client.v1.subscriptions.update(found.id, {"items": [{"id": found.item, "quantity": 7}]})
    billed.settle()
    assert queries.change_under_way(organisation, billed.now()) is not None
    billed.advance(days=1.1)
    assert queries.change_under_way(organisation, billed.now()) is None
