"""What staff set in the place of what a plan gives: entitlements are derived from the plan and from these."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

from sqlalchemy import select

from mailcore.model.limits import MAXIMA
from portal.billing.models import Adjustment
from portal.database import session


class Limit(StrEnum):
    """What of an organisation can be set."""

    USERS = "users"
    STORAGE = "storage_bytes"
    DOMAINS = "domains"
    RECIPIENTS = "recipients_per_day"


MOST: Final[Mapping[Limit, int]] = {limit: getattr(MAXIMA, limit.value) for limit in Limit}
"""Beyond which nobody goes."""
_KNOWN: Final = {limit.value: limit for limit in Limit}


def adjustments_of(organisation_id: UUID) -> dict[Limit, Adjustment]:
    """Return what was set for an organisation, over or not; one round trip. Names that nobody knows are left out."""
    wanted = select(Adjustment).where(Adjustment.organisation_id == organisation_id)
    rows = session().scalars(wanted.execution_options(populate_existing=True))
    return {_KNOWN[one.name]: one for one in rows if one.name in _KNOWN}


def in_force(adjustments: Mapping[Limit, Adjustment], now: datetime) -> dict[Limit, Adjustment]:
    """Return those that count at an instant."""
    return {limit: one for limit, one in adjustments.items() if one.holds_at(now)}


def most_domains(organisation_id: UUID, usual: int, now: datetime) -> int:
    """Return how many domains an organisation may have; one round trip."""
    found = in_force(adjustments_of(organisation_id), now).get(Limit.DOMAINS)
    return usual if found is None else found.value


def adjusted(found: Adjustment | None, current: int | None, now: datetime) -> int | None:
    """Return what a limit of which no plan says anything is to be: one that is over leaves what others set alone."""
    if found is None:
        return current
    if found.holds_at(now):
        return found.value
    return None if current == found.value else current
