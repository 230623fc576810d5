"""Tables of billing: who is which customer, the mirror of what the payment provider has, and what it told us."""

from __future__ import annotations

from datetime import date, datetime
from enum import StrEnum
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, String
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from portal.billing.money import Money
from portal.database import Base, utc_now

PROVIDER_ID = String(80)


class BillingAccount(Base):
    """An organisation as a customer; its row is locked by whoever looks at or changes its subscription."""

    __tablename__ = "billing_accounts"

    organisation_id: Mapped[UUID] = mapped_column(ForeignKey("organisations.id", ondelete="CASCADE"), primary_key=True)
    customer: Mapped[str | None] = mapped_column(PROVIDER_ID, unique=True)
    spend_cap: Mapped[int | None] = mapped_column(BigInteger)
    """What a month may cost at most, in minor units of the plans' currency."""
    tax_ids: Mapped[list[dict[str, Any]]] = mapped_column(JSONB, default=list)
    card: Mapped[str] = mapped_column(String(40), default="")
    """How the card is shown: brand and last digits."""
    created_at: Mapped[datetime] = mapped_column(default=utc_now)


class Subscription(Base):
    """A subscription as it was last fetched; whatever follows from it is derived each time."""

    __tablename__ = "billing_subscriptions"
    __table_args__ = (Index("ix_billing_subscriptions_organisation_id", "organisation_id", "started_at"),)

    id: Mapped[str] = mapped_column(PROVIDER_ID, primary_key=True)
    organisation_id: Mapped[UUID] = mapped_column(ForeignKey("organisations.id", ondelete="CASCADE"))
    status: Mapped[str] = mapped_column(String(32))
    currency: Mapped[str] = mapped_column(String(3))
    price_key: Mapped[str] = mapped_column(String(120))
    """Lookup key of the price that is the plan's."""
    item: Mapped[str] = mapped_column(PROVIDER_ID)
    quantity: Mapped[int]
    discounts: Mapped[list[str]] = mapped_column(JSONB, default=list)
    period_start: Mapped[datetime]
    period_end: Mapped[datetime]
    trial_end: Mapped[datetime | None]
    cancel_at_period_end: Mapped[bool]
    started_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    fetched_at: Mapped[datetime] = mapped_column(default=utc_now)


class Invoice(Base):
    """An invoice as it was last fetched."""

    __tablename__ = "billing_invoices"
    __table_args__ = (Index("ix_billing_invoices_organisation_id", "organisation_id", "created_at"),)

    id: Mapped[str] = mapped_column(PROVIDER_ID, primary_key=True)
    organisation_id: Mapped[UUID] = mapped_column(ForeignKey("organisations.id", ondelete="CASCADE"))
    subscription: Mapped[str | None] = mapped_column(PROVIDER_ID)
    number: Mapped[str | None] = mapped_column(String(80))
    status: Mapped[str] = mapped_column(String(32))
    currency: Mapped[str] = mapped_column(String(3))
    total: Mapped[int] = mapped_column(BigInteger)
    amount_due: Mapped[int] = mapped_column(BigInteger)
    amount_remaining: Mapped[int] = mapped_column(BigInteger)
    attempt_count: Mapped[int]
    created_at: Mapped[datetime]
    finalized_at: Mapped[datetime | None]
    next_attempt_at: Mapped[datetime | None]
    hosted_url: Mapped[str | None]
    pdf_url: Mapped[str | None]
    lines: Mapped[list[dict[str, Any]]] = mapped_column(JSONB, default=list)
    fetched_at: Mapped[datetime] = mapped_column(default=utc_now)

    @property
    def is_unpaid(self) -> bool:
        """Whether it was to be paid and could not."""
        return self.status == "open" and self.attempt_count > 0 and self.amount_remaining > 0

    @property
    def total_money(self) -> Money:
        """What it comes to."""
        return Money(self.total, self.currency)


class BillingEvent(Base):
    """Something the payment provider told us, once, whatever it was and however often it came."""

    __tablename__ = "billing_events"

    id: Mapped[str] = mapped_column(PROVIDER_ID, primary_key=True)
    kind: Mapped[str] = mapped_column(String(80))
    about: Mapped[str] = mapped_column(PROVIDER_ID)
    created_at: Mapped[datetime]
    received_at: Mapped[datetime] = mapped_column(default=utc_now)
    applied_at: Mapped[datetime | None] = mapped_column(index=True)
    outcome: Mapped[str] = mapped_column(String(16), default="")


