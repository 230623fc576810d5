"""The watchdog sees a loop that stands still, and says where."""

from __future__ import annotations

import logging

import gevent
import pytest
from gevent import monkey

from mailcore.net.watchdog import BLOCKED_S, Watchdog
from tests.unit.net.echo import until


def hold_everything_up() -> None:
    monkey.get_original("time", "sleep")(BLOCKED_S * 2.5)


def test_blocked_loop_is_reported_once_with_its_stack(caplog: pytest.LogCaptureFixture) -> None:
    watchdog = Watchdog()
    gevent.sleep(BLOCKED_S / 2)
    hold_everything_up()
    until(lambda: "loop.blocked" in caplog.text)
    gevent.sleep(BLOCKED_S)
    watchdog.stop()
    reports = [record for record in caplog.records if record.message == "loop.blocked"]
    assert len(reports) == 1
    assert reports[0].levelno == logging.WARNING
    assert "hold_everything_up" in "".join(reports[0].__dict__["stack"])
