"""How many streams of events each person reads, counted by all processes through Redis.

While Redis is away each process counts alone. A stream is counted for half a minute and counted anew with each look, so
that what a process that died was reading is soon free again.
"""

from __future__ import annotations

import logging
import secrets
import threading
from collections import Counter
from typing import Final

from redis import Redis
from redis.exceptions import RedisError

log = logging.getLogger(__name__)

MOST_STREAMS: Final = 4
"""Of one person: a browser has six connections to a host, and pages need some of them."""
HELD_S: Final = 30
"""So long a stream counts that nobody renews."""

_TAKE: Final = """
local now = tonumber(redis.call('TIME')[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
if not redis.call('ZSCORE', KEYS[1], ARGV[1]) and redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[2]) then return 0 end
redis.call('ZADD', KEYS[1], now + ARGV[3], ARGV[1])
redis.call('EXPIRE', KEYS[1], ARGV[3])
return 1
"""


class OpenStreams:
    """Counts the streams of a process in its memory, and those of all in Redis."""

    def __init__(self) -> None:
        self._open: Counter[str] = Counter()
        self._lock = threading.Lock()

    def take(self, redis: Redis | None, whose: str) -> str | None:
        """Count one more and return its token; None: these are as many as may be. One round trip to Redis."""
        with self._lock:
            if self._open[whose] >= MOST_STREAMS:
                return None
            self._open[whose] += 1
        token = secrets.token_hex(8)
        if self.renew(redis, whose, token):
            return token
        self._give(whose)
        return None

    def renew(self, redis: Redis | None, whose: str, token: str) -> bool:
        """Go on counting one; False: it was forgotten meanwhile, and there are as many others as may be."""
        try:
            return redis is None or bool(redis.eval(_TAKE, 1, _key(whose), token, str(MOST_STREAMS), str(HELD_S)))
        except RedisError as error:
            log.info("progress.counted_alone", extra={"reason": type(error).__name__})
            return True

    def give(self, redis: Redis | None, whose: str, token: str) -> None:
        """Count one less."""
        self._give(whose)
        try:
            if redis is not None:
                redis.zrem(_key(whose), token)
        except RedisError as error:  # it is over by itself soon
            log.info("progress.counted_alone", extra={"reason": type(error).__name__})

    def _give(self, whose: str) -> None:
        with self._lock:
            self._open[whose] -= 1
            if self._open[whose] <= 0:
                del self._open[whose]


def _key(whose: str) -> str:
    return f"eider:portal:streams:{whose}"
