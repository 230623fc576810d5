"""Connections of a user, counted by all processes together; what a killed process held counts no more."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis
from bson import ObjectId

from mailcore.errors import TooManyConnections
from mailcore.model.ids import UserId
from mailcore.model.secret import Secret
from mailcore.services.accounts import connections as module
from mailcore.services.accounts.connections import Connections, Lease
from mailcore.services.process.redis_link import RedisLink
from tests.waiting import wait_until


@pytest.fixture
def process(redis_url: str) -> Iterator[Callable[[], Connections]]:
    """Return `process()`: the counter of another process."""
    links = []

    def new() -> Connections:
        links.append(RedisLink(Secret(redis_url)))
        return Connections(links[-1])

    yield new
    for link in links:
        link.close()


@pytest.fixture
def user() -> UserId:
    return UserId(ObjectId())


def fill(processes: list[Connections], user: UserId, limit: int) -> list[Lease]:
    """Open connections at the processes in turn until one is refused."""
    leases: list[Lease] = []
    try:
        for number in range(100):
            leases.append(processes[number % len(processes)].open(user, limit))
    except TooManyConnections:
        return leases
    raise AssertionError("no limit")


def test_processes_share_the_limit(process: Callable[[], Connections], user: UserId) -> None:
    processes = [process() for _ in range(5)]
    leases = fill(processes, user, 7)
    assert len(leases) == 7
    assert processes[0].count(user) == 7
    leases[3].close()
    leases[3].close()
    assert len(fill(processes, user, 7)) == 1
    assert fill(processes, UserId(ObjectId()), 2), "another user's are another's"
    for lease in leases:
        lease.close()
    assert processes[0].count(user) == 1


def test_openers_at_once_do_not_pass_the_limit(process: Callable[[], Connections], user: UserId) -> None:
    processes = [process() for _ in range(4)]
    start = threading.Barrier(16)

    def attempt(number: int) -> bool:
        start.wait(10)
        try:
            processes[number % 4].open(user, 6)
        except TooManyConnections:
            return False
        return True

    with ThreadPoolExecutor(16) as threads:
        assert sum(threads.map(attempt, range(16))) == 6


def test_what_a_killed_process_held_counts_no_more(
    process: Callable[[], Connections], user: UserId, redis_url: str
) -> None:
    killed, other = process(), process()
    fill([killed], user, 5)
    with pytest.raises(TooManyConnections):
        other.open(user, 5)
    with redis.Redis.from_url(redis_url) as client:  # its lease is not renewed: as if LEASE_S had passed
        client.zadd(module._LEASES, {killed._process: client.time()[0] - 1})
    assert other.count(user) == 0
    assert len(fill([other], user, 5)) == 5
    killed.beat()  # it was not dead after all, only late: what it holds counts again
    assert other.count(user) == 10
    other.close()
    assert killed.count(user) == 5


def test_control_without_leases_the_dead_hold_their_connections_for_ever(
    process: Callable[[], Connections], user: UserId, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LEASE_S", 10**9)
    killed, other = process(), process()
    fill([killed], user, 5)
    killed.beat()
    with redis.Redis.from_url(redis_url) as client:
        assert client.zscore(module._LEASES, killed._process) > client.time()[0] + 10**6
    with pytest.raises(TooManyConnections):
        other.open(user, 5)


def test_ends_wait_for_nobody_and_are_told_together(
    process: Callable[[], Connections], user: UserId, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = process(), process()
    work: list[Callable[[], None]] = []
    one.start(work.append)
    mine, another = fill([one], user, 5), UserId(ObjectId())
    theirs = fill([one], another, 3)
    asked = []
    ask = one._link.ask
    monkeypatch.setattr(one._link, "ask", lambda question: (asked.append(question), ask(question))[1])
    for lease in mine[:3] + theirs[:2]:
        lease.close()
    assert not asked, "somebody waited for Redis"
    assert (other.count(user), other.count(another)) == (5, 3)
    one.flush()
    assert len(asked) == 1
    assert (other.count(user), other.count(another)) == (2, 1)


def test_an_end_makes_room_at_once_for_the_next_here(process: Callable[[], Connections], user: UserId) -> None:
    one, other = process(), process()
    one.start(lambda work: None)
    leases = fill([one], user, 4)
    leases[0].close()
    leases[1].close()
    assert len(fill([one], user, 4)) == 2
    one.flush()
    assert other.count(user) == 4


def test_who_comes_back_at_once_takes_the_place_that_is_counted_still(
    process: Callable[[], Connections], user: UserId, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No round trip, and never one connection more than the limit by all processes together."""
    one, other = process(), process()
    one.start(lambda work: None)
    leases = fill([one], user, 4)
    asked = []
    ask = one._link.ask
    with monkeypatch.context() as patch:
        patch.setattr(one._link, "ask", lambda question: (asked.append(question), ask(question))[1])
        for lease in leases:
            lease.close()
        leases = [one.open(user, 4) for _ in range(4)]
        assert not asked
    for process_ in (one, other):
        with pytest.raises(TooManyConnections):
            process_.open(user, 4)
    one.flush()
    assert other.count(user) == 4
    leases[0].close()
    with pytest.raises(TooManyConnections):
        one.open(user, 2)  # the limit was lowered meanwhile
    leases[1].close()
    monkeypatch.setattr(type(one._link), "is_up", False)
    monkeypatch.setattr(one._link, "ask", lambda _: None)
    with pytest.raises(TooManyConnections):
        one.open(user, 4)  # alone this process has two at most


