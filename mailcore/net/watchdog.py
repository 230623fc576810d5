"""Notices when one greenlet holds up all others, and logs where it is."""

from __future__ import annotations

import logging
import sys
import traceback
from typing import Any

import gevent
from gevent import monkey

from mailcore import metrics

BLOCKED_S = 0.5

logger = logging.getLogger(__name__)


class Watchdog:
    """A real thread that expects a heartbeat from the loop twice in BLOCKED_S; a bare timer costs least."""

    def __init__(self) -> None:
        """Start watching the loop of this thread."""
        self._beats = 0
        self._heart: Any = gevent.get_hub().loop.timer(BLOCKED_S / 2, BLOCKED_S / 2, ref=False)
        self._heart.start(self._beat)
        self._watched = monkey.get_original("_thread", "get_ident")()
        self._sleep = monkey.get_original("time", "sleep")
        monkey.get_original("_thread", "start_new_thread")(self._watch, ())

    def stop(self) -> None:
        """Stop watching."""
        self._heart.close()
        self._beats = -1

    def _beat(self) -> None:
        self._beats += 1

    def _watch(self) -> None:
        while True:
            before = self._beats
            self._sleep(BLOCKED_S)
            if self._beats < 0:
                return
            if before and self._beats == before:
                self._report(before)

    def _report(self, before: int) -> None:
        """Log the stack once for each time the loop stands still."""
        metrics.LOOP_BLOCKED.inc()
        frame = sys._current_frames().get(self._watched)  # noqa: SLF001 - the only way to see another thread's stack
        stack = traceback.format_stack(frame)[-12:] if frame is not None else []
        logger.warning("loop.blocked", extra={"stack": stack})
        while self._beats == before:
            self._sleep(BLOCKED_S / 4)
