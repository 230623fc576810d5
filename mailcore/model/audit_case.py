"""Audits: copies of a user's mail that nobody changes until they end."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from bson import ObjectId

from mailcore.model.ids import TenantId, UserId


class AuditStatus(StrEnum):
    """How far the copies are."""

    QUEUED = "queued"
    IMPORTING = "importing"
    """Something was copied; mail that comes until its end is copied as well."""
    IMPORTED = "imported"
    """All that there will be."""


@dataclass(frozen=True, slots=True)
class AuditCase:
    """One audit.

    Attributes:
        shard: where the copies are, whatever becomes of the user.
        start: mail that arrived before it is left out.
        end: mail that arrives after it is left out; None: until the audit expires.
        expires_at: from then on it is gone.
        meta: an application's own data, JSON text.
        copied: messages.
        failed: messages that could not be read when they were last tried.
        last_message_at: arrival of the newest.
    """

    id: ObjectId
    tenant_id: TenantId
    user_id: UserId
    shard: str
    start: datetime | None
    end: datetime | None
    expires_at: datetime
    notes: str = ""
    meta: str = ""
    status: AuditStatus = AuditStatus.QUEUED
    copied: int = 0
    failed: int = 0
    last_message_at: datetime | None = None

    def takes(self, at: datetime) -> bool:
        """Whether a message that arrived then belongs to it."""
        return (self.start is None or at >= self.start) and (self.end is None or at <= self.end)
