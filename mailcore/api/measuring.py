"""How many requests there are and how long they take, by what the table calls them: never by what a client wrote."""

from __future__ import annotations

from typing import Final

from mailcore import metrics

UNKNOWN: Final = "unknown"
"""A path or method that no operation has."""


def count(name: str, status: int, took_s: float) -> None:
    """Count a request and the time until its answer began; a body that follows is not timed.

    Args:
        name: of the operation or page of documentation, of which there are as many as are routed; "" for none.
        status: of the answer.
        took_s: seconds.
    """
    metrics.API_SECONDS.labels(name or UNKNOWN, str(status)).observe(took_s)
