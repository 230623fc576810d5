"""Publishing on Redis over one connection whose answers are read later."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
import redis

from mailcore.services.mailboxes import publisher as module
from mailcore.services.mailboxes.publisher import Publisher

CHANNEL = b"publisher-test"


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url, socket_timeout=2) as made:
        yield made


@pytest.fixture
def publisher(client: redis.Redis) -> Iterator[Publisher]:
    made = Publisher(client)
    yield made
    made.close()


def received(pubsub: redis.client.PubSub, count: int) -> list[bytes]:
    found: list[bytes] = []
    until = time.monotonic() + 10
    while len(found) < count and time.monotonic() < until:
        message = pubsub.get_message(ignore_subscribe_messages=True, timeout=1)
        if message is not None:
            found.append(message["data"])
    return found


def test_everything_arrives_in_order_and_answers_do_not_pile_up(client: redis.Redis, publisher: Publisher) -> None:
    with client.pubsub() as pubsub:
        pubsub.subscribe(CHANNEL)
        assert pubsub.get_message(timeout=5) is not None
        sent = [b"%d\r\n\x00" % number + b"x" * number for number in range(3 * module.UNANSWERED + 5)]
        for message in sent:
            publisher.publish(CHANNEL, message)
        assert received(pubsub, len(sent)) == sent
    assert publisher._unanswered == 5


def test_a_connection_closed_by_redis_is_made_anew_without_losing_the_message(
    client: redis.Redis, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "QUIET_S", 0.0)
    publisher.publish(CHANNEL, b"first")
    own = publisher._connection
    client.execute_command("CLIENT", "KILL", f"127.0.0.1:{own._sock.getsockname()[1]}")
    with client.pubsub() as pubsub:
        pubsub.subscribe(CHANNEL)
        assert pubsub.get_message(timeout=5) is not None
        publisher.publish(CHANNEL, b"second")
        assert received(pubsub, 1) == [b"second"]


def test_a_refusal_is_raised(client: redis.Redis, publisher: Publisher) -> None:
    publisher.publish(CHANNEL, b"")
    publisher._connection._sock.sendall(b"*1\r\n$7\r\nNOSUCH!\r\n")
    publisher._unanswered += 1
    with pytest.raises(redis.ResponseError):
        publisher._read_answers()


def test_without_redis_it_is_an_error_and_a_later_call_tries_again() -> None:
    absent = Publisher(redis.Redis.from_url("redis://127.0.0.1:1/0", socket_connect_timeout=0.5))
    for _ in range(2):
        with pytest.raises((redis.RedisError, OSError)):
            absent.publish(CHANNEL, b"")
    absent.close()
