"""From the trial to the export: what is paid for, each stage of what is not, and what the mail plane makes of it."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import select

from mailcore.errors import TooManyUsers
from mailcore.model.tenant import Standing
from portal.accounts.models import Organisation
from portal.audit.models import AuditEvent
from portal.billing import changes, enforcement, metering, mirror, plans, services
from portal.billing.changes import PreviewOutdated
from portal.billing.entitlements import Facts, derive
from portal.billing.fitting import BeyondSpendCap, SeatsInUse
from portal.billing.gateway import PaymentRefused, PaymentsAway
from portal.billing.models import ChangeState, PlanChange, UsedCoupon
from portal.billing.money import CurrencyMismatch, Money
from portal.billing.services import CouponUsed, SubscriptionRuns
from portal.billing.stages import STEPS, Stage, stage_at
from portal.database import session
from tests.builders import OPERATOR
from tests.portal.billing.conftest import OWNER, Billed


def test_a_trial_needs_no_card_and_becomes_a_plan_when_it_is_over(billed: Billed) -> None:
    organisation = billed.organisation()
    entitled = billed.entitled(organisation)
    assert (entitled.plan, entitled.stage, entitled.seats) == (None, Stage.ACTIVE, plans.TRIAL_SEATS)
    billed.check_out(organisation, "team", 5)
    assert billed.subscription(organisation).status == "trialing"
    assert billed.provided(organisation)[1] == []
    billed.advance(days=15)
    assert billed.subscription(organisation).status == "active"
    assert [invoice[2] for invoice in billed.mirrored(organisation)[1]] == [2500]
    entitled = billed.entitled(organisation)
    assert (entitled.seats, entitled.storage_bytes) == (5, 5 * 30 * plans.GIB)


def test_a_trial_that_ends_without_a_plan_goes_through_the_stages(billed: Billed) -> None:
    organisation = billed.organisation()
    billed.advance(days=14)
    assert billed.entitled(organisation).stage is Stage.GRACE
    billed.advance(days=7)
    assert billed.mail.tenants.get(organisation.tenant_id).standing is Standing.NO_SENDING
    billed.check_out(organisation, "team", 2)
    assert billed.mail.tenants.get(organisation.tenant_id).standing is Standing.FULL


def test_the_preview_is_the_invoice_that_comes(billed: Billed) -> None:
    organisation = billed.subscribed(quantity=3)
    billed.advance(days=20)
    change = changes.preview(billed.payments, OWNER, organisation, 8)
    assert billed.subscription(organisation).quantity == 3
    changes.confirm(billed.payments, OWNER, organisation, change.id)
    billed.settle()
    assert billed.subscription(organisation).quantity == 8
    assert billed.mail.tenants.get(organisation.tenant_id).limits.users == 8
    billed.advance(days=31)
    newest = billed.server.world.of_kind("invoice", customer=billed.customer(organisation))[0]
    assert (newest["total"], newest["currency"]) == (change.total, change.currency)
    assert [line["amount"] for line in newest["lines"]["data"]] == [line["amount"] for line in change.lines]


def test_a_change_that_is_made_twice_is_made_once(billed: Billed) -> None:
    organisation = billed.subscribed(quantity=3)
    billed.advance(days=20)
    change = changes.preview(billed.payments, OWNER, organisation, 4)
    changes.confirm(billed.payments, OWNER, organisation, change.id)
    changes.apply_change(billed.payments, change.id)
    changes.apply_change(billed.payments, change.id)
    pending = billed.server.world.of_kind("invoiceitem", customer=billed.customer(organisation))
    assert len(pending) == 2  # one that gives back, one that costs
    changes.confirm(billed.payments, OWNER, organisation, change.id)
    billed.settle()
    assert len(billed.server.world.of_kind("invoiceitem", customer=billed.customer(organisation))) == 2


def test_a_worker_that_died_after_the_call_is_followed_by_one_that_changes_nothing(billed: Billed) -> None:
    organisation = billed.subscribed(quantity=3)
    billed.advance(days=20)
    change = changes.preview(billed.payments, OWNER, organisation, 6)
    changes.confirm(billed.payments, OWNER, organisation, change.id)
    changes.apply_change(billed.payments, change.id)
    found = session().get(PlanChange, change.id, populate_existing=True)
    assert found is not None
    found.state = ChangeState.CONFIRMED  # as if the commit had been lost
    session().commit()
    billed.waiting.append(("billing.tick", {}))
    billed.settle()
    assert len(billed.server.world.of_kind("invoiceitem", customer=billed.customer(organisation))) == 2
    assert billed.subscription(organisation).quantity == 6


def test_two_previews_cannot_both_be_confirmed(billed: Billed) -> None:
    organisation = billed.subscribed(quantity=3)
    first = changes.preview(billed.payments, OWNER, organisation, 4)
    second = changes.preview(billed.payments, OWNER, organisation, 5)
    changes.confirm(billed.payments, OWNER, organisation, first.id)
    billed.settle()
    with pytest.raises(PreviewOutdated):
        changes.confirm(billed.payments, OWNER, organisation, second.id)


def test_a_preview_holds_for_an_hour(billed: Billed) -> None:
    organisation = billed.subscribed(quantity=3)
    change = changes.preview(billed.payments, OWNER, organisation, 4)
    billed.server.advance(seconds=3601)
    with pytest.raises(PreviewOutdated):
        changes.confirm(billed.payments, OWNER, organisation, change.id)


def test_what_is_not_paid_goes_stage_by_stage_and_comes_back(billed: Billed) -> None:
    organisation = billed.subscribed(quantity=3, card="0341")
    billed.advance(days=14)
    seen = []
    for _ in range(32):
        standing = billed.mail.tenants.get(organisation.tenant_id).standing
        stage = billed.entitled(organisation).stage
        if not seen or seen[-1] != (stage, standing):
            seen.append((stage, standing))
        billed.advance(days=1)
    assert seen == [
        (Stage.GRACE, Standing.FULL),
        (Stage.SENDING_OFF, Standing.NO_SENDING),
        (Stage.READ_ONLY, Standing.READ_ONLY),
        (Stage.CLOSED, Standing.CLOSED),
    ]
    until = billed.entitled(organisation).export_until
    assert until is not None
    assert until > billed.now()
    billed.change_card(organisation, "4242")
    assert billed.entitled(organisation).stage is Stage.ACTIVE
    assert billed.mail.tenants.get(organisation.tenant_id).standing is Standing.FULL


def test_stages_begin_on_the_day_they_say(billed: Billed) -> None:
    since = billed.now()
    for step in STEPS:
        assert stage_at(since, since + step.after) is step.stage
        assert stage_at(since, since + step.after - timedelta(seconds=1)) is not step.stage
    assert stage_at(None, since) is Stage.ACTIVE


def test_enforcing_again_writes_nothing(billed: Billed) -> None:
    organisation = billed.subscribed()
    assert not enforcement.enforce(billed.mail, organisation.id, billed.now())


def test_whatever_else_set_a_limit_the_next_comparison_sets_it_right(billed: Billed) -> None:
    organisation = billed.subscribed(quantity=4)
    billed.mail.pools.set_max_users(OPERATOR, organisation.tenant_id, 999)
    billed.mail.tenants.set_standing(OPERATOR, organisation.tenant_id, Standing.CLOSED)
    billed.waiting.append(("billing.tick", {}))
    billed.run_jobs()
    tenant = billed.mail.tenants.get(organisation.tenant_id)
    assert (tenant.limits.users, tenant.standing) == (4, Standing.FULL)


def test_the_mail_plane_knows_from_when_it_is_a_plan(billed: Billed) -> None:
    organisation = billed.organisation()
    assert not billed.mail.tenants.get(organisation.tenant_id).pays
    billed.advance(days=8)
    assert not billed.mail.tenants.get(organisation.tenant_id).pays
    billed.check_out(organisation, "team", 2)
    assert billed.mail.tenants.get(organisation.tenant_id).pays


def test_a_cancelled_plan_ends_with_its_period_and_leaves_the_export(billed: Billed) -> None:
    organisation = billed.subscribed()
    billed.advance(days=20)
    services.cancel(billed.payments, OWNER, organisation, ends=True)
    billed.advance(days=5)
    assert billed.entitled(organisation).stage is Stage.ACTIVE
    billed.advance(days=30)
    entitled = billed.entitled(organisation)
    assert entitled.stage is Stage.CLOSED
    assert entitled.export_until is not None
    assert entitled.export_until - billed.now() > timedelta(days=60)
    billed.check_out(organisation, "team", 5)
    assert billed.entitled(organisation).stage is Stage.ACTIVE


def test_a_change_of_mind_before_the_end_lets_it_go_on(billed: Billed) -> None:
    organisation = billed.subscribed()
    services.cancel(billed.payments, OWNER, organisation, ends=True)
    services.cancel(billed.payments, OWNER, organisation, ends=False)
    billed.advance(days=60)
    assert billed.entitled(organisation).stage is Stage.ACTIVE


def test_nobody_subscribes_twice(billed: Billed) -> None:
    organisation = billed.subscribed()
    with pytest.raises(SubscriptionRuns):
        services.begin_checkout(billed.payments, OWNER, organisation, "team", 5)


def test_seats_are_never_fewer_than_users_and_users_never_more_than_seats(billed: Billed) -> None:
    organisation = billed.subscribed(quantity=2)
    domain = f"d{organisation.tenant}.test"
    billed.mail.domains.create(OPERATOR, organisation.tenant_id, domain)
    for number in range(2):
        billed.mail.users.create(OPERATOR, f"u{number}@{domain}", None, "", organisation.tenant_id)
    with pytest.raises(TooManyUsers):
        billed.mail.users.create(OPERATOR, f"u3@{domain}", None, "", organisation.tenant_id)
    with pytest.raises(SeatsInUse):
        changes.preview(billed.payments, OWNER, organisation, 1)


def test_no_change_goes_beyond_the_spend_cap(billed: Billed) -> None:
    organisation = billed.subscribed(quantity=3)
    services.set_spend_cap(OWNER, organisation, 2000)
    assert changes.preview(billed.payments, OWNER, organisation, 4).to_quantity == 4
    with pytest.raises(BeyondSpendCap):
        changes.preview(billed.payments, OWNER, organisation, 5)


def test_storage_billed_by_use_stops_before_the_cap(billed: Billed) -> None:
    organisation = billed.subscribed("pool", 100)
    assert billed.entitled(organisation).storage_bytes == 100 * plans.GIB
    services.set_spend_cap(OWNER, organisation, 1200 + 124)  # 124 cents: ten GB on SSD for a month of 31 days
    billed.settle()
    assert billed.entitled(organisation).storage_bytes == 10 * plans.GIB
    assert billed.mail.tenants.get(organisation.tenant_id).limits.quota_bytes == 10 * plans.GIB


def test_what_is_stored_is_reported_once_a_day_for_each_tier(billed: Billed) -> None:
    organisation = billed.subscribed("pool", 100)
    metering.report(billed.payments, organisation.id)
    assert not billed.server.world.of_kind("billing.meter_event"), "a trial is free"
    billed.advance(days=20)
    for _ in range(3):
        metering.report(billed.payments, organisation.id)
    events = [
        one
        for one in billed.server.world.of_kind("billing.meter_event")
        if one["payload"]["stripe_customer_id"] == billed.customer(organisation)
    ]
    assert sorted(one["event_name"] for one in events) == sorted(plans.METERS.values())
    billed.server.advance(days=1)
    metering.report(billed.payments, organisation.id)
    assert len(billed.server.world.of_kind("billing.meter_event")) == 4


def _coupon_race(billed: Billed) -> int:
    """Let ten ask for one coupon at once; return how many were let through to the provider."""
    organisation = billed.subscribed()
    code = f"C{organisation.tenant}"
    billed.client.v1.coupons.create({"id": code, "percent_off": 10, "duration": "forever"})
    barrier = threading.Barrier(10)

    def ask(_: int) -> bool:
        with billed.parts.database.scope():
            barrier.wait()
            try:
                services.use_coupon(billed.payments, OWNER, organisation, code)
            except CouponUsed:
                return False
            except PaymentsAway:  # it took the same key for another call
                return True
            return True

    with ThreadPoolExecutor(10) as pool:
        return sum(pool.map(ask, range(10)))


def test_a_coupon_is_used_once_however_many_ask(billed: Billed) -> None:
    assert _coupon_race(billed) == 1


def test_a_coupon_that_nobody_notes_would_be_seen(billed: Billed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirror, "take_coupon", lambda *_: True)
    assert _coupon_race(billed) > 1


class CommitLost(Exception):
    """Postgres went away after the provider had taken it."""


def _coupon_whose_commit_is_lost(billed: Billed, monkeypatch: pytest.MonkeyPatch) -> tuple[Organisation, str]:
    """A coupon that counts at the provider, and of which nothing was written here; events of it are held back."""
    organisation = billed.subscribed()
    assert billed.server.webhooks is not None
    billed.server.webhooks.hold()
    code = f"L{organisation.tenant}"
    billed.client.v1.coupons.create({"id": code, "percent_off": 10, "duration": "forever"})

    def lost(*_: object, **__: object) -> None:
        raise CommitLost

    with monkeypatch.context() as patch:
        patch.setattr(services, "record", lost)
        with pytest.raises(CommitLost):
            services.use_coupon(billed.payments, OWNER, organisation, code)
    session().rollback()
    assert used(organisation) == []
    return organisation, code


def used(organisation: Organisation) -> list[str]:
    session().expire_all()
    return list(session().scalars(select(UsedCoupon.coupon).where(UsedCoupon.organisation_id == organisation.id)))


def logged(organisation: Organisation, code: str) -> int:
    wanted = select(AuditEvent).where(AuditEvent.organisation_id == organisation.id, AuditEvent.target == code)
    return len(session().scalars(wanted.where(AuditEvent.what == "billing.coupon_used")).all())


@pytest.mark.parametrize("by", ["event", "comparison"])
def test_a_coupon_whose_commit_was_lost_is_noted_with_what_is_fetched_next(
    billed: Billed, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    organisation, code = _coupon_whose_commit_is_lost(billed, monkeypatch)
    assert billed.server.webhooks is not None
    billed.server.webhooks.release(None if by == "event" else [])
    for _ in range(2):
        if by == "comparison":
            billed.waiting.append(("billing.reconcile", {"organisation_id": str(organisation.id)}))
        billed.settle()
        assert used(organisation) == [code]
        assert logged(organisation, code) == 1
    with pytest.raises(CouponUsed):
        services.use_coupon(billed.payments, OWNER, organisation, code)
    [found] = billed.server.world.of_kind("subscription", customer=billed.customer(organisation))
    assert len(found["discounts"]) == 1


def test_control_a_lost_coupon_that_nobody_notes_is_asked_for_again(
    billed: Billed, monkeypatch: pytest.MonkeyPatch
) -> None:
    organisation, code = _coupon_whose_commit_is_lost(billed, monkeypatch)
    monkeypatch.setattr(mirror, "_note_coupons", lambda *_: None)
    assert billed.server.webhooks is not None
    billed.server.webhooks.release()
    billed.settle()
    asked = len(billed.server.calls)
    with pytest.raises(PaymentsAway):  # the key of the first call keeps the provider from taking it twice, for a day
        services.use_coupon(billed.payments, OWNER, organisation, code)
    assert len(billed.server.calls) > asked


def test_tax_numbers_come_and_go(billed: Billed) -> None:
    organisation = billed.subscribed()
    services.add_tax_id(billed.payments, OWNER, organisation, "eu_vat", "DE123456789")
    [found] = billed.server.world.of_kind("tax_id", customer=billed.customer(organisation))
    services.remove_tax_id(billed.payments, OWNER, organisation, found["id"])
    assert not billed.server.world.of_kind("tax_id", customer=billed.customer(organisation))
    with pytest.raises(PaymentRefused):
        services.add_tax_id(billed.payments, OWNER, organisation, "eu_vat", "nonsense !")


def test_a_plan_that_is_not_there_needs_no_subscription(billed: Billed) -> None:
    now = billed.now()
    entitled = derive(Facts(now + timedelta(days=1), None, []), now)
    assert (entitled.sending, entitled.read_only, entitled.closed) == (True, False, False)


def test_money_is_whole_and_of_one_currency() -> None:
    assert (Money(150, "eur") + Money(50, "eur")) * 2 == Money(400, "eur")
    assert Money(123456, "eur").shown("de") == "1.234,56\xa0€"
    assert Money(500, "jpy").shown("en") == "¥500"
    with pytest.raises(CurrencyMismatch):
        Money(1, "eur") + Money(1, "usd")
    with pytest.raises(TypeError):
        Money(1.5, "eur")  # type: ignore[arg-type]
