"""Notices when one greenlet holds up all others, and logs where it is."""

from __future__ import annotations

import logging
import sys
import traceback
from types import FrameType
from typing import Any

import gevent
from gevent import monkey

from mailcore import metrics

BLOCKED_S = 0.5
REST_S = 1.0
"""Between two looks at a loop that rests; who holds it up then is seen after as long and BLOCKED_S more at most."""

logger = logging.getLogger(__name__)


class Watchdog:
    """A real thread that looks at the loop from outside, so that a loop at rest need not wake for it.

    A loop stands still if it has not come round since the last look and is not waiting for events either.
    """

    def __init__(self) -> None:
        """Start watching the loop of this thread."""
        hub = gevent.get_hub()
        self._loop: Any = hub.loop
        self._rest = type(hub).run.__code__
        self._stopped = False
        self._watched = monkey.get_original("_thread", "get_ident")()
        self._sleep = monkey.get_original("time", "sleep")
        monkey.get_original("_thread", "start_new_thread")(self._watch, ())

    def stop(self) -> None:
        """Stop watching."""
        self._stopped = True

    def _watch(self) -> None:
        before, last = None, None
        while not self._stopped:
            turn, frame = self._loop.iteration, self._busy()
            rests = frame is None and turn == last
            if frame is not None and turn == before:
                self._report(turn, frame)
            before, last = turn if frame is not None else None, turn
            del frame  # a frame holds what is in it
            self._sleep(REST_S if rests else BLOCKED_S)

    def _busy(self) -> FrameType | None:
        """Return what the loop's thread is at, None if it waits for events."""
        frame = sys._current_frames().get(self._watched)  # noqa: SLF001 - the only way to see another thread's stack
        return None if frame is None or frame.f_code is self._rest else frame

    def _report(self, turn: int, frame: FrameType) -> None:
        """Log the stack once for each time the loop stands still."""
        metrics.LOOP_BLOCKED.inc()
        logger.warning("loop.blocked", extra={"stack": traceback.format_stack(frame)[-12:]})
        while self._loop.iteration == turn and self._busy() is not None and not self._stopped:
            self._sleep(BLOCKED_S / 4)
