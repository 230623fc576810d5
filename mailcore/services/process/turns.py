"""Turns: who wants the same thing waits for one another within a process, whoever wants another thing does not."""

from __future__ import annotations

import threading
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

from mailcore.errors import MailError

Key = TypeVar("Key", bound=Hashable)


class Turns(Generic[Key]):
    """A queue for each key that somebody waits for; no memory for others."""

    def __init__(self) -> None:
        self._queues: dict[Key, tuple[threading.Lock, int]] = {}
        self._lock = threading.Lock()

    @contextmanager
    def take(self, key: Key, wait_s: float, too_late: MailError) -> Iterator[None]:
        """Wait for the turn of a key.

        Raises:
            too_late: it did not come in time.
        """
        with self._lock:
            queue, waiting = self._queues.get(key, (None, 0))
            queue = queue or threading.Lock()
            self._queues[key] = queue, waiting + 1
        try:
            if not queue.acquire(timeout=wait_s):
                raise too_late
            try:
                yield
            finally:
                queue.release()
        finally:
            with self._lock:
                queue, waiting = self._queues[key]
                if waiting == 1:
                    del self._queues[key]
                else:
                    self._queues[key] = queue, waiting - 1
