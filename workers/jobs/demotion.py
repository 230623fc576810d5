"""Moving content that waits on the hot sets to the cold ones."""

from __future__ import annotations

from bson import ObjectId

from mailcore.model.ids import TenantId
from workers.context import JobContext


def demote_all(context: JobContext) -> None:
    """Start a run for each shard."""
    for shard in context.services.shards.list_all():
        context.enqueue("demotion.shard", shard=shard.name)


def demote_shard(context: JobContext, shard: str) -> None:
    """Move what is due, until nothing is or the cold set is away."""
    while context.services.retention.demote(shard):
        pass


def redate(context: JobContext, tenant_id: str) -> int:
    """Let what waits follow the tenant's choice of how long, and return how many attachments that is about."""
    return context.services.retention.redate(TenantId(ObjectId(tenant_id)))
