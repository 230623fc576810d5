"""What is counted for a tenant, and what sums of it are made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

HOUR_S: Final = 3600
DAY_S: Final = 24 * HOUR_S
AGE_DAYS: Final = 30
"""How long the months are that the age of attachments is told in."""
AGES: Final = 36
"""So many months are told apart; what is older is of the last one."""

Counts = Mapping[str, int]
"""Number by name of what was counted."""


class Counted(StrEnum):
    """What became of messages, counted once for each address they are for."""

    DELIVERED = "in:delivered"
    SPAM = "in:spam"
    """Of those delivered, what the filter takes for spam."""
    UNKNOWN = "in:unknown"
    """Refused: nobody has the address."""
    FULL = "in:full"
    """Refused, at first for now: no room."""
    REFUSED = "in:refused"
    """Refused for any other reason."""
    DEFERRED = "in:deferred"
    """Told to come again."""
    QUEUED = "out:queued"
    SENT = "out:sent"
    FAILED = "out:failed"
    HELD = "out:held"
    COMPLAINED = "out:complained"


def sign_in(protocol: str, *, right: bool) -> str:
    """Return under which name sign-ins by a protocol are counted."""
    return f"sign_in:{protocol}:{'right' if right else 'wrong'}"


def hour_of(at: datetime) -> int:
    """Return the number of the hour that an instant lies in."""
    return int(at.timestamp()) // HOUR_S


def start_of(hour: int) -> datetime:
    """Return when an hour begins."""
    return datetime.fromtimestamp(hour * HOUR_S, UTC)


@dataclass(frozen=True, slots=True)
class Sum:
    """What was counted in an hour or a day that begins at an instant."""

    at: datetime
    counts: Counts


@dataclass(frozen=True, slots=True)
class Stored:
    """What a tenant's mail took when it was last measured on a day.

    Attributes:
        hot_bytes: on SSD, as users are counted.
        cold_bytes: attachments on HDD, each once for the tenant.
        waiting: of attachments that lie on SSD and may leave it, the bytes by months of `AGE_DAYS` since they came.
        at: when it was measured.
    """

    day: datetime
    hot_bytes: int
    cold_bytes: int
    waiting: tuple[int, ...]
    at: datetime

    def older_than(self, months: int) -> int:
        """Return the bytes on SSD that would leave it if nothing older might stay."""
        return sum(self.waiting[months:])
