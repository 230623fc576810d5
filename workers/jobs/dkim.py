"""Keys of DKIM: made, looked for in DNS, and replaced."""

from __future__ import annotations

from mailcore.model.actor import SYSTEM
from workers.context import JobContext


def rotate(context: JobContext) -> None:
    """Do for every tenant's domains what is due; keys that have been published long enough take over."""
    after = None
    while tenants := context.services.tenants.list_all(after):
        for tenant in tenants:
            context.services.dkim_keys.rotate(SYSTEM, tenant.id)
        after = tenants[-1].id
