"""Room on a set's disk, looked at now and then: mail is refused for now before MongoDB ends itself for want of it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from pymongo.database import Database

from mailcore.errors import StoreFull, StoreUnavailable
from mailcore.store.guard import deadline

log = logging.getLogger(__name__)

LOOK_S = 5.0
RESERVE_SHARE = 0.05
RESERVE_BYTES = 1 << 30
"""So much of the disk is kept for checkpoints, journals and what makes room: 5 % of it, 1 GiB at the most."""


class Room:
    """Whether new content may come to a set; flag changes, moves and deletions always may."""

    def __init__(self, database: Database[dict[str, Any]], clock: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._clock = clock
        self._look_at = 0.0
        self._is_short = False

    def check(self) -> None:
        """Let new content come; one round trip every LOOK_S at the most.

        Raises:
            StoreFull: the primary's disk has no more than the reserve left.
        """
        now = self._clock()
        if now >= self._look_at:
            self._look_at = now + LOOK_S
            self._look()
        if self._is_short:
            raise StoreFull(self._database.name)

    def _look(self) -> None:
        try:
            with deadline():
                stats = self._database.command("dbStats")
        except StoreUnavailable:
            return  # what comes next finds out for itself
        total, used = stats["fsTotalSize"], stats["fsUsedSize"]
        is_short = total - used < min(total * RESERVE_SHARE, RESERVE_BYTES)
        if is_short != self._is_short:
            self._is_short = is_short
            event = "store.room.short" if is_short else "store.room.back"
            log.warning(event, extra={"database": self._database.name, "total": int(total), "used": int(used)})
