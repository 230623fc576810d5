"""Connections of each user, counted by every process together.

A process tells Redis how many of a user's connections it holds, and renews one lease for all of
them; what a process held that was killed counts no more once its lease is over. Without Redis a
process counts its own and allows less.

No connection that ends waits for Redis: ends are added up and told all at once a moment later. The
same user's next connection here takes the place of one that ended just before, and nobody is asked. So a
place that was asked for in advance, with the question whether a password may be looked at, is one that ended.
"""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from mailcore.errors import TooManyConnections
from mailcore.model.ids import UserId
from mailcore.services.process.redis_link import RedisLink, keyed

log = logging.getLogger(__name__)

LEASE_S: Final = 30
BEAT_S: Final = 10.0
FLUSH_S: Final = 1.0
"""So long ends wait for others, to be told with them, and for the user's next connection to take their place."""
TELL_ANEW_BEATS: Final = 180
KEY_S: Final = 2 * 3600
"""A user's counts are forgotten so long after they were last told; every process tells them again before."""
LONE_SHARE: Final = 2
"""A process that has to count alone allows one connection in so many."""
PIPELINED: Final = 1000
NO_LIMIT: Final = 1 << 40

OPEN_CONNECTION: Final = """
local function open_connection(held_by, leases, process, limit, lease_s, expiry_s, ended)
    local now = tonumber(redis.call('TIME')[1])
    redis.call('ZADD', leases, now + lease_s, process)
    if tonumber(ended) > 0 and redis.call('HINCRBY', held_by, process, -ended) <= 0 then
        redis.call('HDEL', held_by, process)
    end
    local held = redis.call('HGETALL', held_by)
    local total = 1
    for i = 1, #held, 2 do
        local good_until = redis.call('ZSCORE', leases, held[i])
        if good_until and tonumber(good_until) > now then
            total = total + held[i + 1]
        else
            redis.call('HDEL', held_by, held[i])
        end
    end
    if total > tonumber(limit) then return 0 end
    redis.call('HINCRBY', held_by, process, 1)
    redis.call('EXPIRE', held_by, expiry_s)
    return 1
end
"""
"""Lua that answers whether there was room; a user's counts by process, leases of the processes, then `Place.values`."""

_OPEN: Final = f"""
redis.replicate_commands()
{OPEN_CONNECTION}
return open_connection(KEYS[1], KEYS[2], unpack(ARGV))
"""

_BEAT: Final = """
redis.replicate_commands()
local now = tonumber(redis.call('TIME')[1])
local good_until = redis.call('ZSCORE', KEYS[1], ARGV[1])
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[3])
return good_until and tonumber(good_until) > now and 1 or 0
"""

_ENDED: Final = """
for i = 1, #KEYS do
    if redis.call('HINCRBY', KEYS[i], ARGV[1], -ARGV[i + 1]) <= 0 then redis.call('HDEL', KEYS[i], ARGV[1]) end
end
return 1
"""
"""KEYS: the counts of users; ARGV: process, then how many of each user's have ended."""

_LEASES: Final = keyed("connections", "processes")


class OfUser:
    """A user's connections of this process."""

    __slots__ = ("ended", "held", "user_id", "waits")

    def __init__(self, user_id: UserId) -> None:
        self.user_id = user_id
        self.held = 0
        self.ended = 0
        """So many ends Redis has not been told."""
        self.waits = False
        """Whether it is looked at by the next flush."""

    def take_ended(self) -> int:
        """Return how many ends Redis is to be told of now."""
        ended, self.ended, self.waits = self.ended, 0, False
        return ended


class Place(NamedTuple):
    """A place for one more connection, as Redis is asked for it."""

    user_id: UserId
    keys: tuple[str, str]
    values: tuple[str | int, ...]
    """Process, limit, lease, expiry, ended."""


class Lease:
    """One open connection of a user; ends with `close`, or with the process."""

    __slots__ = ("_connections", "_of_user")

    def __init__(self, connections: Connections, of_user: OfUser) -> None:
        self._connections: Connections | None = connections
        self._of_user = of_user

    def close(self) -> None:
        """Count it no more; closing twice is harmless. Waits for nothing."""
        connections, self._connections = self._connections, None
        if connections is not None:
            connections.ended(self._of_user)


