"""The `Offload` of processes that run gevent: a small thread pool beside the loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

import gevent
from gevent.threadpool import ThreadPool

from mailcore.errors import ServerBusy

Result = TypeVar("Result")


class GeventOffload:
    """Runs long work in threads; refuses it when too much waits already."""

    def __init__(self, threads: int = 2, waiting: int = 64) -> None:
        """Run up to `threads` at once and let up to `waiting` more wait."""
        self._pool = ThreadPool(threads)
        self._allowed = threads + waiting
        self._taken = 0

    def run(self, function: Callable[[], Result]) -> Result:
        """Run `function` in a thread while other greenlets go on, and return its result.

        Raises:
            ServerBusy: the queue is full.
        """
        if self._taken >= self._allowed:
            raise ServerBusy("offload", self._taken)
        self._taken += 1
        try:
            return cast("Result", self._pool.apply(function))
        finally:
            self._taken -= 1

    def pause(self) -> None:
        """Let every other greenlet that is ready run."""
        gevent.sleep(0)
