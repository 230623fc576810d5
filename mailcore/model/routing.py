"""What an address may stand for besides a user: a forwarded address, a group."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TypeAlias

from bson import ObjectId

from mailcore.model.address_data import NO_DATA, AddressData
from mailcore.model.ids import TenantId, UserId
from mailcore.model.tenant import AddressRoute

POSTMASTER = "postmaster"
RESERVED = frozenset({POSTMASTER, "abuse"})
"""Local parts that reach somebody in every domain (RFC 5321 §4.5.1, RFC 2142)."""


class Posters(StrEnum):
    """Whose mail a group takes."""

    ANYONE = "anyone"
    TENANT = "tenant"
    """Senders in a domain of the group's tenant."""
    MEMBERS = "members"


@dataclass(frozen=True, slots=True)
class ForwardedAutoreply:
    """What a forwarded address answers; no text is no answer."""

    is_on: bool = True
    start: datetime | None = None
    end: datetime | None = None
    name: str = ""
    subject: str = ""
    text: str = ""
    html: str = ""


@dataclass(frozen=True, slots=True)
class ForwardedAddress:
    """An address without a mailbox; its mail goes on to `targets`."""

    id: ObjectId
    tenant_id: TenantId
    display: str
    canonical: str
    created_at: datetime
    targets: tuple[str, ...]
    """Addresses, here or elsewhere, with the domain as A-labels."""
    name: str = ""
    forwards_per_day: int = 0
    """Messages that leave for elsewhere; 0 is as many as the platform allows."""
    autoreply: ForwardedAutoreply | None = None
    is_disabled: bool = False
    """Mail is refused."""
    data: AddressData = NO_DATA


@dataclass(frozen=True, slots=True)
class Group:
    """An address whose mail goes to every member."""

    id: ObjectId
    tenant_id: TenantId
    display: str
    canonical: str
    created_at: datetime
    members: tuple[str, ...]
    """Addresses, here or elsewhere, with the domain as A-labels."""
    name: str = ""
    posters: Posters = Posters.ANYONE
    moderators: tuple[UserId, ...] = ()
    """Who decides about each post before members get it; nobody: they get it at once."""


Entry: TypeAlias = AddressRoute | ForwardedAddress | Group
"""What stands behind a canonical form."""


def onward(entry: ForwardedAddress | Group) -> tuple[str, ...]:
    """Return the addresses to which mail for an entry goes on."""
    return entry.members if isinstance(entry, Group) else entry.targets
