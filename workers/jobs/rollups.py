"""Sums for charts: what became of mail and sign-ins, and what mail takes."""

from __future__ import annotations

from workers.context import JobContext


def sum_up_all(context: JobContext) -> None:
    """Start a run for each shard."""
    for shard in context.services.shards.list_all():
        context.enqueue("rollups.shard", shard=shard.name)


def sum_up_shard(context: JobContext, shard: str) -> int:
    """Sum up what was counted for the tenants of a shard, and return for how many days of theirs."""
    return context.services.rollups.sum_up(shard)


def measure(context: JobContext) -> int:
    """Note what the mail of tenants takes, and return of how many."""
    return context.services.rollups.measure()
