"""Scripts on connections of our own: the same answers as redis-py, and no harder to break."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Thread

import pytest
import redis

from mailcore.model.secret import Secret
from mailcore.services.process.redis_link import RedisLink
from mailcore.services.process.redis_scripts import Script
from tests.waiting import wait_until

COUNT = "return redis.call('INCRBY', KEYS[1], ARGV[1])"
LIST = "return {1, tonumber(ARGV[1]), -3}"


@pytest.fixture
def link(redis_url: str) -> Iterator[RedisLink]:
    made = RedisLink(Secret(redis_url))
    assert made.client is not None
    made.client.delete("scripts:n")
    yield made
    made.close()


def script(link: RedisLink, text: str) -> Script:
    made = link.script(text)
    assert made is not None
    return made


def test_numbers_and_lists_of_them_come_as_from_redis_py(link: RedisLink) -> None:
    assert link.client is not None
    for text, keys, values in ((COUNT, ("scripts:n",), (0,)), (LIST, (), ("22",)), ("return {}", (), ())):
        ours = [script(link, text)(keys, values) for _ in range(2)]  # first unknown to Redis, then known
        assert ours == [link.client.eval(text, len(keys), *keys, *values)] * 2


def test_one_connection_serves_one_call_after_the_other(link: RedisLink) -> None:
    assert link.client is not None
    count = script(link, COUNT)
    count(("scripts:n",), (1,))
    before = link.client.info("clients")["connected_clients"]
    assert [count(("scripts:n",), (1,)) for _ in range(50)] == list(range(2, 52))
    assert link.client.info("clients")["connected_clients"] == before


def test_closed_connections_and_forgotten_scripts_are_made_anew(link: RedisLink) -> None:
    assert link.client is not None
    count = script(link, COUNT)
    assert count(("scripts:n",), (1,)) == 1
    link.client.script_flush()
    assert count(("scripts:n",), (1,)) == 2
    link.client.client_kill_filter(_type="normal", skipme=True)
    assert count(("scripts:n",), (1,)) == 3


def test_a_script_that_fails_says_so_and_the_next_answer_is_its_own(link: RedisLink) -> None:
    failing, count = script(link, "return redis.call('INCRBY', KEYS[1], 'x')"), script(link, COUNT)
    with pytest.raises(redis.ResponseError):
        failing(("scripts:n",), ())
    with pytest.raises(redis.ResponseError):
        failing(("scripts:n",), ())
    assert count(("scripts:n",), (7,)) == 7


def test_words_of_any_bytes_arrive_whole(link: RedisLink) -> None:
    length = script(link, "return #ARGV[1]")
    assert [length((), (word,)) for word in (b"", b"\r\n$3", "ü" * 100_000)] == [0, 4, 200_000]


def test_what_nobody_waits_for_goes_with_the_next_call(link: RedisLink, caplog: pytest.LogCaptureFixture) -> None:
    """In order, whatever it answers, and the call's answer is its own; also on a Redis that knows no script yet."""
    assert link.client is not None
    link.start(lambda work: None)  # nobody flushes
    failing = script(link, "return redis.call('INCRBY', KEYS[1], 'x')")
    count, listed = script(link, COUNT), script(link, LIST)
    link.client.script_flush()
    for amount in (1, 2):
        link.tell(count, ("scripts:n",), (amount,))
        link.tell(failing, ("scripts:n",), ())
    assert link.client.get("scripts:n") is None
    assert link.ask(lambda _: listed((), (5,))) == [1, 5, -3]
    assert link.client.get("scripts:n") == b"3"
    assert link.ask(lambda _: count(("scripts:n",), (10,))) == 13
    assert [record.message for record in caplog.records] == ["redis.script.refused"] * 2


def test_what_nobody_waits_for_is_told_without_a_call_too(redis_url: str, link: RedisLink) -> None:
    """At once where nobody tells it later, by a thread of its own where one was begun, and before the end."""
    assert link.client is not None
    link.tell(script(link, COUNT), ("scripts:n",), (1,))
    assert link.client.get("scripts:n") == b"1"
    threads: list[Thread] = []
    another = RedisLink(Secret(redis_url))
    another.start(lambda work: threads.append(Thread(target=work)) or threads[0].start())
    another.tell(script(another, COUNT), ("scripts:n",), (1,))
    wait_until(lambda: link.client.get("scripts:n") == b"2")
    another.close()
    threads[0].join(10)
    assert not threads[0].is_alive()
    third = RedisLink(Secret(redis_url))
    third.start(lambda work: None)
    third.tell(script(third, COUNT), ("scripts:n",), (1,))
    third.close()
    assert link.client.get("scripts:n") == b"3"


def test_nothing_waits_for_a_redis_that_is_away() -> None:
    away = RedisLink(Secret("redis://127.0.0.1:1/0"))
    away.start(lambda work: None)
    count = script(away, COUNT)
    assert away.ask(lambda _: count(("scripts:n",), (1,))) is None
    for _ in range(3):
        away.tell(count, ("scripts:n",), (1,))
    assert count._lines._unsent == []
