"""Who may send as whom, and how much may be sent."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from bson import ObjectId

from mailcore.model.ids import TenantId, UserId


class ForeignSender(StrEnum):
    """What becomes of mail that names a sender which is not the user's."""

    REFUSE = "refuse"
    REWRITE = "rewrite"
    """Envelope and From get the user's main address; what stood there is kept in `X-Original-From`."""


@dataclass(frozen=True, slots=True)
class SendAsGrant:
    """A user may send as an address that is not its own: somebody else's, or a group's."""

    id: ObjectId
    tenant_id: TenantId
    user_id: UserId
    address_id: ObjectId
    """The entry itself: given up and made anew, the address is another's."""
    address: str
    created_at: datetime


def matches(pattern: str, address: str) -> bool:
    """Whether an address is meant by an entry of a user's whitelist: itself, or one "*" at an end; case counts not."""
    pattern, address = pattern.casefold(), address.casefold()
    if pattern.endswith("*"):
        return address.startswith(pattern[:-1])
    return address.endswith(pattern[1:]) if pattern.startswith("*") else address == pattern
