"""Patterns of a query that are made of a client's text: every character of it stands for itself."""

from __future__ import annotations

import re


def part(text: str) -> re.Pattern[str]:
    """Return what matches wherever this text stands, whatever its case."""
    return re.compile(re.escape(str(text)), re.IGNORECASE)


def whole(text: str) -> re.Pattern[str]:
    """Return what matches this text and nothing more, whatever its case."""
    return re.compile(rf"\A{re.escape(str(text))}\Z", re.IGNORECASE)