def test_redis_is_told_of_ends_without_being_asked_to(process: Callable[[], Connections], user: UserId) -> None:
    one, other = process(), process()
    one.start(lambda work: threading.Thread(target=work, daemon=True).start())
    for lease in fill([one], user, 4):
        lease.close()
    wait_until(lambda: other.count(user) == 0, said=lambda: "nobody told Redis")
    one.close()


def test_ends_told_anew_are_not_taken_off_twice(process: Callable[[], Connections], user: UserId) -> None:
    one, other = process(), process()
    one.start(lambda work: None)
    fill([one], user, 4)[0].close()
    one.beat(tell_anew=True)
    one.flush()
    assert other.count(user) == 3


def test_redis_restarted_empty_is_told_anew(process: Callable[[], Connections], user: UserId, redis_url: str) -> None:
    one = process()
    lease = fill([one], user, 3)[0]
    with redis.Redis.from_url(redis_url) as client:
        client.delete(module._LEASES, module._key(user))
    lease.close()
    assert one.count(user) == 0
    one.beat()
    assert one.count(user) == 2


def test_ends_that_redis_missed_count_no_more_once_it_is_back(redis_url: str, user: UserId) -> None:
    """Also of a user who holds nothing here any more; and nobody's record is kept."""
    now = 0.0
    link = RedisLink(Secret(redis_url), clock=lambda: now)
    one = Connections(link)
    one.start(lambda work: None)
    another = UserId(ObjectId())
    gone, left = fill([one], user, 3), fill([one], another, 3)

    def away(_: object) -> None:
        raise redis.ConnectionError("away")

    link.ask(away)
    for lease in [*gone, left[0]]:
        lease.close()
    one.flush()
    now += 10
    assert one.count(user) == 3
    one.beat()
    assert (one.count(user), one.count(another)) == (0, 2)
    assert list(one._users) == [another]
    link.close()


def test_alone_a_process_allows_half(user: UserId) -> None:
    alone = Connections(RedisLink(Secret("redis://127.0.0.1:1/0")))
    leases = fill([alone], user, 8)
    assert len(leases) == 4
    assert alone.count(user) is None
    leases[0].close()
    assert len(fill([alone], user, 8)) == 1
    assert Connections(RedisLink(None)).open(user, 1)


def test_no_limit_is_none(process: Callable[[], Connections], user: UserId) -> None:
    one = process()
    for _ in range(200):
        one.open(user, 0)
    assert one.count(user) == 200


def test_operators_let_a_count_begin_anew(process: Callable[[], Connections], user: UserId) -> None:
    one = process()
    fill([one], user, 2)
    one.forget(user)
    assert one.count(user) == 0
    assert one.open(user, 2)
