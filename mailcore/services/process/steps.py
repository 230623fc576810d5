"""Long work that says how far it is: a generator of (done, all), whose value is the result."""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

Result = TypeVar("Result")

Steps = Generator[tuple[int, int], None, Result]


def result_of(steps: Steps[Result]) -> Result:
    """Do all the work and return its result."""
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            result: Result = stop.value
            return result
