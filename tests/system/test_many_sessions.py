"""Promises P4, P5 and P6: many sessions change the same mailboxes through several processes, and all agree.

Every response is checked as it comes (`tracked_session`), every view against the truth at the end (`players`).
A run in which the sessions hardly met each other proves nothing and is refused.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from mailcore.services import MailServices
from tests.builders import make_user
from tests.system import altered_server
from tests.system.play import Report, play
from tests.system.servers import RunningServer, environment_of, start

SEED = os.environ.get("EIDER_SEED") or secrets.token_hex(4)


@contextmanager
def processes(environment: dict[str, str], folder: Path) -> Iterator[list[RunningServer]]:
    """Two IMAP processes behind one port."""
    environment = dict(environment)
    with ExitStack() as stack:
        first = stack.enter_context(start(["imap"], environment, folder))
        environment["EIDER_IMAP_LISTEN"] = f"127.0.0.1:{first.port('imap')}"
        yield [first, stack.enter_context(start(["imap"], environment, folder))]


@pytest.fixture
def environment(services: MailServices, directory_uri: str, redis_url: str) -> dict[str, str]:
    return environment_of(directory_uri, redis_url, ["imap"])


@pytest.fixture(scope="module")
def servers(
    services: MailServices, directory_uri: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Sequence[RunningServer]]:
    environment = environment_of(directory_uri, redis_url, ["imap"])
    with processes(environment, tmp_path_factory.mktemp("many")) as running:
        yield running


def check(report: Report, *, operations: int, sessions: int) -> None:
    """No fault, and a run that is worth something."""
    print(report)
    assert not report.faults, report
    counts = report.counts
    assert counts["operations"] >= operations, report
    assert counts["removals told"] >= sessions, report
    wanted = ["move", "copy", "expunge", "labels", "messages left", "full syncs"]
    if sessions > 2:
        wanted += ["EXPUNGEISSUED", "NONEXISTENT", "ALREADYEXISTS", "resyncs"]
    assert not [name for name in wanted if not counts[name]], report


@pytest.mark.parametrize(("sessions", "operations"), [(2, 300), (10, 150)])
def test_views_of_many_sessions_converge(
    servers: Sequence[RunningServer], services: MailServices, sessions: int, operations: int
) -> None:
    report = play(servers, make_user(services), seed=SEED, sessions=sessions, operations=operations)
    check(report, operations=int(operations * sessions * 0.6), sessions=sessions)


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_fifty_sessions_for_a_minute(servers: Sequence[RunningServer], services: MailServices) -> None:
    report = play(servers, make_user(services), seed=SEED, sessions=50, seconds=60)
    check(report, operations=2000, sessions=50)


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_full_sync_is_incremental_sync_after_ten_thousand_operations(
    servers: Sequence[RunningServer], services: MailServices
) -> None:
    report = play(servers, make_user(services), seed=SEED, sessions=10, operations=1300)
    check(report, operations=10_000, sessions=10)


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("expunge-anywhere", "EXPUNGE during"),
        ("deaf", "was never told"),
        ("numbers-unshifted", "now is"),
        ("silent-flags", "flags"),
        ("nothing-vanished", "by increments"),
    ],
)
def test_broken_server_would_be_seen(
    environment: dict[str, str], services: MailServices, tmp_path: Path, name: str, complaint: str
) -> None:
    """Negative controls; one process will do."""
    with start(["imap"], environment, tmp_path, launcher=(*altered_server.LAUNCH, name)) as server:
        report = play([server], make_user(services), seed=SEED, sessions=8, operations=120, converge_s=0.5)
    assert any(complaint in fault for fault in report.faults), report
