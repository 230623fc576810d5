"""Charts: picture, table and CSV are what happened, and the organisation's own alone."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
from flask import Flask

from mailcore.errors import AddressNotFound, AuthenticationFailed
from mailcore.model.access import Protocol
from mailcore.model.secret import Secret
from mailcore.model.tally import Stored
from mailcore.services import MailServices
from mailcore.services.tenants.rollups import Rollups
from portal.access import SignedIn
from portal.billing.models import Subscription
from portal.billing.money import Money
from portal.billing.plans import BY_KEY, GIB, PLANS
from portal.dashboards import charts
from portal.dashboards.charts import NAMES, USUAL, of_stored
from portal.dashboards.storage import choices, cost_of_month
from portal.database import unit_of_work
from portal.mail_plane import EXTENSION
from portal.permissions import Permission, Role, allows
from tests.builders import OPERATOR, PASSWORD, MadeUser, make_user
from tests.portal.conftest import Browser, MadeOrganisation, browser_of, make_organisation
from tests.portal.test_pages import faults, look, served
from tests.store.test_delivery import deliver, message

NOW: Final = datetime(2026, 3, 4, tzinfo=UTC)
DRAWN: Final = """async () => {
  const shade = document.createElement("canvas").getContext("2d");
  shade.fillStyle = getComputedStyle(document.body).getPropertyValue("--accent");
  shade.fillRect(0, 0, 1, 1);
  const [red, green, blue] = shade.getImageData(0, 0, 1, 1).data;
  const hasLine = (canvas) => {
    const all = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
    for (let at = 0; at < all.length; at += 4)
      if (all[at] === red && all[at + 1] === green && all[at + 2] === blue && all[at + 3] === 255) return true;
    return false;
  };
  const until = Date.now() + 5000;
  for (;;) {
    const found = [...document.querySelectorAll("[data-chart] canvas")].filter(hasLine).map(
      (canvas) => canvas.closest("[data-chart]").dataset.chart);
    if (found.length >= 3 || Date.now() > until) return found;
    await new Promise(requestAnimationFrame);
  }
}"""
"""The charts on whose canvas the first line is, in its own colour."""


@dataclass
class Scene:
    """An organisation in which this happened: two messages came, one more to nobody, one sign-in and two wrong ones."""

    mail: MailServices
    made: MadeOrganisation
    user: MadeUser
    browser: Browser


@pytest.fixture
def scene(portal_app: Flask, mail_services: MailServices) -> Iterator[Scene]:
    with portal_app.extensions[EXTENSION].database.scope():
        made = make_organisation(mail_services, "Chart Makers")
        domain = f"c{made.organisation.tenant_id}.test"
        mail_services.domains.create(OPERATOR, made.organisation.tenant_id, domain)
        user = make_user(mail_services, tenant=(made.organisation.tenant_id, domain))
        happen(mail_services, user)
        yield Scene(mail_services, made, user, browser_of(portal_app, made.members[Role.AUDITOR]))


def happen(mail: MailServices, user: MadeUser) -> None:
    deliver(mail, message(os.urandom(40_000)), user)
    deliver(mail, message(b"two"), user)
    with pytest.raises(AddressNotFound):
        mail.delivery.resolve(f"nobody@{user.address.partition('@')[2]}")
    mail.authentication.login(user.address, Secret(user.password), Protocol.IMAP, "192.0.2.1")
    for _ in range(2):
        with pytest.raises(AuthenticationFailed):
            mail.authentication.login(user.address, Secret("wrong password"), Protocol.POP3, "192.0.2.1")
    mail.auth_log.flush()
    mail.tallies.flush()
    mail.rollups.sum_up(mail.placement.home(user.user_id).shard.name)
    mail.rollups.measure_tenant(user.tenant_id)


def of_csv(browser: Browser, chart: str) -> dict[str, list[int | None]]:
    """Column -> its numbers, by day."""
    response = browser.get(f"/statistics/export.csv?chart={chart}")
    assert (response.status_code, response.mimetype) == (200, "text/csv")
    rows = list(csv.DictReader(io.StringIO(response.get_data(as_text=True))))
    assert len(rows) == USUAL
    return {name: [int(row[name]) if row[name] else None for row in rows] for name in rows[0] if name != "day"}


def of_data(browser: Browser) -> dict[str, Any]:
    found: dict[str, Any] = browser.get("/statistics/data.json").get_json()
    return found


def agree(scene: Scene) -> None:
    """The CSV is what is drawn, and both are what happened."""
    drawn = of_data(scene.browser)
    assert list(NAMES) == [name for name in NAMES if name in drawn]
    told = {name: of_csv(scene.browser, name) for name in NAMES}
    for name in NAMES:
        assert list(told[name].values()) == drawn[name]["lines"]
        assert len(drawn[name]["days"]) == USUAL
    totals = {
        f"{name}:{column}": sum(numbers)
        for name in NAMES[:-1]
        for column, numbers in told[name].items()
        if any(numbers)
    }
    assert totals == {
        "incoming:delivered": scene.mail.mailboxes.open(scene.user.user_id, "INBOX").exists,
        "incoming:unknown": 1,
        "sign-ins:accepted": 1,
        "sign-ins:refused": 2,
    }
    tiers = scene.mail.pools.tiers(scene.user.tenant_id)
    stored = [[number for number in told["storage"][name] if number is not None] for name in ("ssd_bytes", "hdd_bytes")]
    assert stored == [[tiers.hot_bytes], [tiers.cold_bytes]]
    assert tiers.hot_bytes + tiers.cold_bytes > 40_000


def test_csv_is_what_is_drawn_and_both_are_what_happened(scene: Scene) -> None:
    agree(scene)


def test_control_a_line_that_counts_something_else_is_seen(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    real = charts._of_counts

    def swapped(name: str, *more: Any) -> Any:
        found = real(name, *more)
        for row in found.rows:
            row[0], row[2 if len(row) > 2 else 1] = row[2 if len(row) > 2 else 1], row[0]
        return found

    monkeypatch.setattr(charts, "_of_counts", swapped)
    with pytest.raises(AssertionError):
        agree(scene)


def test_the_table_has_the_same_numbers_and_the_days_with_nothing_are_left_out(scene: Scene) -> None:
    text = scene.browser.get("/statistics").get_data(as_text=True)
    assert 'data-label="Delivered">2<' in text
    assert 'data-label="Address unknown">1<' in text
    assert text.count('data-label="Delivered"') <= 2, "today, or two days at midnight"
    assert "Nothing to show yet" not in text
    for path in ("/statistics?days=7", "/statistics?days=x", "/statistics?days=100000"):
        assert scene.browser.get(path).status_code == 200
    assert scene.browser.get("/statistics/export.csv?chart=none").status_code == 404


def pays_by_use(scene: Scene) -> None:
    """Its plan charges storage by where it lies."""
    price_key = next(key for key, plan in BY_KEY.items() if plan.metered)
    at = datetime.now(UTC)
    with unit_of_work() as current:
        current.add(
            Subscription(
                id=f"sub_{scene.made.organisation.id.hex}",
                organisation_id=scene.made.organisation.id,
                status="active",
                currency="eur",
                price_key=price_key,
                item="si_1",
                quantity=1,
                discounts=[],
                period_start=at,
                period_end=at + timedelta(days=30),
                trial_end=None,
                cancel_at_period_end=False,
                started_at=at,
                ended_at=None,
            )
        )


def sees_costs(scene: Scene, portal_app: Flask, role: Role) -> bool:
    text = browser_of(portal_app, scene.made.members[role]).get("/statistics").get_data(as_text=True)
    assert "What if older attachments went to HDD?" in text
    assert "does not charge storage" not in text
    return "Cost of 30 days" in text or "That costs" in text


@pytest.mark.parametrize("role", [role for role in Role if allows(role, Permission.VIEW_DELIVERIES)])
def test_costs_are_seen_by_those_alone_who_may_see_bills(scene: Scene, portal_app: Flask, role: Role) -> None:
    pays_by_use(scene)
    assert sees_costs(scene, portal_app, role) is allows(role, Permission.VIEW_BILLING)


def test_control_a_role_that_may_see_bills_would_see_costs(
    scene: Scene, portal_app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    pays_by_use(scene)
    monkeypatch.setattr(SignedIn, "may", lambda *_: True)
    assert sees_costs(scene, portal_app, Role.HELPDESK)


def sees_others(scene: Scene, portal_app: Flask) -> bool:
    """Whether an organisation without anything sees something."""
    other = make_organisation(scene.mail, "Quiet")
    browser = browser_of(portal_app, other.members[Role.OWNER])
    numbers = [number for one in of_data(browser).values() for line in one["lines"] for number in line if number]
    is_empty = "Nothing to show yet" in browser.get("/statistics").get_data(as_text=True)
    assert is_empty is not bool(numbers)
    return bool(numbers)


def test_others_see_nothing_of_it_but_what_to_do_first(scene: Scene, portal_app: Flask) -> None:
    assert not sees_others(scene, portal_app)


def test_control_sums_of_another_tenant_are_seen(
    scene: Scene, portal_app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    def of_this(real: Callable[..., Any]) -> Callable[..., Any]:
        return lambda self, _tenant_id, since: real(self, scene.user.tenant_id, since)

    for name in ("days", "stored"):
        monkeypatch.setattr(Rollups, name, of_this(getattr(Rollups, name)))
    assert sees_others(scene, portal_app)


@pytest.mark.timeout(200)
def test_chromium_draws_every_chart_with_numbers_and_axe_finds_nothing(scene: Scene, portal_app: Flask) -> None:
    with served(portal_app) as base:
        who = (scene.made.members[Role.AUDITOR].email, PASSWORD)
        found = look(base, who, ["/statistics"], ask=DRAWN)
    assert faults(found) == []
    assert [one["answer"] for one in found] == [["incoming", "sign-ins", "storage"]] * 2


@pytest.mark.timeout(200)
def test_control_without_numbers_nothing_is_drawn(
    scene: Scene, portal_app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(portal_app.view_functions, "dashboards.data", dict)
    with served(portal_app) as base:
        found = look(base, (scene.made.members[Role.AUDITOR].email, PASSWORD), ["/statistics"], ask=DRAWN)
    assert [one["answer"] for one in found] == [[], []]


def test_a_day_that_nobody_measured_is_a_gap() -> None:
    stored = [Stored(NOW, 5, 7, (), NOW)]
    assert of_stored(stored, [NOW - timedelta(days=1), NOW]).rows == [[None, None], [5, 7]]


def test_what_if_moves_what_is_older_and_costs_what_the_plan_says() -> None:
    waiting = [0] * 36
    waiting[0], waiting[1], waiting[4], waiting[35] = 10 * GIB, 20 * GIB, 30 * GIB, 40 * GIB
    stored = Stored(NOW, 150 * GIB, 50 * GIB, tuple(waiting), NOW)
    found = choices(PLANS["pool"], stored)
    assert [(one.days, one.moved_bytes // GIB) for one in found] == [
        (30, 90), (90, 70), (180, 40), (360, 40), (720, 40),
    ]  # fmt: skip
    assert all(one.ssd_bytes + one.hdd_bytes == 200 * GIB for one in found)
    now = cost_of_month(PLANS["pool"], stored.hot_bytes, stored.cold_bytes)
    assert now == Money(round(150 * 30 * 0.4 + 50 * 30 * 0.1), "eur")
    assert found[0].cost == Money(round(60 * 30 * 0.4 + 140 * 30 * 0.1), "eur")
    assert [one.cost for one in choices(PLANS["team"], stored)] == [None] * 5
