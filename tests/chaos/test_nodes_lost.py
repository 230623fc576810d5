"""One of three nodes killed or frozen, two killed, Redis away: what was acknowledged stays, clients go on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pymongo import MongoClient
from pymongo.errors import PyMongoError

from infra.devstack.stack import Stack
from tests.chaos.invariants import check_ledger, longest_gap_s
from tests.chaos.rig import Rig, under_load


@pytest.fixture
def three_nodes(new_stack: Callable[..., Stack], tmp_path: Path) -> Iterator[Rig]:
    """Directory and shard A on a set of three nodes; shard B on one of its own."""
    with Rig(new_stack(nodes=3, databases=("main", "b-hot", "redis")), tmp_path) as rig:
        yield rig


def finish(rig: Rig) -> None:
    """Check everything on the quiet system, by processes that saw the fault."""
    counted = check_ledger("127.0.0.1", rig.ports("imap")[0], rig.logins, rig.ledger, rig.load)
    assert counted["acked"] > 50, counted
    assert not rig.tracebacks(), rig.tracebacks()[:2]


@pytest.mark.timeout(180)
def test_killed_primary_loses_nothing_and_others_go_on(three_nodes: Rig) -> None:
    """Election takes about 2 s; LMTP answers 451 meanwhile, never 5yz (RFC 5321 §4.2.5)."""
    with under_load(three_nodes) as load:
        began = time.monotonic()
        before = three_nodes.stack.primary()
        three_nodes.stack.kill(before)
        load.wait_acked(30)
        assert three_nodes.stack.primary() != before
        three_nodes.stack.restart(before)
        load.wait_acked(30)
        gap = longest_gap_s(load, "a", began, time.monotonic())
    assert not any(code.split("/")[-1].startswith("5") for code in load.answers), load.answers
    assert gap < 30, gap
    finish(three_nodes)


@pytest.mark.timeout(240)
def test_frozen_primary_is_replaced_and_its_late_writes_do_not_appear(three_nodes: Rig) -> None:
    """A gray failure: the node still has its connections and answers nothing."""
    stack = three_nodes.stack
    with under_load(three_nodes) as load:
        before = stack.primary()
        stack.pause(before)
        others = [name for name in stack.pids if name.startswith("main-") and name != before]
        stack_primary_among(stack, others)
        load.wait_acked(30)
        stack.resume(before)
        load.wait_acked(30)
    finish(three_nodes)


@pytest.mark.timeout(240)
def test_two_nodes_down_refuse_for_now_and_recover_by_themselves(three_nodes: Rig) -> None:
    """Without a majority nothing is acknowledged: 451 and NO [UNAVAILABLE]; no hand is needed afterwards."""
    stack = three_nodes.stack
    with under_load(three_nodes) as load:
        primary = stack.primary()
        followers = [name for name in stack.pids if name.startswith("main-") and name != primary]
        for name in followers:
            stack.kill(name)
        load.wait_answered("lmtp/a/451", 3)
        load.wait_answered("imap/a/UNAVAILABLE", 1)
        stack.restart(*followers)
        load.wait_acked(30)
    finish(three_nodes)


@pytest.mark.timeout(180)
def test_redis_killed_and_empty_again_stops_no_mail(three_nodes: Rig) -> None:
    """Redis holds only what may be lost; mail flows without it."""
    with under_load(three_nodes) as load:
        three_nodes.stack.kill("redis")
        load.wait_acked(40)
        three_nodes.stack.restart("redis")
        load.wait_acked(40)
    assert not any("451" in code for code in load.answers), load.answers
    finish(three_nodes)


def stack_primary_among(stack: Stack, names: list[str]) -> str:
    """Wait until one of `names` takes writes: a frozen primary still believes in itself."""
    ports = {process.name: port for process, port in stack.sets["main"].members if process.name in names}
    until = time.monotonic() + 60
    while time.monotonic() < until:
        for name, port in ports.items():
            if is_primary(port):
                return name
        time.sleep(0.05)
    raise AssertionError("no new primary")


def is_primary(port: int) -> bool:
    """Ask one node, which may still be starting."""
    try:
        with MongoClient[dict[str, object]](
            "127.0.0.1", port, directConnection=True, serverSelectionTimeoutMS=500, socketTimeoutMS=2000
        ) as client:
            return bool(client.admin.command("hello").get("isWritablePrimary"))
    except PyMongoError:
        return False
