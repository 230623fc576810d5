"""Sizes as people write them."""

from __future__ import annotations

import re

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_SIZE = re.compile(r"([0-9]{1,15})(?:\.([0-9]{1,3}))?\s*([KMGT]?)(?:I?B)?", re.ASCII | re.IGNORECASE)
MAX_SIZE_BYTES = 1 << 60


def parse_size(text: str) -> int:
    """Return the bytes that "5G", "1.5 GiB" or "4096" stands for; units are powers of 1024.

    Raises:
        ValueError: it is not a size.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a size: write a number with K, M, G or T, such as 5G")
    unit = _UNITS[match[3].upper()]
    fraction = match[2] or "0"
    size: int = int(match[1]) * unit + int(fraction) * unit // 10 ** len(fraction)
    if size > MAX_SIZE_BYTES:
        raise ValueError(f"{text!r} is more than can be stored")
    return size


def format_size(size_bytes: int) -> str:
    """Return the size in the largest fitting unit with at most one decimal: "1.5 GiB"."""
    for unit, name in ((1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if size_bytes >= unit:
            return f"{size_bytes / unit:.1f}".removesuffix(".0") + f" {name}"
    return f"{size_bytes} B"