class ChangeState(StrEnum):
    """What became of a change."""

    PREVIEWED = "previewed"
    CONFIRMED = "confirmed"
    APPLIED = "applied"
    REFUSED = "refused"


class PlanChange(Base):
    """Another plan, or other seats or GB, that somebody wants, with the invoice that was shown for it."""

    __tablename__ = "billing_changes"
    __table_args__ = (
        CheckConstraint("to_quantity > 0", "to_quantity"),
        Index("ix_billing_changes_state", "state", "confirmed_at"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    organisation_id: Mapped[UUID] = mapped_column(ForeignKey("organisations.id", ondelete="CASCADE"), index=True)
    subscription: Mapped[str] = mapped_column(PROVIDER_ID)
    from_price: Mapped[str] = mapped_column(String(120), default="")
    """Lookup key of the price that is the plan's, and that which shall be."""
    to_price: Mapped[str] = mapped_column(String(120), default="")
    from_quantity: Mapped[int]
    to_quantity: Mapped[int]
    wanted: Mapped[dict[str, Any]] = mapped_column(JSONB, default=dict)
    """The change as the provider takes it: sent again, it is the same."""
    prorated_at: Mapped[datetime]
    """To the second: the same instant in the preview and in the change."""
    currency: Mapped[str] = mapped_column(String(3))
    total: Mapped[int] = mapped_column(BigInteger)
    """Of the next invoice, as it was shown."""
    lines: Mapped[list[dict[str, Any]]] = mapped_column(JSONB, default=list)
    state: Mapped[ChangeState] = mapped_column(String(16), default=ChangeState.PREVIEWED)
    reason: Mapped[str] = mapped_column(String(200), default="")
    wanted_by: Mapped[str] = mapped_column(String(254))
    created_at: Mapped[datetime] = mapped_column(default=utc_now)
    confirmed_at: Mapped[datetime | None]

    @property
    def total_money(self) -> Money:
        """What the next invoice was shown to come to."""
        return Money(self.total, self.currency)


class Adjustment(Base):
    """A limit that staff set in the place of the plan's; the audit log has those before it."""

    __tablename__ = "limit_adjustments"
    __table_args__ = (CheckConstraint("value > 0", "value"),)

    organisation_id: Mapped[UUID] = mapped_column(ForeignKey("organisations.id", ondelete="CASCADE"), primary_key=True)
    name: Mapped[str] = mapped_column(String(40), primary_key=True)
    value: Mapped[int] = mapped_column(BigInteger)
    reason: Mapped[str] = mapped_column(String(300))
    set_by: Mapped[str] = mapped_column(String(254))
    set_at: Mapped[datetime] = mapped_column(default=utc_now)
    expires_at: Mapped[datetime | None]
    """None: until somebody ends it."""
    ended_at: Mapped[datetime | None]

    def holds_at(self, now: datetime) -> bool:
        """Whether it counts at an instant."""
        return self.ended_at is None and (self.expires_at is None or now < self.expires_at)


class UsedCoupon(Base):
    """A coupon that an organisation has used: once, for ever."""

    __tablename__ = "billing_coupons"

    organisation_id: Mapped[UUID] = mapped_column(ForeignKey("organisations.id", ondelete="CASCADE"), primary_key=True)
    coupon: Mapped[str] = mapped_column(String(80), primary_key=True)
    used_at: Mapped[datetime] = mapped_column(default=utc_now)


class MeterReport(Base):
    """What lay where on one day; reported once."""

    __tablename__ = "billing_meter_reports"

    organisation_id: Mapped[UUID] = mapped_column(ForeignKey("organisations.id", ondelete="CASCADE"), primary_key=True)
    day: Mapped[date] = mapped_column(primary_key=True)
    tier: Mapped[str] = mapped_column(String(8), primary_key=True)
    gigabytes: Mapped[int] = mapped_column(BigInteger)
    reported_at: Mapped[datetime | None]


class BillingNotice(Base):
    """Something of which an organisation's people were told by mail; its row is what makes it once."""

    __tablename__ = "billing_notices"

    organisation_id: Mapped[UUID] = mapped_column(ForeignKey("organisations.id", ondelete="CASCADE"), primary_key=True)
    event: Mapped[str] = mapped_column(String(40), primary_key=True)
    about: Mapped[str] = mapped_column(String(120), primary_key=True)
    """Of which time: the day that was not paid, the end of the trial or of the period."""
    told_at: Mapped[datetime]
