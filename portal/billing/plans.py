"""What can be subscribed to, and by which keys the payment provider knows its prices."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Final

GIB: Final = 1 << 30
TRIAL: Final = timedelta(days=14)
CURRENCY: Final = "eur"


class Unit(StrEnum):
    """What a plan is bought by."""

    SEAT = "seat"
    GIGABYTE = "gigabyte"


class Tier(StrEnum):
    """Where stored bytes lie."""

    SSD = "ssd"
    HDD = "hdd"


@dataclass(frozen=True, slots=True)
class MeteredPrice:
    """A price for what was used, beside the plan's."""

    tier: Tier
    key: str
    unit_amount_decimal: str
    """Minor units for one GB on one day."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One plan; prices are by month."""

    code: str
    name: str
    unit: Unit
    key: str
    """Lookup key of its price."""
    unit_amount: int
    """Minor units for one unit."""
    storage_per_unit: int
    """Bytes in the pool of all users."""
    least_units: int = 1
    most_units: int = 100_000
    metered: tuple[MeteredPrice, ...] = ()

    def seats(self, units: int) -> int | None:
        """Return how many users so many units have room for; None is without limit."""
        return units if self.unit is Unit.SEAT else None


PLANS: Final = {
    plan.code: plan
    for plan in (
        Plan("team", "Team", Unit.SEAT, "eider_team_seat_month_eur", 500, 30 * GIB),
        Plan(
            "pool",
            "Pool",
            Unit.GIGABYTE,
            "eider_pool_gb_month_eur",
            12,
            1 * GIB,
            least_units=50,
            metered=(
                MeteredPrice(Tier.SSD, "eider_pool_ssd_gb_day_eur", "0.4"),
                MeteredPrice(Tier.HDD, "eider_pool_hdd_gb_day_eur", "0.1"),
            ),
        ),
    )
}
BY_KEY: Final = {plan.key: plan for plan in PLANS.values()}
METERS: Final = {Tier.SSD: "eider_storage_ssd", Tier.HDD: "eider_storage_hdd"}
"""Names of the events that are metered."""
TRIAL_SEATS: Final = 10
TRIAL_STORAGE: Final = 50 * GIB
DAYS_OF_MONTH: Final = 31
"""For what a month may cost at most."""
