"""Tables of domains: what an organisation claims, and what was last seen of each record."""

from __future__ import annotations

import secrets
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import ForeignKey, Index, LargeBinary, String, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column, relationship

from mailcore.model.mta_sts import StsMode
from portal.accounts.models import Organisation
from portal.database import Base, utc_now
from portal.domains.records import Advice, State


class DkimWay(StrEnum):
    """How a domain's DKIM keys are published."""

    CNAME = "cname"
    """Two CNAMEs into our zone: keys change without anybody's doing."""
    TEXT = "text"


class WritingState(StrEnum):
    """How far the writing of records is."""

    RUNNING = "running"
    STOPPED = "stopped"
    """The provider refused, or did not answer; somebody may let it go on."""
    DONE = "done"


class DomainClaim(Base):
    """A domain that an organisation says is its own; mail flows once its DNS proved it."""

    __tablename__ = "domain_claims"
    __table_args__ = (
        UniqueConstraint("organisation_id", "name"),
        Index("uq_domain_claims_proven", "name", unique=True, postgresql_where=text("verified_at IS NOT NULL")),
        Index("ix_domain_claims_next_check_at", "next_check_at"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    organisation_id: Mapped[UUID] = mapped_column(ForeignKey("organisations.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(String(253))
    """A-labels in lower case."""
    token: Mapped[str] = mapped_column(String(32), default=lambda: secrets.token_hex(16))
    dkim_way: Mapped[DkimWay] = mapped_column(String(8))
    sts_mode: Mapped[StsMode] = mapped_column(String(8), default=StsMode.TESTING)
    created_at: Mapped[datetime] = mapped_column(default=utc_now)
    verified_at: Mapped[datetime | None]
    """Since when it is proven; None: it is not, or is no more."""
    proof_missed_since: Mapped[datetime | None]
    """When the token was first seen to be gone, of a proven domain, with no look since that found it."""
    proof_missed: Mapped[int] = mapped_column(default=0)
    """How many looks in a row found the token gone."""
    removed_at: Mapped[datetime | None]
    """It was given up; the row goes once the mail plane has let go of it."""
    applied_at: Mapped[datetime | None]
    """When the mail plane was last seen to have the domain as it stands here."""
    problem: Mapped[str | None] = mapped_column(String(16))
    """Why the mail plane cannot have it so, such as `taken`."""
    checked_at: Mapped[datetime | None]
    next_check_at: Mapped[datetime] = mapped_column(default=utc_now)
    quiet_checks: Mapped[int] = mapped_column(default=0)
    """Looks in a row that found nothing new: the next one waits the longer."""
    provider: Mapped[str | None] = mapped_column(String(32))
    sealed_credentials: Mapped[bytes | None] = mapped_column(LargeBinary)
    """Of the DNS provider, and only if the admin wants them kept."""

    organisation: Mapped[Organisation] = relationship()
    results: Mapped[list[RecordResult]] = relationship(
        back_populates="claim", cascade="all, delete-orphan", order_by="RecordResult.position"
    )


class RecordResult(Base):
    """What was last seen of one record."""

    __tablename__ = "domain_records"

    claim_id: Mapped[UUID] = mapped_column(ForeignKey("domain_claims.id", ondelete="CASCADE"), primary_key=True)
    key: Mapped[str] = mapped_column(String(320), primary_key=True)
    position: Mapped[int]
    kind: Mapped[str] = mapped_column(String(16))
    name: Mapped[str] = mapped_column(String(300))
    type: Mapped[str] = mapped_column(String(8))
    ttl_s: Mapped[int]
    is_required: Mapped[bool]
    wanted: Mapped[list[str]] = mapped_column(JSONB)
    proposal: Mapped[list[str]] = mapped_column(JSONB)
    state: Mapped[State] = mapped_column(String(8))
    advice: Mapped[Advice] = mapped_column(String(24))
    named: Mapped[dict[str, str]] = mapped_column(JSONB)
    """What the sentence of the advice names."""
    evidence: Mapped[list[dict[str, Any]]] = mapped_column(JSONB)
    checked_at: Mapped[datetime]
    since: Mapped[datetime]
    """Since when it is in this state."""

    claim: Mapped[DomainClaim] = relationship(back_populates="results")


class RecordWriting(Base):
    """What an admin last let be written at a domain's DNS provider, and how far that is."""

    __tablename__ = "record_writings"

    claim_id: Mapped[UUID] = mapped_column(ForeignKey("domain_claims.id", ondelete="CASCADE"), primary_key=True)
    state: Mapped[WritingState] = mapped_column(String(8))
    changes: Mapped[list[dict[str, Any]]] = mapped_column(JSONB)
    """In the order in which they are made."""
    written: Mapped[int] = mapped_column(default=0)
    """So many of them, from the first on, are made."""
    failure: Mapped[str | None] = mapped_column(String(200))
    """What the provider said where it stopped."""
    sealed_access: Mapped[bytes | None] = mapped_column(LargeBinary)
    """Provider, zone and token; gone once everything is written."""
    begun_at: Mapped[datetime]
    lease: Mapped[int] = mapped_column(default=0)
    """Number of the worker's hold on it: one that is too late changes nothing."""
    leased_until: Mapped[datetime | None]
