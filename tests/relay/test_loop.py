"""The relay's loop: woken by Redis, looking without it, fair among tenants, drained when told to end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import gevent
import pytest
from gevent.event import Event

from mailcore.model.outbound import EntryState
from mailcore.relay import loop
from mailcore.relay.loop import Relay
from mailcore.services.outbound.outbound_work import Claim, OutboundWork
from mailcore.store.shard import ShardStores
from tests.builders import make_user
from tests.relay.conftest import Relaying
from tests.stubs.outside import Behaviour
from tests.waiting import wait_until

NEVER_S = 3600.0
until = partial(wait_until, pause=gevent.sleep)


@pytest.fixture
def start(relaying: Relaying, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Relay]]:
    """Return `start(look_s=, redis=, messages=)`: a relay that runs in greenlets until the end of the test."""
    running: list[Relay] = []

    def make(*, look_s: float = NEVER_S, redis: bool = True, messages: int = 100) -> Relay:
        monkeypatch.setattr(loop, "LOOK_S", look_s)
        services = relaying.services
        limits = replace(services.settings.limits.outbound, messages=messages)
        parts = replace(relaying.parts, work=OutboundWork(relaying.parts.work._content, limits))
        relay = Relay(parts, services.settings.redis_url if redis else None)
        relay.start()
        running.append(relay)
        return relay

    yield make
    for relay in running:
        relay.stop(0.5)


def test_what_is_queued_wakes_a_relay(relaying: Relaying, start: Callable[..., Relay]) -> None:
    exchanger = relaying.world.domain("woken.test")
    relay = start()
    until(lambda: relay.is_listening)
    for number in range(3):
        relaying.send("bob@woken.test", run=False)
        until(lambda number=number: len(exchanger.accepted) == number + 1)  # type: ignore[misc]


def test_without_redis_it_is_found_by_looking(relaying: Relaying, start: Callable[..., Relay]) -> None:
    exchanger = relaying.world.domain("looked.test")
    start(look_s=0.05, redis=False)
    relaying.send("bob@looked.test", run=False)
    until(lambda: len(exchanger.accepted) == 1)


def test_tenant_with_all_its_places_taken_goes_on_as_soon_as_one_is_free(
    relaying: Relaying, start: Callable[..., Relay]
) -> None:
    """Nobody looks again within an hour here: each message that ends must make room for the next."""
    exchanger = relaying.world.domain("places.test")
    for _ in range(12):
        relaying.send("bob@places.test", run=False)
    start(messages=4)
    until(lambda: len(exchanger.accepted) == 12)
    assert exchanger.most_open <= 2, "half of the places of this relay"


def test_tenant_that_waits_for_slow_servers_leaves_places_to_others(
    relaying: Relaying, start: Callable[..., Relay]
) -> None:
    relaying.world.domain("slow.test", Behaviour(hangs="MAIL"))
    quick = relaying.world.domain("quick.test")
    other = make_user(relaying.services, shard="a")
    for _ in range(8):
        relaying.send("bob@slow.test", run=False)
    relaying.send("bob@quick.test", user=other, run=False)
    start(messages=4)
    until(lambda: len(quick.accepted) == 1)


def test_shard_that_is_away_holds_up_no_other(
    relaying: Relaying, start: Callable[..., Relay], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise P11."""
    exchanger = relaying.world.domain("othershard.test")
    claim, silent = OutboundWork.claim, Event()
    on_b = make_user(relaying.services, shard="b")

    def away(self: OutboundWork, shard: ShardStores, *arguments: object) -> Claim | None:
        if shard.name == "a":
            silent.wait()
        return claim(self, shard, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(OutboundWork, "claim", away)
    relaying.send("bob@othershard.test", user=on_b, run=False)
    start()
    until(lambda: len(exchanger.accepted) == 1)
    silent.set()


def test_end_lets_what_is_under_way_finish_and_begins_nothing(relaying: Relaying, start: Callable[..., Relay]) -> None:
    def slowly(_mail: str) -> str:
        time.sleep(0.5)
        return "250 taken"

    exchanger = relaying.world.domain("ending.test", Behaviour(content=slowly))
    first = relaying.send("bob@ending.test", run=False)
    relay = start()
    until(lambda: exchanger.open_now == 1)
    relay.stop(10)
    assert relay.under_way == 0
    assert relaying.entry(first).state is EntryState.DONE
    second = relaying.send("bob@ending.test", run=False)
    gevent.sleep(0.3)
    assert relaying.entry(second).state is EntryState.QUEUED
    assert not relaying.entry(second).is_leased
