"""Quotas: what a user's mail takes, and whether more fits."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from mailcore.errors import OverQuota
from mailcore.model.ids import UserId
from mailcore.services.tenants.pool_room import PoolRoom
from mailcore.store.placement import Placement

CACHE_S: Final = 30.0
FRESH_ABOVE: Final = 0.8
SHARE: Final = 16
"""On one reading a process lets in one part in so many of the room there was: others let in as well meanwhile."""
PATIENCE_S: Final = 5.0
MAX_CACHED: Final = 100_000


class _Hold:
    """What is held of a user's room by this process."""

    __slots__ = ("changed", "size_bytes", "users")

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.size_bytes = 0
        self.users = 0
        """Who holds some, or waits for it."""


class Quotas:
    """A user's use is the sum of the sizes of the user's mailboxes: nothing is counted twice or forgotten."""

    def __init__(self, placement: Placement, clock: Callable[[], float] = time.monotonic) -> None:
        self._placement = placement
        self._clock = clock
        self._known: dict[UserId, tuple[float, int, int]] = {}
        """Until when it may be used, bytes in use as far as known, and how much more may be let in on that."""
        self._holds: dict[UserId, _Hold] = {}
        self._lock = threading.Lock()
        self._pool_room = PoolRoom(placement)

    def use(self, user_id: UserId, *, fresh: bool = False) -> int:
        """Return the bytes in use, at most 30 s old; one round trip unless known.

        Raises:
            UserNotFound: there is no such user.
            StoreUnavailable: the shard did not answer.
        """
        now = self._clock()
        known = self._known.get(user_id)
        if known is not None and now < known[0] and not fresh:
            return known[1]
        hold = self._holds.get(user_id)
        held = hold.size_bytes if hold is not None else 0  # looked at first: what is committed meanwhile counts twice
        used = self._placement.home(user_id).shard.heads.user_bytes(user_id) + held
        if len(self._known) >= MAX_CACHED:
            self._known.clear()
        room = max((self.limit(user_id) or 0) - used, 0)
        self._known[user_id] = (now + CACHE_S, used, room // SHARE)
        return used

    def limit(self, user_id: UserId) -> int | None:
        """Return the bytes a user may use, None if there is no limit."""
        return self._placement.home(user_id).quota_bytes

    def check(self, user_id: UserId, incoming_bytes: int) -> None:
        """Make sure that so many bytes more fit into the user's quota and the tenant's pool.

        For the quota the database is asked afresh above 80 %, and for much at once.
        So of any number of processes none lets in what does not fit, but for what each is about to commit.

        Raises:
            OverQuota: they do not fit.
        """
        if self.limit(user_id) is not None:
            self._check_quota(user_id, incoming_bytes)
        self._check_pool(user_id, incoming_bytes)

    @contextmanager
    def reserved(self, user_id: UserId, incoming_bytes: int) -> Iterator[None]:
        """Hold room for what is about to be committed: however many do so at once in a process, all that is held fits.

        Who finds no room waits, a few seconds at most, for others to commit what they hold, or not.

        Raises:
            OverQuota: they do not fit.
        """
        if self.limit(user_id) is None:
            self._check_pool(user_id, incoming_bytes)
            yield
            return
        with self._lock:
            hold = self._holds.setdefault(user_id, _Hold())
            hold.users += 1
        try:
            with hold.changed:
                self._take_hold(user_id, incoming_bytes, hold)
            try:
                yield
            finally:
                with hold.changed:
                    hold.size_bytes -= incoming_bytes
                    hold.changed.notify_all()
        finally:
            with self._lock:
                hold.users -= 1
                if not hold.users:
                    del self._holds[user_id]

    def _take_hold(self, user_id: UserId, incoming_bytes: int, hold: _Hold) -> None:
        until = self._clock() + PATIENCE_S
        while True:
            try:
                self.check(user_id, incoming_bytes)
            except OverQuota:
                if not hold.size_bytes or not hold.changed.wait(max(until - self._clock(), 0)):
                    raise
            else:
                hold.size_bytes += incoming_bytes
                return

    def _check_quota(self, user_id: UserId, incoming_bytes: int) -> None:
        limit = self.limit(user_id) or 0
        used = self.use(user_id)
        known = self._known.get(user_id)
        if used + incoming_bytes > limit * FRESH_ABOVE or known is None or incoming_bytes > known[2]:
            used = self.use(user_id, fresh=True)
            known = self._known.get(user_id)
        if used + incoming_bytes > limit:
            raise OverQuota(user_id, used, limit)
        if known is not None:
            self._known[user_id] = (known[0], used + incoming_bytes, known[2] - incoming_bytes)

    def _check_pool(self, user_id: UserId, incoming_bytes: int) -> None:
        self._pool_room.take(self._placement.home(user_id), incoming_bytes)

    def forget(self, user_id: UserId) -> None:
        """Ask the database next time: much was removed or added."""
        self._known.pop(user_id, None)
