"""Reading everything and comparing it with what was accepted."""

from __future__ import annotations

import logging

from mailcore.errors import MailError
from workers.context import JobContext

log = logging.getLogger(__name__)


def scrub_all(context: JobContext) -> None:
    """Start a run for each shard."""
    for shard in context.services.shards.list_all():
        context.enqueue("scrub.shard", shard=shard.name)


def scrub_shard(context: JobContext, shard: str) -> int:
    """Verify every message of a shard and return how many are damaged; each is logged as an error."""
    damaged = 0
    for user_id in context.services.retention.users_stored(shard):
        try:
            found = context.services.content.scrub(user_id)
        except MailError as error:
            log.warning("scrub.user.failed", extra={"user": str(user_id), "reason": type(error).__name__})
            continue
        damaged += len(found)
        for oid in found:
            log.error("scrub.damaged", extra={"user": str(user_id), "message_oid": oid.hex()})
    return damaged
