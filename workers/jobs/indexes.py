"""Indexes that a newer version of the program wants."""

from __future__ import annotations

import logging

from mailcore.errors import Unavailable
from workers.context import JobContext

log = logging.getLogger(__name__)


def ensure(context: JobContext) -> None:
    """Create what the directory and the shards lack; a shard that is away waits for the next time.

    Raises:
        StoreUnavailable: the directory does not answer.
    """
    shards = context.services.shards
    shards.ensure_directory_indexes()
    for shard in shards.list_all():
        try:
            shards.ensure_indexes(shard)
        except Unavailable as error:
            log.warning("indexes.waiting", extra={"shard": shard.name, "reason": str(error)})
