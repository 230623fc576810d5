"""What is measured of the platform for its own charts, and how several measurements become one number."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Final

Numbers = Mapping[str, int]
"""By `named`."""


class Measured(StrEnum):
    """Of a shard unless it says otherwise."""

    USERS = "users"
    HOT_BYTES = "hot_bytes"
    COLD_BYTES = "cold_bytes"
    OPERATIONS = "operations"
    """Of the hot set's primary."""
    LAG_S = "lag_s"
    """How far the last member of the hot set is behind."""
    AWAY = "away"
    """Measurements that found no primary."""
    WAITING = "waiting"
    """Entries of the outbound queue."""
    OLDEST_S = "oldest_s"
    TRIED = "tried"
    """Entries that were put off at least once."""
    QUEUED = "queued"
    """Jobs of a queue."""
    QUEUED_S = "queued_s"
    """How long the first of them has waited."""
    WORKERS = "workers"
    """Of the platform, as are all that follow."""
    JOBS_DONE = "jobs_done"
    JOBS_FAILED = "jobs_failed"
    HOLDS = "holds"
    REFUSED = "refused"
    """Messages, by day, of all tenants; so are the three that follow."""
    SENT = "sent"
    FAILED = "failed"
    COMPLAINED = "complained"


def _last(_before: int, number: int) -> int:
    return number


def _sum(before: int, number: int) -> int:
    return before + number


MERGED: Final[Mapping[Measured, Callable[[int, int], int]]] = {
    **dict.fromkeys(Measured, _last),
    Measured.OPERATIONS: _sum,
    Measured.AWAY: _sum,
    Measured.JOBS_DONE: _sum,
    Measured.JOBS_FAILED: _sum,
    **dict.fromkeys(
        (
            Measured.LAG_S, Measured.WAITING, Measured.OLDEST_S, Measured.TRIED,
            Measured.QUEUED, Measured.QUEUED_S, Measured.HOLDS,
        ),
        max,
    ),
}  # fmt: skip
"""What an hour or a day has of a measurement: the last, the most or the sum."""


def named(what: Measured, of: str = "") -> str:
    """Return under which name a number is kept."""
    return f"{what.value}:{of}"


def merged(before: Numbers, numbers: Numbers) -> dict[str, int]:
    """Return what an hour or a day has after another measurement."""
    result = dict(before)
    for name, number in numbers.items():
        merge = MERGED[Measured(name.partition(":")[0])]
        result[name] = merge(before[name], number) if name in before else number
    return result


def risen(before: Numbers, counters: Numbers) -> dict[str, int]:
    """Return by how much counters rose; what counts since its own start has begun anew where it is lower."""
    return {name: now - before[name] if before.get(name, now + 1) <= now else now for name, now in counters.items()}