class Connections:
    """Who has how many connections open."""

    def __init__(self, link: RedisLink) -> None:
        self._link = link
        self._process = secrets.token_hex(8)
        self._users: dict[UserId, OfUser] = {}
        self._waiting: list[OfUser] = []
        """Users with ends that Redis has not been told."""
        self._ends_wait = threading.Event()
        self._telling = threading.Lock()
        """Ends and counts told at the same time could overtake each other."""
        self._is_started = False
        self._told_losses = 0
        self._closed = threading.Event()
        self._open_script: Any = link.script(_OPEN)
        self._ended_script: Any = link.script(_ENDED)
        self._beat_script: Any = link.script(_BEAT)

    def open(self, user_id: UserId, limit: int) -> Lease:
        """Count a connection; one round trip to Redis, none in place of one that Redis counts still. No `limit` is 0.

        Raises:
            TooManyConnections: the user has `limit` open already, or this process its share of them.
        """
        limit = limit or NO_LIMIT
        mine = self._users.get(user_id) or OfUser(user_id)
        if mine.ended and mine.held < limit and self._link.is_up:
            mine.ended -= 1  # this one takes its place
        else:
            mine = self._ask(mine, limit)
        mine.held += 1
        return Lease(self, mine)

    def _ask(self, mine: OfUser, limit: int) -> OfUser:
        """Ask Redis whether there is room for one more; others may come and go meanwhile."""
        user_id, ended, mine.ended = mine.user_id, mine.ended, 0
        place = self._place(user_id, limit, ended)
        let_in = self._link.ask(lambda _: self._open_script(place.keys, place.values))
        mine = self._users.get(user_id) or mine
        if let_in is None:
            let_in = mine.held < max(limit // LONE_SHARE, 1)
        if not let_in:
            raise TooManyConnections(user_id, limit)
        self._users[user_id] = mine
        return mine

    def place(self, user_id: UserId, limit: int) -> Place | None:
        """Return what asks for a place in advance, by the way of another question; None where none is to be asked for.

        Only half of what the user may have goes in advance: who guesses a password, and is not let in, bars nobody.
        """
        mine = self._users.get(user_id)
        if mine is not None and mine.ended:
            return None
        return self._place(user_id, (limit or NO_LIMIT) // 2, 0)

    def keep(self, place: Place) -> None:
        """Keep a place for the user's next connection here, for a moment; Redis counts it, or did not answer."""
        mine = self._users.setdefault(place.user_id, OfUser(place.user_id))
        mine.held += 1
        self.ended(mine)

    def _place(self, user_id: UserId, limit: int, ended: int) -> Place:
        return Place(user_id, (_key(user_id), _LEASES), (self._process, limit, LEASE_S, KEY_S, ended))

    def ended(self, of_user: OfUser) -> None:
        """Count one less; Redis is told a moment later, and what it misses it is told by the next beat."""
        of_user.held -= 1
        of_user.ended += 1
        if not of_user.waits:
            of_user.waits = True
            self._waiting.append(of_user)
        self._ends_wait.set()
        if not self._is_started:
            self.flush()

    def flush(self) -> None:
        """Tell Redis what has ended; one round trip for a thousand users."""
        self._ends_wait.clear()
        with self._telling:
            waiting, self._waiting = self._waiting, []
            taken = [(_key(each.user_id), ended) for each in waiting if (ended := each.take_ended())]
            for start in range(0, len(taken), PIPELINED):
                keys, counts = zip(*taken[start : start + PIPELINED], strict=True)
                values = (self._process, *counts)
                self._link.ask(lambda _, keys=keys, values=values: self._ended_script(keys, values))  # type: ignore[misc]
            if self._link.losses == self._told_losses:
                self._forget(waiting)

    def _forget(self, told: list[OfUser]) -> None:
        """Keep no record of users who hold nothing, once Redis has been told."""
        for each in told:
            if not each.held and not each.waits:
                self._users.pop(each.user_id, None)

    def count(self, user_id: UserId) -> int | None:
        """Return how many are open by all processes, None without Redis; for operators."""
        return self._link.ask(lambda client: _count(client, user_id))

    def forget(self, user_id: UserId) -> None:
        """Let the count begin anew; open connections are told again within the hour. For operators."""
        self._link.ask(lambda client: client.delete(_key(user_id)))

    # -- the life of the process ----------------------------------------------------------------

    def start(self, spawn: Callable[[Callable[[], None]], object]) -> None:
        """Begin to renew the lease and to tell ends, in greenlets or threads that `spawn` makes."""
        if self._link.client is not None:
            self._is_started = True
            spawn(self._beat_forever)
            spawn(self._flush_forever)

    def close(self) -> None:
        """Give the lease back: nothing of this process counts any more."""
        self._closed.set()
        self._ends_wait.set()
        self._link.ask(lambda client: client.zrem(_LEASES, self._process))

    def beat(self, *, tell_anew: bool = False) -> None:
        """Renew the lease; tell all counts anew if it was over, or if Redis was away meanwhile."""
        losses = self._link.losses
        in_time = self._link.ask(lambda _: self._beat_script((_LEASES,), (self._process, LEASE_S, KEY_S)))
        if in_time is None:
            return
        if tell_anew or not in_time or losses != self._told_losses:
            self._tell_all(losses)

    def _tell_all(self, losses: int) -> None:
        """Tell what Redis should count, with the ends it is yet to be told: they are taken off later.

        A connection that is let in at this very moment may be missed, until all are told again or it ends.
        """
        with self._telling:
            users = list(self._users.values())
            for start in range(0, len(users), PIPELINED):
                part = users[start : start + PIPELINED]
                counts = [(each.user_id, each.held + each.ended) for each in part]
                if self._link.ask(lambda client, counts=counts: _tell(client, self._process, counts)):  # type: ignore[misc]
                    self._forget(part)
            self._told_losses = losses

    def _beat_forever(self) -> None:
        beats = 0
        while not self._closed.wait(BEAT_S):
            beats += 1
            self.beat(tell_anew=beats % TELL_ANEW_BEATS == 0)

    def _flush_forever(self) -> None:
        while not self._closed.is_set():
            self._ends_wait.wait()
            if not self._closed.wait(FLUSH_S):
                self.flush()


def _key(user_id: UserId) -> str:
    return keyed("connections", user_id)


def _count(client: Any, user_id: UserId) -> int:
    now = client.time()[0]
    alive = {process for process, good_until in client.zrange(_LEASES, 0, -1, withscores=True) if good_until > now}
    return sum(int(count) for process, count in client.hgetall(_key(user_id)).items() if process in alive)


def _tell(client: Any, process: str, counts: list[tuple[UserId, int]]) -> bool:
    pipeline = client.pipeline(transaction=False)
    for user_id, count in counts:
        if count:
            pipeline.hset(_key(user_id), process, count)
        else:
            pipeline.hdel(_key(user_id), process)
        pipeline.expire(_key(user_id), KEY_S)
    pipeline.execute()
    return True
