"""The table of what was done, and the end of each organisation's chain."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, ForeignKey, Index, LargeBinary, String, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from portal.database import Base

PLATFORM = UUID(int=0)
"""Stands for no organisation: what staff and strangers did."""


class AuditChain(Base):
    """The end of one chain; its row is locked by whoever adds to the chain."""

    __tablename__ = "audit_chains"

    organisation_id: Mapped[UUID] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(BigInteger, default=0)
    digest: Mapped[bytes] = mapped_column(LargeBinary, default=bytes(32))
    mail_cursors: Mapped[dict[str, str]] = mapped_column(JSONB, default=dict)
    """How far the events of the mail plane were taken over, as its event stream has it."""


class AuditEvent(Base):
    """One thing that was done; never changed, never removed: the database refuses it."""

    __tablename__ = "audit_events"
    __table_args__ = (
        Index("ix_audit_events_at", "organisation_id", text("at DESC"), text("number DESC")),
        Index(
            "uq_audit_events_source", "organisation_id", "source", unique=True, postgresql_where=text("source <> ''")
        ),
    )

    organisation_id: Mapped[UUID] = mapped_column(ForeignKey("audit_chains.organisation_id"), primary_key=True)
    number: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    at: Mapped[datetime]
    what: Mapped[str] = mapped_column(String(80))
    """A dotted name: `member.invited`, `user.created`."""
    target: Mapped[str] = mapped_column(String(400))
    actor_kind: Mapped[str] = mapped_column(String(16))
    actor: Mapped[str] = mapped_column(String(400))
    door: Mapped[str] = mapped_column(String(16))
    remote_address: Mapped[str] = mapped_column(String(64), default="")
    outcome: Mapped[str] = mapped_column(String(16), default="done")
    details: Mapped[dict[str, Any]] = mapped_column(JSONB, default=dict)
    source: Mapped[str] = mapped_column(String(120), default="")
    """Which event of the mail plane it is; "" for what the portal itself did."""
    previous_digest: Mapped[bytes] = mapped_column(LargeBinary)
    digest: Mapped[bytes] = mapped_column(LargeBinary)
