"""Amounts of storage as people write and read them: units are powers of 1000, as pages show them."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final

MAX_BYTES: Final = 10**18
_UNITS: Final = {"": 10**9, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_SIZE: Final = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,6})?)\s*(?:([KMGT])I?B?)?", re.ASCII | re.IGNORECASE)


def size_of(text: str) -> int | None:
    """Return the bytes of a size, a number alone being gigabytes and a comma a point; None where nothing is written.

    Raises:
        ValueError: it is none, or nothing at all.
    """
    text = text.strip().replace(",", ".")
    if not text:
        return None
    found = _SIZE.fullmatch(text)
    size_bytes = int(Decimal(found[1]) * _UNITS[(found[2] or "").upper()]) if found is not None else 0
    if not 0 < size_bytes <= MAX_BYTES:
        raise ValueError(text)
    return size_bytes


def written(size_bytes: int | None) -> str:
    """Return a size as it can be written again, to the megabyte."""
    if size_bytes is None:
        return ""
    if size_bytes >= 10**9:
        return f"{size_bytes / 10**9:.3f}".rstrip("0").rstrip(".") + " GB"
    return f"{max(round(size_bytes / 10**6), 1)} MB"
