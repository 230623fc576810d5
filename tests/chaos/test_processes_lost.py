"""Server processes killed at every named step of a delivery, restarted, and drained under load (P1, P13, F11)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from infra.devstack.mongo import drop_databases
from infra.devstack.stack import PLACES, Stack
from mailcore.model.actor import SYSTEM
from tests.chaos.invariants import check_ledger
from tests.chaos.rig import Rig, under_load

POINTS = (
    "delivery.after_message",
    "commit.before_push",
    "commit.after_push",
    "delivery.before_reply",
    "fold.after_consequences",
    "fold.after_segments",
    "fold.after_swap",
)


@pytest.fixture(scope="module")
def one_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One mongod for both shards, and Redis: these tests hurt server processes only."""
    stack = Stack(tmp_path_factory.mktemp("chaos") / "stack", databases=("main", "redis"), durable=False)
    stack.start()
    yield stack
    stack.discard()


@pytest.fixture
def stack(one_stack: Stack) -> Iterator[Stack]:
    """The stack, emptied afterwards."""
    yield one_stack
    drop_databases(one_stack.directory_uri, [f"eider_{name}" for name in PLACES])
    with redis.Redis.from_url(one_stack.redis_url) as client:
        client.flushall()


@pytest.mark.timeout(240)
@pytest.mark.parametrize("point", POINTS)
def test_killed_at_step_keeps_every_acknowledged_message_once(stack: Stack, tmp_path: Path, point: str) -> None:
    """Promises P1 and P3, fault F11: the MTA retries under the same queue id; each mailbox has one copy of each."""
    pass_number = 1 if point.startswith("fold") else 7
    with Rig(stack, tmp_path, imap_processes=1, faults={"lmtp": f"{point}:{pass_number}"}) as rig:
        with under_load(rig, readers=1, warm=0) as load:
            deaths = 0
            for server in [server for server in rig.servers.values() if server.name.startswith("lmtp")]:
                assert server.process is not None
                assert server.process.wait(60) == -9, "the fault point was not passed"
                deaths += 1
                server.disarm()
                server.start()
            load.wait_acked(20)
        assert deaths == 2
        counted = check_ledger("127.0.0.1", rig.ports("imap")[0], rig.logins, rig.ledger, load)
        assert counted["acked"] >= 20
        assert not rig.tracebacks(), rig.tracebacks()[:2]
        for login in rig.logins:
            user_id = rig.services.addresses.get(login.address).user_id
            report = rig.services.fsck.run(SYSTEM, user_id, repair=False, deep=True)
            assert not report.found, report


@pytest.mark.timeout(240)
def test_rolling_restart_under_load_answers_421_or_finishes(stack: Stack, tmp_path: Path) -> None:
    """Promise P13: SIGTERM lets a DATA in progress end or answers 421; nothing acknowledged is lost (RFC 5321 §3.8)."""
    with Rig(stack, tmp_path) as rig:
        with under_load(rig) as load:
            for server in rig.servers.values():
                assert server.terminate() == 0, server.name
                server.start()
                load.wait_acked(10)
        assert not any(code.split("/")[-1].startswith("5") for code in load.answers), load.answers
        counted = check_ledger("127.0.0.1", rig.ports("imap")[0], rig.logins, rig.ledger, load)
        assert counted["acked"] >= 60
        assert not rig.tracebacks(), rig.tracebacks()[:2]


@pytest.mark.timeout(240)
def test_killed_processes_are_replaced_by_others(stack: Stack, tmp_path: Path) -> None:
    """Promise P1: any process serves any user; with one of two killed, its clients go on at the other."""
    with Rig(stack, tmp_path) as rig:
        with under_load(rig) as load:
            for name in ("lmtp-0", "imap-0"):
                rig.servers[name].kill()
            load.wait_acked(40)
            for name in ("lmtp-0", "imap-0"):
                rig.servers[name].start()
            load.wait_acked(20)
        counted = check_ledger("127.0.0.1", rig.ports("imap")[0], rig.logins, rig.ledger, load)
        assert counted["acked"] >= 80
