"""Tables of support: what organisations grant, who is suspended, and what needs a second member of staff."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final
from uuid import UUID, uuid4

from sqlalchemy import CheckConstraint, ForeignKey, Index, String
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from portal.database import Base, utc_now


class SupportGrant(Base):
    """An organisation lets staff look at how it is set up, or act for it, for a time and a reason."""

    __tablename__ = "support_grants"
    __table_args__ = (Index("ix_support_grants_organisation_id", "organisation_id", "expires_at"),)

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    organisation_id: Mapped[UUID] = mapped_column(ForeignKey("organisations.id", ondelete="CASCADE"))
    granted_by: Mapped[str] = mapped_column(String(254))
    reason: Mapped[str] = mapped_column(String(300))
    may_write: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime] = mapped_column(default=utc_now)
    expires_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]

    def holds_at(self, now: datetime) -> bool:
        """Whether it counts at an instant."""
        return self.revoked_at is None and self.created_at <= now < self.expires_at


class Suspension(Base):
    """Why an organisation is suspended, as its owner reads it."""

    __tablename__ = "suspensions"

    organisation_id: Mapped[UUID] = mapped_column(ForeignKey("organisations.id", ondelete="CASCADE"), primary_key=True)
    reason: Mapped[str] = mapped_column(String(300))
    appeal: Mapped[str] = mapped_column(String(300))
    """How to object, and to whom."""
    suspended_by: Mapped[str] = mapped_column(String(254))
    suspended_at: Mapped[datetime] = mapped_column(default=utc_now)


class ApprovalState(StrEnum):
    """What became of a step that needs two."""

    ASKED = "asked"
    DONE = "done"
    DECLINED = "declined"


WAITS: Final = timedelta(days=7)
"""So long after it was asked for a step can be carried out: what was right once need not be for ever."""


class Approval(Base):
    """A destructive step that one member of staff asks for and another one carries out."""

    __tablename__ = "staff_approvals"
    __table_args__ = (CheckConstraint("decided_by IS NULL OR decided_by <> asked_by", "two_people"),)

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    organisation_id: Mapped[UUID] = mapped_column(ForeignKey("organisations.id", ondelete="CASCADE"), index=True)
    what: Mapped[str] = mapped_column(String(40))
    details: Mapped[dict[str, Any]] = mapped_column(JSONB, default=dict)
    reason: Mapped[str] = mapped_column(String(300))
    asked_by: Mapped[str] = mapped_column(String(254))
    asked_at: Mapped[datetime] = mapped_column(default=utc_now)
    decided_by: Mapped[str | None] = mapped_column(String(254))
    decided_at: Mapped[datetime | None]
    state: Mapped[ApprovalState] = mapped_column(String(16), default=ApprovalState.ASKED)


class FeatureChoice(Base):
    """Staff switched a feature on or off for one organisation, whatever the share of all others is."""

    __tablename__ = "feature_choices"

    organisation_id: Mapped[UUID] = mapped_column(ForeignKey("organisations.id", ondelete="CASCADE"), primary_key=True)
    feature: Mapped[str] = mapped_column(String(40), primary_key=True)
    is_on: Mapped[bool]
    reason: Mapped[str] = mapped_column(String(300))
    chosen_by: Mapped[str] = mapped_column(String(254))
    chosen_at: Mapped[datetime] = mapped_column(default=utc_now)


class FeatureShare(Base):
    """So many of a hundred organisations have a feature, unless staff chose otherwise for one."""

    __tablename__ = "feature_shares"
    __table_args__ = (CheckConstraint("percent BETWEEN 0 AND 100", "percent"),)

    feature: Mapped[str] = mapped_column(String(40), primary_key=True)
    percent: Mapped[int]
    reason: Mapped[str] = mapped_column(String(300))
    chosen_by: Mapped[str] = mapped_column(String(254))
    chosen_at: Mapped[datetime] = mapped_column(default=utc_now)
