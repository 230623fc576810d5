"""Destroying expunged messages whose time is over."""

from __future__ import annotations

import logging

from bson import ObjectId

from mailcore.errors import MailError
from mailcore.model.ids import UserId
from workers.context import JobContext

log = logging.getLogger(__name__)


def collect_all(context: JobContext) -> None:
    """Start a run for each shard."""
    for shard in context.services.shards.list_all():
        context.enqueue("retention.shard", shard=shard.name)


def collect_shard(context: JobContext, shard: str) -> None:
    """Collect the users of a shard for whom something is due; one that fails does not hold up the others."""
    for user_id in context.services.retention.users_due(shard):
        try:
            context.services.retention.collect(user_id)
        except MailError as error:
            log.warning("retention.user.failed", extra={"user": str(user_id), "reason": type(error).__name__})


def collect_user(context: JobContext, user_id: str, sweep: bool = False) -> None:
    """Collect one user; with `sweep` what crashed deliveries left as well."""
    context.services.retention.collect(UserId(ObjectId(user_id)), sweep=sweep)
