"""The port through which services hand off work that would hold up every other connection."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

Result = TypeVar("Result")


class Offload(Protocol):
    """Runs long work off the event loop, and lets others run in between short work."""

    def run(self, function: Callable[[], Result]) -> Result:
        """Run `function` in a thread and return its result; for what takes over 5 ms."""
        ...

    def pause(self) -> None:
        """Let other connections of this process run."""
        ...


class InlineOffload:
    """Does the work at once: for command line tools, workers and tests."""

    def run(self, function: Callable[[], Result]) -> Result:
        """Call `function` here."""
        return function()

    def pause(self) -> None:
        """Nobody waits."""
