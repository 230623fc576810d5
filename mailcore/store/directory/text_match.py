"""Patterns of a query that are made of a client's text: every character of it stands for itself."""

from __future__ import annotations

import re


def part(text: str) -> re.Pattern[str]:
    """Return what matches wherever this text stands, whatever its case."""
    return re.compile(_escaped(text), re.IGNORECASE)


def whole(text: str) -> re.Pattern[str]:
    """Return what matches this text and nothing more, whatever its case."""
    return re.compile(rf"\A{_escaped(text)}\Z", re.IGNORECASE)


def _escaped(text: str) -> str:
    """NUL too, which the database takes in no pattern."""
    return re.escape(str(text)).replace("\0", r"\x00")
