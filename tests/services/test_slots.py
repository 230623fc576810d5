"""Connections to one destination: counted by all relays together, alone without Redis, free again after a death."""

from __future__ import annotations

import time
from collections.abc import Callable

from mailcore.model.secret import Secret
from mailcore.services.outbound.slots import HELD_S, Slots
from mailcore.services.process.redis_link import RedisLink


def made(redis_url: str | None, clock: Callable[[], float] = time.time) -> Slots:
    return Slots(RedisLink(None if redis_url is None else Secret(redis_url)), 8, clock)


def test_processes_share_the_limit(redis_url: str) -> None:
    one, other = made(redis_url), made(redis_url)
    tokens = [slots.take("shared.test") for slots in (one, other) for _ in range(4)]
    assert all(tokens)
    assert one.take("shared.test") is None
    assert other.take("shared.test") is None
    assert one.take("elsewhere.test")
    assert tokens[0]
    one.give("shared.test", tokens[0])
    assert other.take("shared.test")


def test_without_redis_each_takes_a_quarter() -> None:
    alone = made(None)
    assert [bool(alone.take("alone.test")) for _ in range(4)] == [True, True, False, False]


def test_slots_of_the_dead_are_free_again_and_those_of_the_living_are_not(redis_url: str) -> None:
    now = [time.time()]
    dead, living, third = (made(redis_url, lambda: now[0]) for _ in range(3))
    for slots in (dead, living):
        assert all(slots.take("death.test") for _ in range(4))
    now[0] += HELD_S - 1
    living.renew()
    assert third.take("death.test") is None
    now[0] += 2
    assert [bool(third.take("death.test")) for _ in range(5)] == [True] * 4 + [False]
