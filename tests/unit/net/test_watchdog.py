"""The watchdog sees a loop that stands still, and says where."""

from __future__ import annotations

import logging
import subprocess
import sys

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
    ours = [record for record in reports if "hold_everything_up" in "".join(record.__dict__["stack"])]
    assert len(ours) == 1, "a busy machine may hold everything up once more, elsewhere"
    assert ours[0].levelno == logging.WARNING


def test_a_loop_at_rest_is_not_reported_and_not_woken() -> None:
    """In a process of its own, for other tests may have left something on the loop."""
    program = (
        "import gevent; from mailcore.net.watchdog import BLOCKED_S, Watchdog; loop = gevent.get_hub().loop;"
        "watchdog = Watchdog(); gevent.sleep(0); before = loop.iteration; gevent.sleep(BLOCKED_S * 3);"
        "print(loop.iteration - before); watchdog.stop()"
    )
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert int(told.stdout) <= 3  # its own timer's; a heartbeat twice in BLOCKED_S would make it six
    assert "loop.blocked" not in told.stderr
