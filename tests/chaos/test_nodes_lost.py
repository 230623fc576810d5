"""One of three nodes killed or frozen, two killed: what was acknowledged stays, clients go on."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from imaplib import IMAP4
from pathlib import Path

import pytest
from pymongo import MongoClient
from pymongo.errors import PyMongoError

from infra.devstack.stack import Stack
from tests.chaos.invariants import check_ledger, longest_gap_s
from tests.chaos.load import Load
from tests.chaos.rig import Rig, under_load
from tests.waiting import wait_until

ATTEMPTS = 5


@pytest.fixture
def three_nodes(new_stack: Callable[..., Stack], tmp_path: Path) -> Iterator[Rig]:
    """Directory and shard A on a set of three nodes; shard B on one of its own."""
    with Rig(new_stack(nodes=3, databases=("main", "b-hot", "redis")), tmp_path) as rig:
        yield rig


def finish(rig: Rig) -> None:
    """Check everything on the quiet system, by processes that saw the fault."""
    counted = check_ledger("127.0.0.1", rig.ports("imap")[0], rig.logins, rig.ledger, rig.load)
    assert counted["acked"] >= 50, counted
    assert not rig.tracebacks(), rig.tracebacks()[:2]


def lose_primary(rig: Rig, load: Load) -> float:
    """Kill the primary, go on, bring it back, go on; return the longest time without a delivery."""
    began = time.monotonic()
    before = rig.stack.primary()
    rig.stack.kill(before)
    load.wait_acked(30)
    assert rig.stack.primary() != before
    rig.stack.restart(before)
    load.wait_acked(30)
    return longest_gap_s(load, "a", began, time.monotonic())


def check_no_refusal_for_good(load: Load) -> None:
    """RFC 5321 §4.2.5: who is told 5yz gives the message back to its author."""
    assert not any(code.split("/")[-1].startswith("5") for code in load.answers), load.answers


@pytest.mark.timeout(180)
def test_killed_primary_loses_nothing_and_others_go_on(three_nodes: Rig) -> None:
    """Promises P1 and P12, fault F1: election takes about 2 s; LMTP answers 451 meanwhile, never 5yz."""
    with under_load(three_nodes) as load:
        gap = lose_primary(three_nodes, load)
    check_no_refusal_for_good(load)
    assert gap < 30, gap
    finish(three_nodes)


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_primary_killed_five_times_loses_nothing(three_nodes: Rig) -> None:
    """Promises P1 and P12, fault F1, five rounds; each elects another primary."""
    with under_load(three_nodes) as load:
        gaps = [lose_primary(three_nodes, load) for _ in range(5)]
    print("longest gaps in seconds:", [round(gap, 1) for gap in gaps])
    check_no_refusal_for_good(load)
    finish(three_nodes)


def leave_alone(stack: Stack, load: Load) -> tuple[str, list[str]]:
    """Kill both followers and see deliveries acknowledged before the primary gives up, again if it was too soon."""
    for _ in range(ATTEMPTS):
        primary = stack.primary()
        followers = [name for name in stack.pids if name.startswith("main-") and name != primary]
        for name in followers:
            stack.kill(name)
        with contextlib.suppress(AssertionError):
            load.wait_answered("lmtp/a/250", 5, timeout_s=5)
            return primary, followers
        stack.restart(*followers)
    raise AssertionError("the primary always stepped down too soon")


@pytest.mark.timeout(180)
def test_writes_acknowledged_by_one_node_alone_would_be_missed(new_stack: Callable[..., Stack], tmp_path: Path) -> None:
    """Negative control of P1, F1, F2 and F5: with w:1 the same ledger finds what was acknowledged and lost."""
    stack = new_stack(nodes=3, databases=("main", "b-hot", "redis"))
    with Rig(stack, tmp_path, faults={"lmtp": "acknowledged-alone"}) as rig:
        with under_load(rig) as load:
            primary, followers = leave_alone(stack, load)
            stack.kill(primary)
            for name in followers:
                stack.processes[name].start()
            stack_primary_among(stack, followers)
            load.wait_acked(10)
            stack.restart(primary)
        # what is lost shows first by its absence, by a counter that fell, or by a row without its message
        lost = r"copies of an acked|fell from|is another message|disagree|are gone"
        with pytest.raises((AssertionError, IMAP4.error), match=lost):
            finish(rig)


@pytest.mark.timeout(240)
def test_frozen_primary_is_replaced_and_its_late_writes_do_not_appear(three_nodes: Rig) -> None:
    """Promise P1, fault F2, a gray failure: the node still has its connections and answers nothing."""
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
    """Promises P1 and P12, fault F5: 451 and NO [UNAVAILABLE] without a majority; no hand is needed afterwards."""
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


def stack_primary_among(stack: Stack, names: list[str]) -> str:
    """Wait until one of `names` takes writes: a frozen primary still believes in itself."""
    ports = {process.name: port for process, port in stack.sets["main"].members if process.name in names}
    return wait_until(
        lambda: next((name for name, port in ports.items() if is_primary(port)), ""), 60, lambda: "no new primary"
    )


def is_primary(port: int) -> bool:
    """Ask one node, which may still be starting."""
    try:
        with MongoClient[dict[str, object]](
            "127.0.0.1", port, directConnection=True, serverSelectionTimeoutMS=500, socketTimeoutMS=2000
        ) as client:
            return bool(client.admin.command("hello").get("isWritablePrimary"))
    except PyMongoError:
        return False
