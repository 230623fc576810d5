"""Events: what happened to a tenant's users, settings and mail, who did it, and how it ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Final, TypeAlias

from bson import ObjectId

from mailcore.model.actor import Actor
from mailcore.model.ids import TenantId, UserId

PLATFORM: Final = TenantId(ObjectId(b"\x00" * 12))
"""Whose events are those that concern no tenant: shards, the platform's certificates."""

Detail: TypeAlias = "str | int | float | bool | datetime | Sequence[Detail] | Mapping[str, Detail] | None"
Details: TypeAlias = Mapping[str, Detail]
NOTHING: Final[Details] = MappingProxyType({})


class Outcome(StrEnum):
    """How a change ended, as far as is known."""

    PENDING = "pending"
    """Announced; under way, or its process died."""
    DONE = "done"
    UNKNOWN = "unknown"
    """Announced, and nobody said how it ended: it may have happened."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a tenant's stream.

    Attributes:
        shard: where it is kept; "" is the directory, for events of the platform.
        number: consecutive among the tenant's events on that shard, from 1.
        kind: what happened: a noun and a word for the change, such as `user.password`.
        at: information only; order is the number.
        details: `wanted`, `before` and `after` of a change of settings, without secrets; where and
            how much of a change of mail.
    """

    shard: str
    number: int
    kind: str
    at: datetime
    actor: Actor
    tenant_id: TenantId
    user_id: UserId | None
    outcome: Outcome = Outcome.DONE
    details: Details = field(default_factory=dict)
