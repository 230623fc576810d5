"""Fault F8: Redis killed, started empty, frozen, or full: it holds what may be lost, so mail flows (promise P1)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import redis

from infra.devstack.stack import Stack
from tests.chaos.invariants import check_ledger
from tests.chaos.rig import Rig, under_load


def kill(stack: Stack) -> None:
    stack.kill("redis")


def start_empty(stack: Stack) -> None:
    stack.restart("redis")
    with redis.Redis.from_url(stack.redis_url) as client:
        client.flushall()


def freeze(stack: Stack) -> None:
    stack.pause("redis")


def thaw(stack: Stack) -> None:
    stack.resume("redis")


def fill(stack: Stack) -> None:
    """Every command that would need memory is refused from now on."""
    with redis.Redis.from_url(stack.redis_url) as client:
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", 1)
        with pytest.raises(redis.exceptions.OutOfMemoryError):
            client.set("one more", "x")


def make_room(stack: Stack) -> None:
    with redis.Redis.from_url(stack.redis_url) as client:
        client.config_set("maxmemory", 0)


@pytest.mark.timeout(180)
@pytest.mark.parametrize(("hurt", "heal"), [(kill, start_empty), (freeze, thaw), (fill, make_room)])
def test_redis_that_is_lost_stops_no_mail(
    new_stack: Callable[..., Stack], tmp_path: Path, hurt: Callable[[Stack], None], heal: Callable[[Stack], None]
) -> None:
    """Deliveries and readers go on, new sign-ins included, and none of them is told to come again."""
    stack = new_stack(databases=("main", "redis"))
    with Rig(stack, tmp_path, users_per_shard=2) as rig:
        with under_load(rig, warm=10) as load:
            hurt(stack)
            load.wait_acked(30)
            load.wait_answered("imap/a/OK", 10)
            with rig.reader(rig.on("a")[0]) as client:
                assert client.select_folder("INBOX")[b"EXISTS"] > 0
            heal(stack)
            load.wait_acked(20)
        assert set(load.answers) == {"lmtp/a/250", "lmtp/b/250", "imap/a/OK", "imap/b/OK"}, load.answers
        counted = check_ledger("127.0.0.1", rig.ports("imap")[0], rig.logins, rig.ledger, load)
        assert counted["acked"] >= 60
        assert not rig.tracebacks(), rig.tracebacks()[:2]


@pytest.mark.timeout(240)
def test_mail_that_needs_redis_would_be_seen(new_stack: Callable[..., Stack], tmp_path: Path) -> None:
    """Negative control: a delivery that insists on telling others by Redis is refused without it."""
    stack = new_stack(databases=("main", "redis"))
    with (
        Rig(stack, tmp_path, users_per_shard=1, imap_processes=1, faults={"lmtp": "redis-needed"}) as rig,
        under_load(rig, readers=1, warm=5) as load,
    ):
        kill(stack)
        load.wait_answered("lmtp/a/4", 1)
        stack.restart("redis")
        load.wait_acked(5)
