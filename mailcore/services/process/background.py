"""Work in the background that a process cannot do without."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any, Final

log = logging.getLogger(__name__)

BEGIN_ANEW_S: Final = 1.0

Work = Callable[[], None]
Spawn = Callable[[Work], Any]


def keeping_up(spawn: Spawn) -> Spawn:
    """Return a `spawn` whose work begins anew after a fault that nobody foresaw, until it returns by itself."""

    def spawn_kept_up(work: Work) -> Any:
        return spawn(lambda: _keep_up(work))

    return spawn_kept_up


def _keep_up(work: Work) -> None:
    while True:
        try:
            return work()
        except Exception:
            log.exception("background.failed")
            time.sleep(BEGIN_ANEW_S)
