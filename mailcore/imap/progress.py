"""Tells a client that its command is still being worked on (INPROGRESS, RFC 9585)."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, TypeVar

from mailcore.imap.session import Session
from mailcore.imap.wire.responses import Progress

if TYPE_CHECKING:
    from mailcore.services.process.steps import Steps

Result = TypeVar("Result")

PROGRESS_S = 10.0
"""No more often than the RFC allows (§3)."""


def reported(session: Session, steps: Steps[Result]) -> Generator[Progress, None, Result]:
    """Do the work, and say every PROGRESS_S how much of it is done; return its result."""
    told_at = session.clock()
    while True:
        try:
            done, goal = next(steps)
        except StopIteration as stop:
            result: Result = stop.value
            return result
        if session.clock() - told_at >= PROGRESS_S and done < goal:
            told_at = session.clock()
            yield Progress(session.tag, done, goal)
