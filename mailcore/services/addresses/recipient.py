"""Who receives mail for an address."""

from __future__ import annotations

from dataclasses import dataclass, field

from mailcore.model.ids import TenantId, UserId
from mailcore.store.placement import Home


@dataclass(frozen=True, slots=True)
class Recipient:
    """A user that mail to an address reaches."""

    user_id: UserId
    tenant_id: TenantId
    address: str
    """As the sender gave it, with its +label."""
    home: Home = field(repr=False)
