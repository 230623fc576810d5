"""Redis behind a circuit breaker: short timeouts, and after a fault nobody waits for it for a while."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from mailcore.model.secret import Secret
from mailcore.services.process.redis_scripts import Lines, Script, Value

log = logging.getLogger(__name__)

TIMEOUT_S: Final = 0.25
TELL_S: Final = 0.05
"""What is told waits so long for a question that takes it along."""
PAUSE_S: Final = 2.0
"""After a fault Redis is not asked for so long; then one caller tries, alone."""

Answer = TypeVar("Answer")


class RedisLink:
    """The Redis that processes count in together; `ask` never raises and never takes long.

    A connection that Redis closed meanwhile is made anew, once; what timed out is not sent again.
    """

    def __init__(self, redis_url: Secret | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._client: redis.Redis | None = None
        if redis_url is not None:
            self._client = redis.Redis.from_url(
                redis_url.reveal_text(),
                socket_timeout=TIMEOUT_S,
                socket_connect_timeout=TIMEOUT_S,
                retry=Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,)),
            )
        self._lines = Lines(self._client) if self._client is not None else None
        self._untold = threading.Event()
        self._is_started = False
        self._closed = threading.Event()
        self._silent_until = 0.0
        self._is_lost = False
        self.losses = 0
        """How often Redis went away: who sees the number change tells Redis anew what it should know."""

    @property
    def client(self) -> redis.Redis | None:
        """The client itself, to make scripts for; None where there is no Redis."""
        return self._client

    def script(self, text: str) -> Script | None:
        """Return a script to be called within `ask`; None where there is no Redis."""
        return Script(self._lines, self._client, text) if self._client is not None and self._lines is not None else None

    @property
    def is_up(self) -> bool:
        """Whether Redis answered when it was last asked."""
        return self._client is not None and not self._is_lost

    def ask(self, question: Callable[[redis.Redis], Answer]) -> Answer | None:
        """Return what `question` got out of Redis; None if there is none or it is away. One round trip at most."""
        now = self._clock()
        if self._client is None or now < self._silent_until:
            return None
        if self._is_lost:
            self._silent_until = now + PAUSE_S  # the others need not wait for what this caller finds out
        try:
            answer = question(self._client)
        except (redis.RedisError, OSError) as error:
            self._lost(error)
            return None
        if self._is_lost:
            self._is_lost, self._silent_until = False, 0.0
            log.info("limits.redis.back")
        return answer

    def tell(self, script: Script | None, keys: Sequence[str], values: Sequence[Value]) -> None:
        """Have a script run with the next question, or a moment later; nobody waits. It is not while Redis is away."""
        if script is None or self._clock() < self._silent_until:
            return
        script.soon(keys, values)
        self._untold.set()
        if not self._is_started:
            self._flush()

    def start(self, spawn: Callable[[Callable[[], None]], object]) -> None:
        """From now on `tell` waits for nothing, by a greenlet or thread that `spawn` makes."""
        self._is_started = True
        spawn(self._flush_forever)

    def _flush_forever(self) -> None:
        while not self._closed.is_set():
            self._untold.wait()
            self._closed.wait(TELL_S)
            self._flush()

    def _flush(self) -> None:
        self._untold.clear()
        if self._lines is not None:
            flush = self._lines.flush
            self.ask(lambda _: flush())

    def close(self) -> None:
        """Tell the rest, and close every connection."""
        self._closed.set()
        self._flush()
        self._untold.set()
        if self._client is not None and self._lines is not None:
            self._lines.close()
            self._client.close()

    def _lost(self, error: Exception) -> None:
        self._silent_until = self._clock() + PAUSE_S
        if not self._is_lost:
            self._is_lost = True
            self.losses += 1
            log.warning("limits.redis.lost", extra={"reason": str(error), "instead": "stricter limits per process"})


def keyed(*parts: Any) -> str:
    """Return the Redis key made of these parts."""
    return ":".join(("eider", *map(str, parts)))
