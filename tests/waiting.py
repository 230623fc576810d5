"""Waiting for what other threads and processes do: until it is so, and never for a fixed time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Seen = TypeVar("Seen")
PAUSE_S = 0.02


def wait_until(
    look: Callable[[], Seen],
    seconds: float = 30.0,
    said: Callable[[], object] = lambda: "",
    pause: Callable[[float], None] = time.sleep,
) -> Seen:
    """Look again and again and return the first that is true; AssertionError with what `said` returns if none is.

    `seconds` is how long nothing may be seen, not how long it takes. Tests under gevent give its sleep as `pause`.
    """
    ends_at = time.monotonic() + seconds
    while not (seen := look()):
        assert time.monotonic() < ends_at, f"not within {seconds:g} s: {said()}"
        pause(PAUSE_S)
    return seen
