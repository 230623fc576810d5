"""What becomes of an organisation that is not paid for, step by step; nothing of it is stored.

Mail comes in at every stage, and the export of all data stays open until the last day of the last.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from mailcore.model.tenant import Standing


class Stage(StrEnum):
    """How far it has come."""

    ACTIVE = "active"
    GRACE = "grace"
    """Everything works; the portal says what is due."""
    SENDING_OFF = "sending_off"
    READ_ONLY = "read_only"
    CLOSED = "closed"
    """Nobody signs in to mail; the owner exports."""


@dataclass(frozen=True, slots=True)
class Step:
    """A stage and when it begins, counted from the day that was not paid."""

    stage: Stage
    after: timedelta


STEPS: Final = (
    Step(Stage.GRACE, timedelta(0)),
    Step(Stage.SENDING_OFF, timedelta(days=7)),
    Step(Stage.READ_ONLY, timedelta(days=14)),
    Step(Stage.CLOSED, timedelta(days=30)),
)
EXPORT_KEPT: Final = timedelta(days=90)
"""So long after that day the data is there to be exported."""
STANDINGS: Final = {
    Stage.ACTIVE: Standing.FULL,
    Stage.GRACE: Standing.FULL,
    Stage.SENDING_OFF: Standing.NO_SENDING,
    Stage.READ_ONLY: Standing.READ_ONLY,
    Stage.CLOSED: Standing.CLOSED,
}
"""What each leaves the organisation's users."""


def stage_at(unpaid_since: datetime | None, now: datetime) -> Stage:
    """Return the stage at an instant; None: everything is paid."""
    if unpaid_since is None or now < unpaid_since:
        return Stage.ACTIVE
    return [step.stage for step in STEPS if now >= unpaid_since + step.after][-1]


def next_step(unpaid_since: datetime | None, now: datetime) -> tuple[Stage, datetime] | None:
    """Return which stage comes next and when; None: none does."""
    if unpaid_since is None:
        return None
    coming = [(step.stage, unpaid_since + step.after) for step in STEPS if unpaid_since + step.after > now]
    return coming[0] if coming else None
