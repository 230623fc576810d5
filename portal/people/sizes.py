"""Amounts of storage as people write them."""

from __future__ import annotations

from mailcore.model.quota import parse_size


def size_of(text: str) -> int | None:
    """Return the bytes of a size, a number alone being gigabytes and a comma a point; None where nothing is written.

    Raises:
        ValueError: it is none, or nothing at all.
    """
    text = text.strip().replace(",", ".")
    if not text:
        return None
    size_bytes = parse_size(text) * (1 << 30 if text.replace(".", "", 1).isdecimal() else 1)
    if size_bytes <= 0:
        raise ValueError(text)
    return size_bytes


def written(size_bytes: int | None) -> str:
    """Return a size as it can be written again, in gigabytes where that is exact enough."""
    if size_bytes is None:
        return ""
    gigabytes = size_bytes / (1 << 30)
    if gigabytes >= 1 or size_bytes % (1 << 20):
        return f"{gigabytes:.2f}".rstrip("0").rstrip(".") + " GB"
    return f"{size_bytes >> 20} MB"
