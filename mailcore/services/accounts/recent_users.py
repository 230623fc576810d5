"""Users as logins read them a moment ago: who connects many times at once is read once (decision 41).

Whose password was verified within the last minute is let in again by what was read of the user within the last second.
So what ended a right to be signed in is known to logins at once in the process that did it, when the notice arrives in
others, and after a second wherever no notice did. What may be stale is always that of the session, too: it is opened
with the `auth_version` that was read, and ended by the same looks as one whose login was under way.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from threading import Lock
from typing import Final

from bson import ObjectId

from mailcore.model.ids import UserId
from mailcore.store.directory.users import Credentials
from mailcore.store.placement import Placement

GOOD_FOR_S: Final = 1.0
"""Counted from before the reading."""
MAX_KNOWN: Final = 2000


class RecentUsers:
    """Finds users for logins whose password needs no hash any more; what is kept has no hash."""

    def __init__(self, placement: Placement, clock: Callable[[], float] = time.monotonic) -> None:
        self._placement = placement
        self._clock = clock
        self._known: OrderedDict[UserId, tuple[float, Credentials]] = OrderedDict()
        """Until when it is good, in the order of that."""
        self._forgotten = 0
        """How often something was forgotten: a reading that was under way then may be of before the change."""
        self._lock = Lock()

    def find(self, user_id: UserId) -> Credentials | None:
        """Return a user as read at most a second ago, None if there is none; no round trip if known, else one.

        Raises:
            StoreUnavailable: the directory did not answer.
        """
        at = self._clock()
        known = self._known.get(user_id)
        if known is not None and at < known[0]:
            return known[1]
        forgotten = self._forgotten
        found = self._placement.find_credentials(user_id)
        if found is not None:
            self._remember(user_id, at + GOOD_FOR_S, replace(found, password_hash=None, temporary=None), forgotten)
        return found

    def forget(self, owner_id: UserId | ObjectId) -> None:
        """Read a user anew next time, and believe no reading that is under way; of tenants nothing is kept here."""
        with self._lock:
            self._forgotten += 1
            self._known.pop(UserId(owner_id), None)

    def _remember(self, user_id: UserId, good_until: float, found: Credentials, forgotten: int) -> None:
        with self._lock:
            if forgotten != self._forgotten:
                return
            self._known[user_id] = good_until, found
            self._known.move_to_end(user_id)
            at = self._clock()
            while self._known and (len(self._known) > MAX_KNOWN or at >= next(iter(self._known.values()))[0]):
                self._known.popitem(last=False)
