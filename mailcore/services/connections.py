"""Connections of each user, counted by every process together.

A process tells Redis how many of a user's connections it holds, and renews one lease for all of
them; what a process held that was killed counts no more once its lease is over. Without Redis a
process counts its own and allows less.
"""

from __future__ import annotations

import logging
import secrets
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

from mailcore.errors import TooManyConnections
from mailcore.model.ids import UserId
from mailcore.services.redis_link import RedisLink, keyed

log = logging.getLogger(__name__)

LEASE_S: Final = 30
BEAT_S: Final = 10.0
TELL_ANEW_BEATS: Final = 180
KEY_S: Final = 2 * 3600
"""A user's counts are forgotten so long after they were last told; every process tells them again before."""
LONE_SHARE: Final = 2
"""A process that has to count alone allows one connection in so many."""
PIPELINED: Final = 1000
NO_LIMIT: Final = 1 << 40

_OPEN: Final = """
redis.replicate_commands()
local now = tonumber(redis.call('TIME')[1])
redis.call('ZADD', KEYS[2], now + ARGV[3], ARGV[1])
local held = redis.call('HGETALL', KEYS[1])
local total = 1
for i = 1, #held, 2 do
    local good_until = redis.call('ZSCORE', KEYS[2], held[i])
    if good_until and tonumber(good_until) > now then
        total = total + held[i + 1]
    else
        redis.call('HDEL', KEYS[1], held[i])
    end
end
if total > tonumber(ARGV[2]) then return 0 end
redis.call('HINCRBY', KEYS[1], ARGV[1], 1)
redis.call('EXPIRE', KEYS[1], ARGV[4])
return 1
"""
"""KEYS: the user's counts by process, leases of the processes; ARGV: process, limit, lease, expiry."""

_BEAT: Final = """
redis.replicate_commands()
local now = tonumber(redis.call('TIME')[1])
local good_until = redis.call('ZSCORE', KEYS[1], ARGV[1])
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[3])
return good_until and tonumber(good_until) > now and 1 or 0
"""

_CLOSE: Final = """
if redis.call('HINCRBY', KEYS[1], ARGV[1], -1) <= 0 then redis.call('HDEL', KEYS[1], ARGV[1]) end
return 1
"""

_LEASES: Final = keyed("connections", "processes")


class Lease:
    """One open connection of a user; ends with `close`, or with the process."""

    __slots__ = ("_connections", "user_id")

    def __init__(self, connections: Connections, user_id: UserId) -> None:
        self._connections: Connections | None = connections
        self.user_id = user_id

    def close(self) -> None:
        """Count it no more; closing twice is harmless. One round trip to Redis."""
        connections, self._connections = self._connections, None
        if connections is not None:
            connections.ended(self.user_id)


class Connections:
    """Who has how many connections open."""

    def __init__(self, link: RedisLink) -> None:
        self._link = link
        self._process = secrets.token_hex(8)
        self._held: Counter[UserId] = Counter()
        self._told_losses = 0
        self._closed = threading.Event()
        client = link.client
        self._open_script: Any = client.register_script(_OPEN) if client is not None else None
        self._close_script: Any = client.register_script(_CLOSE) if client is not None else None
        self._beat_script: Any = client.register_script(_BEAT) if client is not None else None

    def open(self, user_id: UserId, limit: int) -> Lease:
        """Count a connection; one round trip to Redis. A `limit` of 0 is none.

        Raises:
            TooManyConnections: the user has `limit` open already, or this process its share of them.
        """
        limit = limit or NO_LIMIT
        values = (self._process, limit, LEASE_S, KEY_S)
        let_in = self._link.ask(lambda client: self._open_script((_key(user_id), _LEASES), values, client))
        if let_in is None:
            let_in = self._held.get(user_id, 0) < max(limit // LONE_SHARE, 1)
        if not let_in:
            raise TooManyConnections(user_id, limit)
        self._held[user_id] += 1
        return Lease(self, user_id)

    def ended(self, user_id: UserId) -> None:
        """Count one less; what Redis is not told now it is told by the next beat that reaches it."""
        self._held[user_id] -= 1
        if not self._held[user_id]:
            del self._held[user_id]
        self._link.ask(lambda client: self._close_script((_key(user_id),), (self._process,), client))

    def count(self, user_id: UserId) -> int | None:
        """Return how many are open by all processes, None without Redis; for operators."""
        return self._link.ask(lambda client: _count(client, user_id))

    def forget(self, user_id: UserId) -> None:
        """Let the count begin anew; open connections are told again within the hour. For operators."""
        self._link.ask(lambda client: client.delete(_key(user_id)))

    # -- the life of the process ----------------------------------------------------------------

    def start(self, spawn: Callable[[Callable[[], None]], object]) -> None:
        """Begin to renew the lease, in a greenlet or thread that `spawn` makes."""
        if self._link.client is not None:
            spawn(self._beat_forever)

    def close(self) -> None:
        """Give the lease back: nothing of this process counts any more."""
        self._closed.set()
        self._link.ask(lambda client: client.zrem(_LEASES, self._process))

    def beat(self, *, tell_anew: bool = False) -> None:
        """Renew the lease; tell all counts anew if it was over, or if Redis was away meanwhile."""
        losses = self._link.losses
        in_time = self._link.ask(lambda client: self._beat_script((_LEASES,), (self._process, LEASE_S, KEY_S), client))
        if in_time is None:
            return
        if tell_anew or not in_time or losses != self._told_losses:
            self._tell_all()
            self._told_losses = losses

    def _tell_all(self) -> None:
        held = list(self._held.items())
        for start in range(0, len(held), PIPELINED):
            part = held[start : start + PIPELINED]
            self._link.ask(lambda client, part=part: _tell(client, self._process, part))  # type: ignore[misc]

    def _beat_forever(self) -> None:
        beats = 0
        while not self._closed.wait(BEAT_S):
            beats += 1
            self.beat(tell_anew=beats % TELL_ANEW_BEATS == 0)


def _key(user_id: UserId) -> str:
    return keyed("connections", user_id)


def _count(client: Any, user_id: UserId) -> int:
    now = client.time()[0]
    alive = {process for process, good_until in client.zrange(_LEASES, 0, -1, withscores=True) if good_until > now}
    return sum(int(count) for process, count in client.hgetall(_key(user_id)).items() if process in alive)


def _tell(client: Any, process: str, counts: list[tuple[UserId, int]]) -> bool:
    pipeline = client.pipeline(transaction=False)
    for user_id, count in counts:
        pipeline.hset(_key(user_id), process, count)
        pipeline.expire(_key(user_id), KEY_S)
    pipeline.execute()
    return True
