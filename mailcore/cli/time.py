"""Instants and lives on the command line: UTC, days."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime, timedelta

MAX_DAYS = 100 * 366


def add_life(parser: argparse.ArgumentParser) -> None:
    """Add when something ends."""
    parser.add_argument("--days", type=days, metavar="N", help="it ends after so many days; never unless given")
    parser.add_argument("--unused-days", type=days, metavar="N", help="it ends when unused for so many days")


def life_of(options: argparse.Namespace) -> tuple[datetime | None, timedelta | None]:
    """Return when it ends, and how long it lives unused."""
    ends_at = datetime.now(UTC) + options.days if options.days is not None else None
    return ends_at, options.unused_days


def day_of(instant: datetime) -> str:
    """Return the day as it is listed."""
    return f"{instant:%Y-%m-%d}"


def minute_of(instant: datetime | None) -> str:
    """Return the minute as it is listed; None is never."""
    return "never" if instant is None else f"{instant:%Y-%m-%d %H:%M}"


def days(text: str, least: int = 1) -> timedelta:
    """Read a number of days, for argparse."""
    if not text.isdecimal() or not least <= int(text) <= MAX_DAYS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of days")
    return timedelta(days=int(text))


def hours(text: str) -> timedelta:
    """Read a number of hours, for argparse."""
    try:
        found = timedelta(hours=float(text))
    except (ValueError, OverflowError):
        found = timedelta(0)
    if not timedelta(0) < found <= timedelta(days=MAX_DAYS):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of hours")
    return found
