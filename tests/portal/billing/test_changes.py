"""From one plan to another: what is shown is what is billed, nothing is billed twice, and nobody gets stuck between."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import pytest

from mailcore.errors import OverQuota, ValueInvalid
from mailcore.services.mailboxes.messages import NewMessage
from portal.accounts.models import Organisation
from portal.billing import changes, metering, plans, services
from portal.billing.changes import (
    NO_LONGER_FITS,
    OUTDATED,
    ChangeUnderWay,
    NothingChanges,
    PreviewOutdated,
)
from portal.billing.fitting import BeyondSpendCap, SeatsInUse, StorageInUse
from portal.billing.gateway import PaymentsAway
from portal.billing.models import Adjustment, ChangeState, PlanChange
from portal.billing.plans import GIB, PLANS
from portal.billing.services import PaymentDue
from portal.database import session
from tests.builders import OPERATOR
from tests.portal.billing.conftest import OWNER, Billed

POOL_PRICES = {"eider_pool_gb_month_eur", "eider_pool_ssd_gb_day_eur", "eider_pool_hdd_gb_day_eur"}


def prices(billed: Billed, organisation: Organisation) -> set[str]:
    """Which prices the provider has for an organisation."""
    [found] = billed.server.world.of_kind("subscription", customer=billed.customer(organisation))
    return {item["price"]["lookup_key"] for item in found["items"]["data"]}


def change(billed: Billed, organisation: Organisation, code: str | None, quantity: int) -> PlanChange:
    """Preview a change, confirm it, and let it be made."""
    found = changes.preview(billed.payments, OWNER, organisation, quantity, code)
    changes.confirm(billed.payments, OWNER, organisation, found.id)
    billed.settle()
    return found


def state(found: PlanChange) -> tuple[str, str]:
    session().expire_all()
    kept = session().get_one(PlanChange, found.id)
    return kept.state, kept.reason


def invoices(billed: Billed, organisation: Organisation) -> list[Any]:
    """The provider's invoices, the newest first."""
    return billed.server.world.of_kind("invoice", customer=billed.customer(organisation))


def user_of(billed: Billed, organisation: Organisation) -> Any:
    domain = f"c{organisation.tenant}.test"
    number = billed.mail.users.count_of_tenant(organisation.tenant_id)
    if not number:
        billed.mail.domains.create(OPERATOR, organisation.tenant_id, domain)
    return billed.mail.users.create(OPERATOR, f"u{number}@{domain}", None, "", organisation.tenant_id)


def kept(ids: list[UUID]) -> list[bool]:
    session().expire_all()
    return [session().get(PlanChange, each) is not None for each in ids]


def test_what_was_only_looked_at_is_forgotten_by_the_daily_job(billed: Billed) -> None:
    organisation = billed.subscribed(quantity=5)
    ids = [change(billed, organisation, None, 6).id]
    ids.append(changes.preview(billed.payments, OWNER, organisation, 7).id)
    billed.advance(days=0.9)
    ids.append(changes.preview(billed.payments, OWNER, organisation, 8).id)
    billed.advance(days=0.2)
    for _ in range(2):
        billed.waiting.append(("billing.compare", {}))
        billed.run_jobs()
        assert kept(ids) == [True, False, True]


def test_a_plan_by_seat_becomes_one_by_gb_with_its_meters(billed: Billed) -> None:
    organisation = billed.subscribed(quantity=5)
    billed.advance(days=20)
    shown = change(billed, organisation, "pool", 100)
    assert state(shown) == (ChangeState.APPLIED, "")
    assert prices(billed, organisation) == POOL_PRICES
    entitled = billed.entitled(organisation)
    assert (entitled.plan, entitled.seats, entitled.storage_bytes) == (PLANS["pool"], None, 100 * GIB)
    tenant = billed.mail.tenants.get(organisation.tenant_id)
    assert (tenant.limits.users, tenant.limits.quota_bytes) == (None, 100 * GIB)
    billed.advance(days=25)
    newest = invoices(billed, organisation)[0]
    assert newest["total"] == shown.total
    assert [line["amount"] for line in newest["lines"]["data"]] == [line["amount"] for line in shown.lines]


