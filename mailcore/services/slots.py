"""How many connections there are to one destination: of all relays together, counted in Redis.

Without Redis each relay counts for itself and takes a quarter. A slot whose holder died is free again after a while.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections import Counter
from typing import Any, Final

from mailcore.services.redis_link import RedisLink, keyed

HELD_S: Final = 900
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

    def __init__(self, link: RedisLink, limit: int) -> None:
        self._link = link
        self._limit = limit
        self._own: Counter[str] = Counter()
        self._lock = threading.Lock()

    def take(self, destination: str) -> str | None:
        """Return a token for one more connection, None if there are enough; at most one round trip to Redis."""
        token = secrets.token_hex(8)
        with self._lock:
            if self._own[destination] >= self._limit:
                return None
            self._own[destination] += 1
        taken = self._link.ask(lambda redis: self._ask(redis, destination, token))
        alone = taken is None and self._own[destination] > max(self._limit // ALONE, 1)
        if taken == 0 or alone:
            self._give_up(destination)
            return None
        return token

    def give(self, destination: str, token: str) -> None:
        """Take a slot back."""
        self._give_up(destination)
        self._link.ask(lambda redis: redis.zrem(_key(destination), token))

    def _ask(self, redis: Any, destination: str, token: str) -> int:
        return int(redis.eval(_TAKE, 1, _key(destination), int(time.time()), token, self._limit, HELD_S))

    def _give_up(self, destination: str) -> None:
        with self._lock:
            self._own[destination] -= 1
            if self._own[destination] <= 0:
                del self._own[destination]


def _key(destination: str) -> str:
    return keyed("relay", "slots", destination)
