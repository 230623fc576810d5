"""What storage costs, and what it would if older attachments went to HDD."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import Final

from mailcore.model.tally import AGE_DAYS, Stored
from portal.billing.money import Money
from portal.billing.plans import CURRENCY, GIB, Plan, Tier

CHOICES: Final = (1, 3, 6, 12, 24)
"""Months of age at which mail might go."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What would be if attachments older than some days went to HDD; no costs where the plan does not meter."""

    days: int
    moved_bytes: int
    ssd_bytes: int
    hdd_bytes: int
    cost: Money | None


def cost_of_month(plan: Plan | None, ssd_bytes: int, hdd_bytes: int) -> Money | None:
    """Return what so much costs if it lies there for 30 days; None where the plan does not meter storage."""
    if plan is None or not plan.metered:
        return None
    held = {Tier.SSD: ssd_bytes, Tier.HDD: hdd_bytes}
    amount = sum(
        (Decimal(one.unit_amount_decimal) * AGE_DAYS * -(-held[one.tier] // GIB) for one in plan.metered), Decimal(0)
    )
    return Money(int(amount.quantize(Decimal(1), ROUND_HALF_UP)), CURRENCY)


def choices(plan: Plan | None, stored: Stored) -> Sequence[Choice]:
    """Return what each choice would make of what was measured last."""
    found = []
    for months in CHOICES:
        moved = stored.older_than(months)
        ssd, hdd = stored.hot_bytes - moved, stored.cold_bytes + moved
        found.append(Choice(months * AGE_DAYS, moved, ssd, hdd, cost_of_month(plan, ssd, hdd)))
    return found
