"""Promise P11: a dead shard stops its own users only; a dead or full cold set stops nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from infra.devstack.stack import Stack
from tests.chaos.invariants import check_ledger
from tests.chaos.rig import Rig, under_load


@pytest.fixture
def two_shards(new_stack: Callable[..., Stack], tmp_path: Path) -> Iterator[Rig]:
    """Directory and shard A on one node, shard B on another, each with a cold set of its own."""
    with Rig(new_stack(databases=("main", "a-cold", "b-hot", "b-cold", "redis")), tmp_path) as rig:
        yield rig


@pytest.mark.timeout(180)
@pytest.mark.parametrize("how", ["kill", "pause"])
def test_shard_b_away_is_not_noticed_on_shard_a(two_shards: Rig, how: str) -> None:
    """Promise P11: killed or stopped (SIGSTOP), B answers nobody; what A's users ask is all answered OK, counted."""
    stack = two_shards.stack
    with under_load(two_shards) as load:
        getattr(stack, how)("b-hot")
        load.wait_answered("lmtp/b/4", 2)
        load.wait_acked(60)
        load.wait_answered("imap/a/OK", 20)
        answers = dict(load.answers)
        if how == "kill":
            stack.restart("b-hot")
        else:
            stack.resume("b-hot")
        recovered = time.monotonic()
        load.wait_answered("lmtp/b/250", 10)
        load.wait_answered("imap/b/OK", 3)
        assert time.monotonic() - recovered < 60
    on_a = {key for key in answers if "/a/" in key}
    assert on_a == {"lmtp/a/250", "imap/a/OK"}, on_a
    counted = check_ledger("127.0.0.1", two_shards.ports("imap")[0], two_shards.logins, two_shards.ledger, load)
    assert counted["acked"] >= 90
    assert not two_shards.tracebacks(), two_shards.tracebacks()[:2]


@pytest.mark.timeout(240)
def test_request_of_shard_a_that_waits_on_shard_b_would_be_seen(
    new_stack: Callable[..., Stack], tmp_path: Path
) -> None:
    """Negative control: were every shard asked for every user, A's users would be told to come again too."""
    stack = new_stack(databases=("main", "b-hot", "redis"))
    with (
        Rig(stack, tmp_path, users_per_shard=1, imap_processes=1, faults={"lmtp": "every-shard"}) as rig,
        under_load(rig, readers=1, warm=5) as load,
    ):
        stack.pause("b-hot")
        load.wait_answered("lmtp/a/4", 1)
        stack.resume("b-hot")
        load.wait_acked(5)
