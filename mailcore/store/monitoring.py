"""pymongo's threads made to sleep: they look twice a second each whether they have to end.

That is most of what a process at rest costs. What a server says by itself (it is primary no more, it ended) is
heard as soon as ever, for the monitor waits on its line; so is what the driver tells the monitor. This is about
parts that pymongo keeps to itself: `tests/store/test_monitoring.py` says what is relied on.
"""

from __future__ import annotations

import contextlib
import socket
import time
import weakref
from typing import Any, Final

from pymongo import MongoClient, periodic_executor
from pymongo.errors import _OperationCancelled
from pymongo.hello import Hello
from pymongo.synchronous.monitor import Monitor

TIDY_S: Final = 10.0
"""Between two looks for cursors that nobody read to their end; mongod ends them by itself after ten minutes."""
LEAST_S: Final = 0.05


class PatientMonitor(Monitor):
    """Follows one server by the answers that it sends unasked, and sleeps in between.

    Round trips are not measured: nobody chooses between servers by them, writes and reads go to the primary.
    """

    _waits_on: Any = None

    def _start_rtt_monitor(self) -> None:
        """Measure nothing."""

    def cancel_check(self) -> None:
        """End the wait for an answer at once. Called while objects are collected: takes no locks."""
        super().cancel_check()
        waits_on = self._waits_on
        if waits_on is not None:
            with contextlib.suppress(OSError):
                waits_on.shutdown(socket.SHUT_RDWR)

    def _check_with_socket(self, conn: Any) -> tuple[Hello[Any], float]:
        if not conn.more_to_come:
            return super()._check_with_socket(conn)
        started = time.monotonic()
        seconds = conn.conn.gettimeout()
        self._wait_for_answer(conn, seconds)
        if seconds is None:
            return super()._check_with_socket(conn)
        conn.set_conn_timeout(max(seconds - (time.monotonic() - started), LEAST_S))
        try:
            return super()._check_with_socket(conn)
        finally:
            conn.set_conn_timeout(seconds)

    def _wait_for_answer(self, conn: Any, seconds: float | None) -> None:
        """Return when there is something to read, or the time is up.

        Raises:
            _OperationCancelled: the driver wants to begin anew.
        """
        line = conn.conn.sock
        if hasattr(line, "pending") and line.pending():
            return
        self._waits_on = line
        try:
            if not conn.cancel_context.cancelled:
                conn.socket_checker.select(line, read=True, timeout=seconds)
        finally:
            self._waits_on = None
        if conn.cancel_context.cancelled:
            raise _OperationCancelled("operation cancelled")


def calm(client: MongoClient[Any]) -> None:
    """Let the thread that tidies up after a client sleep longer; before the client's first use."""
    executor = client._kill_cursors_executor  # noqa: SLF001
    executor._interval = executor._min_interval = TIDY_S  # noqa: SLF001


def let_go(client: MongoClient[Any]) -> None:
    """Have the end of the process not wait until that thread has slept; after the client's end."""
    periodic_executor._EXECUTORS.discard(weakref.ref(client._kill_cursors_executor))  # noqa: SLF001
