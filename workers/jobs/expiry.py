"""Taking messages out of mailboxes that do not keep them for ever."""

from __future__ import annotations

import logging

from mailcore.model.actor import SYSTEM
from workers.context import JobContext

log = logging.getLogger(__name__)


def expire_all(context: JobContext) -> None:
    """Start a run for each shard."""
    for shard in context.services.shards.list_all():
        context.enqueue("expiry.shard", shard=shard.name)


def expire_shard(context: JobContext, shard: str) -> None:
    """Expunge what is due on a shard; it can be restored as long as what people delete."""
    log.info("expiry.done", extra={"shard": shard, "messages": context.services.expiry.run(SYSTEM, shard)})
