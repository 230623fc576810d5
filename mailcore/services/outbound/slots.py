"""How many connections there are to one destination: of all relays together, counted in Redis.

Without Redis each relay counts for itself and takes a quarter. A holder renews its slots: those of one that died are
free again soon.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from mailcore.services.process.redis_link import RedisLink, keyed

HELD_S: Final = 90
"""So long a slot is held that nobody renews."""
ALONE: Final = 4
"""A relay that has to count alone takes one part in so many."""

_TAKE: Final = """
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ARGV[1])
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[3]) then return 0 end
redis.call('ZADD', KEYS[1], ARGV[1] + ARGV[4], ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[4])
return 1
"""


class Slots:
    """Gives slots for destinations and takes them back."""

    def __init__(self, link: RedisLink, limit: int, clock: Callable[[], float] = time.time) -> None:
        self._link = link
        self._clock = clock
        self._limit = limit
        self._own: dict[str, set[str]] = {}
        self._lock = threading.Lock()

    def take(self, destination: str) -> str | None:
        """Return a token for one more connection, None if there are enough; at most one round trip to Redis."""
        token = secrets.token_hex(8)
        with self._lock:
            own = self._own.setdefault(destination, set())
            if len(own) >= self._limit:
                return None
            own.add(token)
        taken = self._link.ask(lambda redis: self._ask(redis, destination, token))
        alone = taken is None and len(own) > max(self._limit // ALONE, 1)
        if taken == 0 or alone:
            self._give_up(destination, token)
            return None
        return token

    def renew(self) -> None:
        """Hold on to every slot that this process has; one round trip."""
        with self._lock:
            own = [(destination, token) for destination, tokens in self._own.items() for token in tokens]
        if own:
            self._link.ask(lambda redis: self._renew(redis, own))

    def give(self, destination: str, token: str) -> None:
        """Take a slot back."""
        self._give_up(destination, token)
        self._link.ask(lambda redis: redis.zrem(_key(destination), token))

    def _ask(self, redis: Any, destination: str, token: str) -> int:
        return int(redis.eval(_TAKE, 1, _key(destination), int(self._clock()), token, self._limit, HELD_S))

    def _renew(self, redis: Any, own: Sequence[tuple[str, str]]) -> None:
        with redis.pipeline(transaction=False) as pipeline:
            for destination, token in own:
                pipeline.zadd(_key(destination), {token: int(self._clock()) + HELD_S}, xx=True)
                pipeline.expire(_key(destination), HELD_S)
            pipeline.execute()

    def _give_up(self, destination: str, token: str) -> None:
        with self._lock:
            own = self._own.get(destination, set())
            own.discard(token)
            if not own:
                self._own.pop(destination, None)


def _key(destination: str) -> str:
    return keyed("relay", "slots", destination)