def test_a_plan_by_gb_becomes_one_by_seat_and_what_was_metered_is_billed(billed: Billed, usage: None) -> None:
    organisation = billed.subscribed("pool", 100)
    billed.advance(days=20)
    metering.report(billed.payments, organisation.id)
    billed.server.advance(days=1)
    shown = change(billed, organisation, "team", 5)
    assert prices(billed, organisation) == {"eider_team_seat_month_eur"}
    assert [line["amount"] for line in shown.lines if "SSD" in line["text"]] == [8]  # 20 GB for a day, 0.4 cents each
    billed.server.advance(days=1)
    metering.report(billed.payments, organisation.id)
    assert len(billed.server.world.of_kind("billing.meter_event")) == 2, "a plan by seat reports nothing"
    billed.advance(days=25)
    newest = invoices(billed, organisation)[0]
    assert newest["total"] == shown.total
    assert sum("SSD" in line["description"] for line in newest["lines"]["data"]) == 1


@pytest.fixture
def usage(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every tenant stores 20 GB on SSD and 5 on HDD."""
    from mailcore.services.tenants.pools import Pools, Stored

    monkeypatch.setattr(Pools, "tiers", lambda *_: Stored(20 * GIB, 5 * GIB))


def test_in_the_trial_it_counts_at_once_and_costs_nothing(billed: Billed) -> None:
    organisation = billed.subscribed(quantity=3)
    trial_end = billed.subscription(organisation).trial_end
    shown = change(billed, organisation, "pool", 60)
    assert [line["amount"] for line in shown.lines] == [60 * 12]
    found = billed.subscription(organisation)
    assert (found.status, found.trial_end) == ("trialing", trial_end)
    assert invoices(billed, organisation) == []
    billed.advance(days=15)
    assert invoices(billed, organisation)[0]["total"] == 60 * 12


def test_one_that_is_cancelled_stays_cancelled(billed: Billed) -> None:
    organisation = billed.subscribed(quantity=3)
    billed.advance(days=20)
    services.cancel(billed.payments, OWNER, organisation, ends=True)
    change(billed, organisation, "pool", 60)
    found = billed.subscription(organisation)
    assert (found.price_key, found.cancel_at_period_end) == (PLANS["pool"].key, True)
    billed.advance(days=31)
    assert billed.subscription(organisation).status == "canceled"


def test_a_coupon_goes_along(billed: Billed) -> None:
    organisation = billed.subscribed(quantity=3)
    code = f"P{organisation.tenant}"
    billed.client.v1.coupons.create({"id": code, "percent_off": 50, "duration": "forever"})
    services.use_coupon(billed.payments, OWNER, organisation, code)
    shown = change(billed, organisation, "pool", 100)
    assert shown.total == 600
    billed.advance(days=15)
    assert invoices(billed, organisation)[0]["total"] == 600


def test_what_is_not_paid_is_paid_first(billed: Billed) -> None:
    organisation = billed.subscribed(quantity=3, card="0341")
    billed.advance(days=15)
    with pytest.raises(PaymentDue):
        changes.preview(billed.payments, OWNER, organisation, 60, "pool")
    billed.change_card(organisation, "4242")
    assert changes.preview(billed.payments, OWNER, organisation, 60, "pool").to_quantity == 60


def test_a_payment_that_fails_after_the_preview_stops_it(billed: Billed) -> None:
    organisation = billed.subscribed(quantity=3)
    billed.advance(days=13.99)
    shown = changes.preview(billed.payments, OWNER, organisation, 60, "pool")
    billed.change_card(organisation, "0341")
    billed.server.advance(seconds=1200)
    billed.settle()
    with pytest.raises((PaymentDue, PreviewOutdated)):
        changes.confirm(billed.payments, OWNER, organisation, shown.id)


def test_a_smaller_plan_has_room_for_users_and_mail_or_is_refused(
    billed: Billed, monkeypatch: pytest.MonkeyPatch
) -> None:
    organisation = billed.subscribed("pool", 200)
    for _ in range(3):
        user_of(billed, organisation)
    with pytest.raises(SeatsInUse) as seats:
        changes.preview(billed.payments, OWNER, organisation, 2, "team")
    assert seats.value.details == (3,)
    monkeypatch.setattr(type(billed.mail.pools), "used", lambda *_: 100 * GIB)
    with pytest.raises(StorageInUse) as storage:
        changes.preview(billed.payments, OWNER, organisation, 3, "team")
    assert storage.value.details == (100 * GIB, 4)
    assert changes.preview(billed.payments, OWNER, organisation, 4, "team").to_quantity == 4
    with pytest.raises(StorageInUse):
        changes.preview(billed.payments, OWNER, organisation, 99)


def test_mail_that_is_there_counts_to_the_byte(billed: Billed, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real sum of the heads, against a plan whose units are as large as a message."""
    organisation = billed.subscribed("pool", 200)
    user = user_of(billed, organisation)
    billed.mail.messages.append(user, OPERATOR, "INBOX", [NewMessage(b"Subject: x\r\n\r\n" + b"x" * 10_000)])
    stored = billed.mail.pools.used(organisation.tenant_id)
    assert stored > 10_000
    tiny = plans.Plan("team", "Team", plans.Unit.SEAT, PLANS["team"].key, 500, stored - 1)
    monkeypatch.setitem(PLANS, "team", tiny)
    with pytest.raises(StorageInUse) as refused:
        changes.preview(billed.payments, OWNER, organisation, 1, "team")
    assert refused.value.details == (stored, 2)


def test_who_stores_more_than_the_plan_holds_may_buy_more_of_it(
    billed: Billed, monkeypatch: pytest.MonkeyPatch
) -> None:
    organisation = billed.subscribed("pool", 100)
    monkeypatch.setattr(type(billed.mail.pools), "used", lambda *_: 500 * GIB)
    assert changes.preview(billed.payments, OWNER, organisation, 200).to_quantity == 200


def test_the_spend_cap_holds_for_another_plan(billed: Billed, monkeypatch: pytest.MonkeyPatch) -> None:
    organisation = billed.subscribed(quantity=2)
    services.set_spend_cap(OWNER, organisation, 1200 + 124)  # ten GB on SSD for a month
    with pytest.raises(BeyondSpendCap):
        changes.preview(billed.payments, OWNER, organisation, 111, "pool")
    assert changes.preview(billed.payments, OWNER, organisation, 100, "pool").to_quantity == 100
    monkeypatch.setattr(type(billed.mail.pools), "used", lambda *_: 11 * GIB)
    with pytest.raises(BeyondSpendCap):
        changes.preview(billed.payments, OWNER, organisation, 100, "pool")


def test_what_is_there_already_and_what_is_not_sold_are_no_changes(billed: Billed) -> None:
    organisation = billed.subscribed(quantity=3)
    with pytest.raises(NothingChanges):
        changes.preview(billed.payments, OWNER, organisation, 3)
    with pytest.raises(NothingChanges):
        changes.preview(billed.payments, OWNER, organisation, 3, "team")
    with pytest.raises(ValueInvalid):
        changes.preview(billed.payments, OWNER, organisation, 3, "gold")
    with pytest.raises(ValueInvalid):
        changes.preview(billed.payments, OWNER, organisation, 3, "pool")  # at least 50 GB


def test_confirmed_by_many_at_once_it_is_made_once(billed: Billed) -> None:
    organisation = billed.subscribed(quantity=3)
    billed.advance(days=20)
    shown = changes.preview(billed.payments, OWNER, organisation, 60, "pool")
    barrier = threading.Barrier(6)

    def ask(_: int) -> str:
        with billed.parts.database.scope():
            barrier.wait()
            return str(changes.confirm(billed.payments, OWNER, organisation, shown.id).state)

    with ThreadPoolExecutor(6) as pool:
        assert set(pool.map(ask, range(6))) == {ChangeState.CONFIRMED}
    assert [name for name, _ in billed.waiting].count("billing.apply_change") == 1
    billed.settle()
    assert len(billed.server.world.of_kind("invoiceitem", customer=billed.customer(organisation))) == 2


def _race(billed: Billed) -> tuple[Organisation, list[str]]:
    """Let a change of seats and one of plans be confirmed at once; return what became of each."""
    organisation = billed.subscribed(quantity=3)
    billed.advance(days=20)
    shown = [
        changes.preview(billed.payments, OWNER, organisation, 4).id,
        changes.preview(billed.payments, OWNER, organisation, 60, "pool").id,
    ]
    barrier = threading.Barrier(2)

    def ask(number: int) -> str:
        with billed.parts.database.scope():
            barrier.wait()
            try:
                changes.confirm(billed.payments, OWNER, organisation, shown[number])
            except (ChangeUnderWay, PreviewOutdated):
                return "refused"
            return "confirmed"

    with ThreadPoolExecutor(2) as pool:
        said = sorted(pool.map(ask, range(2)))
    billed.settle()
    return organisation, said


def test_a_change_of_seats_and_one_of_plans_at_once_are_one(billed: Billed) -> None:
    organisation, said = _race(billed)
    assert said == ["confirmed", "refused"]
    assert len(billed.server.world.of_kind("invoiceitem", customer=billed.customer(organisation))) == 2


def test_two_that_are_confirmed_both_would_be_seen(billed: Billed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "_is_under_way", lambda *_: False)
    assert _race(billed)[1] == ["confirmed", "confirmed"]


def test_what_somebody_else_changed_meanwhile_is_not_changed_again(billed: Billed) -> None:
    """Somebody at the provider's own desk, after the confirmation and before the worker."""
    organisation = billed.subscribed(quantity=3)
    shown = changes.preview(billed.payments, OWNER, organisation, 60, "pool")
    changes.confirm(billed.payments, OWNER, organisation, shown.id)
    found = billed.subscription(organisation)
    billed.client.v1.subscriptions.update(found.id, {"items": [{"id": found.item, "quantity": 7}]})
    billed.settle()
    assert state(shown) == (ChangeState.REFUSED, OUTDATED)
    assert billed.subscription(organisation).quantity == 7


def test_users_that_come_after_the_confirmation_keep_their_seats(billed: Billed) -> None:
    organisation = billed.subscribed("pool", 60)
    user_of(billed, organisation)
    shown = changes.preview(billed.payments, OWNER, organisation, 1, "team")
    changes.confirm(billed.payments, OWNER, organisation, shown.id)
    user_of(billed, organisation)
    billed.settle()
    assert state(shown) == (ChangeState.REFUSED, NO_LONGER_FITS)
    assert billed.entitled(organisation).plan == PLANS["pool"]


def _coupon(billed: Billed, organisation: Organisation) -> None:
    code = f"S{organisation.tenant}"
    billed.client.v1.coupons.create({"id": code, "percent_off": 10, "duration": "forever"})
    services.use_coupon(billed.payments, OWNER, organisation, code)


def _another_price(billed: Billed, _: Organisation) -> None:
    with billed.server.lock:
        [old] = [one for one in billed.server.world.of_kind("price") if one["lookup_key"] == PLANS["pool"].key]
        new = {**old, "id": billed.server.world.new_id("price"), "unit_amount": 99, "unit_amount_decimal": "99"}
        old["lookup_key"] = None
        billed.server.world.objects[new["id"]] = new


@pytest.mark.parametrize("happens", [_coupon, _another_price])
def test_what_is_no_longer_as_shown_is_not_made(
    billed: Billed, happens: Callable[[Billed, Organisation], None]
) -> None:
    before = {key: dict(one) for key, one in billed.server.world.objects.items() if one["object"] == "price"}
    organisation = billed.subscribed(quantity=3)
    shown = changes.preview(billed.payments, OWNER, organisation, 60, "pool")
    try:
        happens(billed, organisation)
        with pytest.raises(PreviewOutdated):
            changes.confirm(billed.payments, OWNER, organisation, shown.id)
        assert changes.preview(billed.payments, OWNER, organisation, 60, "pool").total != shown.total
    finally:
        with billed.server.lock:
            world = billed.server.world
            world.objects = {key: one for key, one in world.objects.items() if one["object"] != "price"} | before


def test_a_confirmation_that_looks_no_more_would_be_seen(billed: Billed, monkeypatch: pytest.MonkeyPatch) -> None:
    organisation = billed.subscribed(quantity=3)
    shown = changes.preview(billed.payments, OWNER, organisation, 60, "pool")
    _coupon(billed, organisation)
    monkeypatch.setattr(changes, "_check_still_holds", lambda *_: None)
    assert changes.confirm(billed.payments, OWNER, organisation, shown.id).state == ChangeState.CONFIRMED


def _died_after_the_call(billed: Billed) -> tuple[Organisation, PlanChange]:
    """The provider made the change, our commit was lost, and its key is forgotten there."""
    organisation = billed.subscribed(quantity=3)
    billed.advance(days=20)
    shown = change(billed, organisation, "pool", 60)
    session().get_one(PlanChange, shown.id, populate_existing=True).state = ChangeState.CONFIRMED
    session().commit()
    billed.server.world.used_keys.clear()
    return organisation, shown


def test_a_worker_that_died_after_the_call_is_followed_by_one_that_finds_it_made(billed: Billed) -> None:
    organisation, shown = _died_after_the_call(billed)
    billed.waiting.append(("billing.tick", {}))
    billed.settle()
    assert state(shown) == (ChangeState.APPLIED, "")
    assert prices(billed, organisation) == POOL_PRICES
    assert len(billed.server.world.of_kind("invoiceitem", customer=billed.customer(organisation))) == 2


def test_one_that_does_not_look_would_be_seen(billed: Billed, monkeypatch: pytest.MonkeyPatch) -> None:
    _, shown = _died_after_the_call(billed)
    monkeypatch.setattr(changes, "_of", lambda _: (shown.from_price, shown.from_quantity))
    changes.apply_change(billed.payments, shown.id)
    assert state(shown)[0] == ChangeState.REFUSED


def test_a_provider_that_is_away_leaves_it_to_the_next(billed: Billed, monkeypatch: pytest.MonkeyPatch) -> None:
    organisation = billed.subscribed(quantity=3)
    shown = changes.preview(billed.payments, OWNER, organisation, 60, "pool")
    changes.confirm(billed.payments, OWNER, organisation, shown.id)
    with monkeypatch.context() as away:
        away.setattr(changes, "_fetch", _away)
        with pytest.raises(PaymentsAway):
            changes.apply_change(billed.payments, shown.id)
    assert state(shown)[0] == ChangeState.CONFIRMED
    billed.waiting[:] = [("billing.tick", {})]
    billed.settle()
    assert state(shown) == (ChangeState.APPLIED, "")


def _away(*_: object) -> None:
    raise PaymentsAway("APIConnectionError")


def test_another_organisations_change_is_nobody_elses(billed: Billed) -> None:
    shown = changes.preview(billed.payments, OWNER, billed.subscribed(quantity=3), 60, "pool")
    with pytest.raises(changes.NotFound):
        changes.confirm(billed.payments, OWNER, billed.subscribed(quantity=3), shown.id)


def test_the_new_limit_holds_for_mail_at_once(billed: Billed, monkeypatch: pytest.MonkeyPatch) -> None:
    """A smaller pool is refused by the very next delivery."""
    organisation = billed.subscribed(quantity=10)
    user = user_of(billed, organisation)
    raw = b"Subject: x\r\n\r\n" + b"x" * 10_000
    billed.mail.messages.append(user, OPERATOR, "INBOX", [NewMessage(raw)])
    monkeypatch.setitem(PLANS, "pool", plans.Plan("pool", "Pool", plans.Unit.GIGABYTE, PLANS["pool"].key, 12, 200))
    monkeypatch.setitem(plans.BY_KEY, PLANS["pool"].key, PLANS["pool"])
    change(billed, organisation, "pool", 75)  # 15,000 bytes
    with pytest.raises(OverQuota):
        billed.mail.messages.append(user, OPERATOR, "INBOX", [NewMessage(raw)])


def test_what_staff_set_counts_for_the_other_plan_too(billed: Billed, monkeypatch: pytest.MonkeyPatch) -> None:
    organisation = billed.subscribed("pool", 60)
    for _ in range(3):
        user_of(billed, organisation)
    monkeypatch.setattr(type(billed.mail.pools), "used", lambda *_: 100 * GIB)
    with pytest.raises(SeatsInUse):
        changes.preview(billed.payments, OWNER, organisation, 2, "team")
    for name, value in (("users", 5), ("storage_bytes", 200 * GIB)):
        session().add(Adjustment(organisation_id=organisation.id, name=name, value=value, reason="x", set_by="x"))
    session().commit()
    change(billed, organisation, "team", 2)
    entitled = billed.entitled(organisation)
    assert (entitled.plan, entitled.seats, entitled.storage_bytes) == (PLANS["team"], 5, 200 * GIB)
