"""What an organisation may use now: derived from the mirror of its subscription each time, stored nowhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal

from sqlalchemy import select

from mailcore.model.tenant import Standing
from portal.accounts.models import Organisation
from portal.billing import plans
from portal.billing.adjustments import Limit, adjustments_of, in_force
from portal.billing.models import Adjustment, BillingAccount, Invoice, Subscription
from portal.billing.plans import BY_KEY, DAYS_OF_MONTH, GIB, Plan
from portal.billing.stages import EXPORT_KEPT, STANDINGS, Stage, next_step, stage_at
from portal.database import session

ENDED = frozenset({"canceled", "incomplete_expired"})
"""States of subscriptions that are over."""
NOT_BEGUN = frozenset({"incomplete", "incomplete_expired"})
"""States of those that never were paid for."""


@dataclass(frozen=True, slots=True)
class Facts:
    """From what entitlements follow."""

    trial_end: datetime
    subscription: Subscription | None
    unpaid: Sequence[Invoice]
    spend_cap: int | None = None
    adjustments: Mapping[Limit, Adjustment] = field(default_factory=dict)
    """What staff set, over or not."""


@dataclass(frozen=True, slots=True)
class Entitlements:
    """What an organisation may use; None is without limit."""

    plan: Plan | None
    """None: the trial."""
    stage: Stage
    seats: int | None
    storage_bytes: int | None
    unpaid_since: datetime | None
    next_stage: tuple[Stage, datetime] | None
    adjustments: Mapping[Limit, Adjustment] = field(default_factory=dict)
    """What of it staff set, as far as it counts now."""

    @property
    def sending(self) -> bool:
        """Whether its users may send."""
        return STANDINGS[self.stage] is Standing.FULL

    @property
    def read_only(self) -> bool:
        """Whether its users may read alone, or not even that."""
        return self.stage in {Stage.READ_ONLY, Stage.CLOSED}

    @property
    def closed(self) -> bool:
        """Whether nobody signs in to mail."""
        return self.stage is Stage.CLOSED

    @property
    def standing(self) -> Standing:
        """What the mail plane lets its users do."""
        return STANDINGS[self.stage]

    @property
    def export_until(self) -> datetime | None:
        """Until when its data can be exported; None: as long as it likes."""
        return None if self.unpaid_since is None else self.unpaid_since + EXPORT_KEPT


def derive(facts: Facts, now: datetime) -> Entitlements:
    """Return what follows from the facts at an instant; reads nothing.

    What staff set goes before what the plan gives, but storage never beyond what the spend cap pays for.
    """
    found, counting = _of_plan(facts, now), in_force(facts.adjustments, now)
    if not counting:
        return found
    seats, storage = found.seats, found.storage_bytes
    if Limit.USERS in counting:
        seats = counting[Limit.USERS].value
    if Limit.STORAGE in counting:
        storage = counting[Limit.STORAGE].value
        if found.plan is not None and found.plan.metered and facts.subscription and facts.spend_cap is not None:
            storage = min(storage, affordable_bytes(found.plan, facts.subscription.quantity, facts.spend_cap))
    return replace(found, seats=seats, storage_bytes=storage, adjustments=counting)


def _of_plan(facts: Facts, now: datetime) -> Entitlements:
    subscription = facts.subscription
    if subscription is None or subscription.status in NOT_BEGUN:
        since = facts.trial_end if now >= facts.trial_end else None
        return _made(None, plans.TRIAL_SEATS, plans.TRIAL_STORAGE, since, stage_at(since, now), now)
    plan = BY_KEY[subscription.price_key]
    seats, storage = room(plan, subscription.quantity, facts.spend_cap)
    if subscription.status in ENDED:
        return _made(plan, seats, storage, subscription.ended_at or now, Stage.CLOSED, now)
    since = min((one.finalized_at or one.created_at for one in facts.unpaid), default=None)
    return _made(plan, seats, storage, since, stage_at(since, now), now)


def room(plan: Plan, units: int, spend_cap: int | None) -> tuple[int | None, int]:
    """Return how many users and how many bytes so many units of a plan have room for; None is without limit."""
    storage = units * plan.storage_per_unit
    if spend_cap is not None:
        storage = min(storage, affordable_bytes(plan, units, spend_cap))
    return plan.seats(units), storage


def affordable_bytes(plan: Plan, units: int, spend_cap: int) -> int:
    """Return how much may be stored so that not even a month on the dearest tier costs more than the cap."""
    if not plan.metered:
        return units * plan.storage_per_unit
    left = Decimal(spend_cap - units * plan.unit_amount)
    month = max(Decimal(one.unit_amount_decimal) for one in plan.metered) * DAYS_OF_MONTH
    return max(0, int(left // month)) * GIB


def entitlements(organisation: Organisation, now: datetime) -> Entitlements:
    """Return what an organisation may use at an instant; four reads."""
    return derive(facts_of(organisation), now)


def facts_of(organisation: Organisation) -> Facts:
    """Return from what its entitlements follow."""
    current = session()
    account = current.get(BillingAccount, organisation.id, populate_existing=True)
    unpaid = select(Invoice).where(Invoice.organisation_id == organisation.id, Invoice.status == "open")
    return Facts(
        organisation.created_at + plans.TRIAL,
        current_subscription(organisation),
        [one for one in current.scalars(unpaid) if one.is_unpaid],
        account.spend_cap if account is not None else None,
        adjustments_of(organisation.id),
    )


def current_subscription(organisation: Organisation) -> Subscription | None:
    """Return the subscription that counts: the newest that runs, else that did, else that never began."""
    wanted = (
        select(Subscription)
        .where(Subscription.organisation_id == organisation.id)
        .order_by(
            Subscription.status.in_(sorted(NOT_BEGUN)),
            Subscription.status.in_(sorted(ENDED)),
            Subscription.started_at.desc(),
        )
    )
    return session().scalars(wanted.limit(1)).one_or_none()


def _made(
    plan: Plan | None, seats: int | None, storage: int, since: datetime | None, stage: Stage, now: datetime
) -> Entitlements:
    coming = None if stage is Stage.CLOSED else next_step(since, now)
    return Entitlements(plan, stage, seats, storage, since, coming)
