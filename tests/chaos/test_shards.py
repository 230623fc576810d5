"""A dead shard stops its own users only; a dead or full cold set stops nothing."""

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
    """Commands of shard A's users are all answered OK while those of shard B are told to come again."""
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
    assert counted["acked"] > 80
    assert not two_shards.tracebacks(), two_shards.tracebacks()[:2]
