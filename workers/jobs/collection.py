"""Sweeping up what crashed deliveries, uploads and runs left behind."""

from __future__ import annotations

import logging

from mailcore.errors import MailError
from workers.context import JobContext

log = logging.getLogger(__name__)


def sweep_all(context: JobContext) -> None:
    """Start the sweeps of each shard."""
    for shard in context.services.shards.list_all():
        context.enqueue("collection.messages", shard=shard.name)
        context.enqueue("collection.blobs", shard=shard.name)


def sweep_messages(context: JobContext, shard: str) -> None:
    """Remove messages that no mailbox ever named; one user that fails does not hold up the others."""
    for user_id in context.services.retention.users_stored(shard):
        try:
            context.services.retention.collect(user_id, sweep=True)
        except MailError as error:
            log.warning("collection.user.failed", extra={"user": str(user_id), "reason": type(error).__name__})


def sweep_blobs(context: JobContext, shard: str) -> None:
    """Remove references without owner, blobs without reference and chunks without header."""
    context.services.retention.sweep_blobs(shard)
