"""What the mail of every tenant takes."""

from __future__ import annotations

from workers.context import JobContext


def sum_up(context: JobContext) -> int:
    """Note what is used of every tenant's pool, and return of how many."""
    return context.services.pools.sum_up()
