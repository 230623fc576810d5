"""HOLDFOR and HOLDUNTIL: when a message may leave (RFC 4865 §4)."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from mailcore.errors import SyntaxFault

LONGEST_HOLD_S = 60 * 24 * 3600
"""So long a message may wait; announced with FUTURERELEASE."""

_DATE_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)")


def announcement(now: datetime) -> str:
    """Return the line of EHLO: the longest interval, and the latest instant."""
    latest = now.astimezone(UTC) + timedelta(seconds=LONGEST_HOLD_S)
    return f"FUTURERELEASE {LONGEST_HOLD_S} {latest:%Y-%m-%dT%H:%M:%SZ}"


def parse_hold_for(value: str | None) -> int:
    """Read the value of HOLDFOR: seconds, at most the announced interval.

    Raises:
        SyntaxFault: it is none, or too long.
    """
    if value is None or re.fullmatch(r"[1-9][0-9]{0,8}", value) is None or int(value) > LONGEST_HOLD_S:
        raise SyntaxFault(f"HOLDFOR is 1 to {LONGEST_HOLD_S} seconds")
    return int(value)


def parse_hold_until(value: str | None, now: datetime) -> datetime:
    """Read the value of HOLDUNTIL: a date-time of RFC 3339; what has passed means at once.

    Raises:
        SyntaxFault: it is none, or too late.
    """
    if value is None or _DATE_TIME.fullmatch(value) is None:
        raise SyntaxFault("HOLDUNTIL is a date and time with its offset")
    try:
        until = datetime.fromisoformat(value).astimezone(UTC)
    except (ValueError, OverflowError):
        raise SyntaxFault("no such date and time") from None
    if until - now > timedelta(seconds=LONGEST_HOLD_S):
        raise SyntaxFault("HOLDUNTIL is too far away")
    return until
