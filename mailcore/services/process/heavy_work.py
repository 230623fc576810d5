"""A user's share of a process: what reads a whole mailbox runs one at a time for each user, however many sessions ask.

The loop is shared by pauses between pieces of work, so each runner has an equal part of it; one
runner for each user makes that an equal part for each user.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from mailcore.errors import ServerBusy
from mailcore.model.ids import UserId

WAIT_S: Final = 60.0
"""Who waits longer for the other sessions of the same user is told to come back."""


class HeavyWork:
    """Turns at heavy work, by user."""

    def __init__(self, wait_s: float = WAIT_S) -> None:
        self._wait_s = wait_s
        self._queues: dict[UserId, tuple[threading.Lock, int]] = {}
        self._lock = threading.Lock()

    @contextmanager
    def turn(self, user_id: UserId) -> Iterator[None]:
        """Wait until no other heavy work of this user runs here.

        Raises:
            ServerBusy: it took too long.
        """
        with self._lock:
            queue, waiting = self._queues.get(user_id, (None, 0))
            queue = queue or threading.Lock()
            self._queues[user_id] = queue, waiting + 1
        try:
            if not queue.acquire(timeout=self._wait_s):
                raise ServerBusy("heavy work", user_id)
            try:
                yield
            finally:
                queue.release()
        finally:
            with self._lock:
                queue, waiting = self._queues[user_id]
                if waiting == 1:
                    del self._queues[user_id]
                else:
                    self._queues[user_id] = queue, waiting - 1
