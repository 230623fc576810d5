"""Keys of DKIM: made, looked for in DNS, and replaced."""

from __future__ import annotations

from collections.abc import Iterator

from mailcore.model.actor import SYSTEM
from mailcore.model.ids import TenantId
from workers.context import JobContext


def rotate(context: JobContext) -> None:
    """Do for every tenant's domains what is due; keys that have been published long enough take over."""
    for tenant_id in _tenants(context):
        context.services.dkim_keys.rotate(SYSTEM, tenant_id)


def check(context: JobContext) -> int:
    """Look at the authoritative servers for every tenant's keys, and return of how many what is known changed."""
    keys, look_up = context.services.dkim_keys, context.services.authoritative_dns.texts
    return sum(keys.check(SYSTEM, tenant_id, look_up) for tenant_id in _tenants(context))


def _tenants(context: JobContext) -> Iterator[TenantId]:
    after = None
    while tenants := context.services.tenants.list_all(after):
        for tenant in tenants:
            yield tenant.id
        after = tenants[-1].id
