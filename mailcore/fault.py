"""Named points at which a test may make this process fail.

`hit` does nothing unless a test launcher installed a table; shipped code has no switch for it.
"""

from __future__ import annotations

from collections.abc import Callable

_table: dict[str, Callable[[], None]] = {}


def hit(name: str) -> None:
    """Pass the point `name` ("delivery.after_blob"); run what a test installed there."""
    if _table:
        action = _table.get(name)
        if action is not None:
            action()


def install(table: dict[str, Callable[[], None]]) -> None:
    """Replace the table of actions; an empty one disarms every point."""
    _table.clear()
    _table.update(table)
