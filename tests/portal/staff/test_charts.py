"""Staff's charts: picture, table and CSV are what was measured; who is not of staff sees none of it."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import pytest
from flask import Flask

from mailcore.model.platform_tally import Measured, named
from mailcore.services import MailServices
from portal.accounts.models import Member
from portal.dashboards.charts import DAY
from portal.mail_plane import EXTENSION
from portal.permissions import Role
from portal.staff import charts
from portal.staff.charts import BY_DAY, CHARTS, SPANS, charts_of
from tests.portal.conftest import Browser, browser_of, cookie_of, make_organisation
from tests.portal.staff.test_grants import make_staff
from tests.portal.test_dashboards import DRAWN
from tests.portal.test_pages import faults, look, served

PATH: Final = "/staff/statistics"
GAUGES: Final = {
    named(Measured.HOLDS): 3,
    named(Measured.QUEUED, "portal"): 17,
    named(Measured.QUEUED_S, "portal"): 61,
    named(Measured.WORKERS): 2,
}


@dataclass
class Scene:
    """A platform that was measured in three hours, each time with ten more jobs done."""

    app: Flask
    mail: MailServices
    member: Member
    staff: Browser


@pytest.fixture
def scene(portal_app: Flask, mail_services: MailServices) -> Iterator[Scene]:
    mail_services.placement.directory.database["rollups"].delete_many({})
    with portal_app.extensions[EXTENSION].database.scope():
        for back, done in ((2, 100), (1, 110), (0, 120)):
            counters = {f"{named(Measured.JOBS_DONE)}:w": done, f"{named(Measured.JOBS_FAILED)}:w": 5}
            mail_services.platform_tallies.measure(datetime.now(UTC) - timedelta(hours=back), GAUGES, counters)
        member = make_staff(mail_services)
        yield Scene(portal_app, mail_services, member, browser_of(portal_app, member))
    mail_services.placement.directory.database["rollups"].delete_many({})


def of_csv(browser: Browser, chart: str, days: int) -> dict[str, list[int]]:
    """Column -> the numbers that are there."""
    answer = browser.get(f"{PATH}/export.csv?chart={chart}&days={days}")
    assert (answer.status_code, answer.mimetype) == (200, "text/csv")
    rows = list(csv.reader(io.StringIO(answer.text)))
    assert len(rows) == 1 + (days if days > min(SPANS) or chart in BY_DAY else 24 * days)
    return {name: [int(row[at + 1]) for row in rows[1:] if row[at + 1]] for at, name in enumerate(rows[0][1:])}


def agree(scene: Scene) -> None:
    """CSV and what is drawn are what was measured, by hour as by day."""
    for days in (2, 30):
        drawn = scene.staff.get(f"{PATH}/data.json?days={days}").get_json()
        assert list(drawn) == sorted(CHARTS)
        for name in CHARTS:
            told = of_csv(scene.staff, name, days)
            lines = [[number for number in line if number is not None] for line in drawn[name]["lines"]]
            assert list(told.values()) == lines
        assert sum(of_csv(scene.staff, "jobs", days)["done"]) == 20
        assert sum(of_csv(scene.staff, "jobs", days)["failed"]) == 0
        assert max(of_csv(scene.staff, "jobs-waiting", days)["portal"]) == 17
        assert max(of_csv(scene.staff, "jobs-age", days)["portal"]) == 61
        assert max(of_csv(scene.staff, "workers", days)["alive"]) == 2
        users = scene.mail.placement.directory.users.counts_of_shards()
        assert of_csv(scene.staff, "shards-users", days)["a"][-1] == users.get("a", 0)
        assert of_csv(scene.staff, "shards-ssd", days)["a"][-1] > 0


def test_csv_is_what_is_drawn_and_both_are_what_was_measured(scene: Scene) -> None:
    agree(scene)


def test_control_a_line_of_something_else_is_seen(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    real = charts._lines
    monkeypatch.setattr(charts, "_lines", lambda _what, sums: real(Measured.QUEUED_S, sums))
    with pytest.raises((AssertionError, KeyError)):
        agree(scene)


def test_an_hour_in_which_nobody_measured_is_a_gap_and_rates_are_of_what_was_sent(scene: Scene) -> None:
    counts = {named(Measured.SENT): 95, named(Measured.FAILED): 5, named(Measured.COMPLAINED): 0}
    rates = CHARTS["abuse-rates"]
    assert isinstance(rates, charts.Whole)
    assert [one.of(counts) for one in rates.series] == [50, 0]
    assert [one.of({}) for one in rates.series] == [None, None]
    found = {one.name: one for one in charts_of(scene.mail, 2, datetime.now(UTC) + timedelta(hours=10))}
    rows = found["workers"].rows
    assert rows[-1] == [None]
    assert [2] in rows
    assert found["abuse-mail"].step == DAY


def test_tables_are_there_without_javascript_and_spans_are_those_on_offer(scene: Scene) -> None:
    page = scene.staff.get(PATH).text
    assert page.count('data-label="Done">10<') == 2
    assert "Nothing measured yet" not in page
    for days in ("7", "x", "100000"):
        assert scene.staff.get(f"{PATH}?days={days}").status_code == 200
    assert scene.staff.get(f"{PATH}/export.csv?chart=none").status_code == 404


def test_before_the_first_measurement_the_page_says_what_to_look_at(scene: Scene) -> None:
    scene.mail.placement.directory.database["rollups"].delete_many({})
    assert "Nothing measured yet" in scene.staff.get(PATH).text


def test_nobody_else_sees_them(scene: Scene) -> None:
    made = make_organisation(scene.mail)
    for role in (Role.OWNER, Role.AUDITOR):
        browser = browser_of(scene.app, made.members[role])
        for path in (PATH, f"{PATH}/data.json", f"{PATH}/export.csv"):
            assert browser.get(path).status_code == 403


@pytest.mark.timeout(200)
def test_chromium_draws_them_and_axe_finds_nothing(scene: Scene) -> None:
    with served(scene.app) as base:
        found = look(base, None, [PATH], ask=DRAWN, cookie=cookie_of(scene.staff))
    assert faults(found) == []
    answers = [one["answer"] for one in found]
    assert all({"jobs", "workers", "jobs-waiting"} <= set(each) for each in answers), answers
