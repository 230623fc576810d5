"""What pages of billing show: plans to choose from, and both sides of a change."""

from __future__ import annotations

from dataclasses import dataclass

from mailcore.services import MailServices
from portal.accounts.models import Organisation
from portal.billing.fitting import least_units
from portal.billing.models import PlanChange, Subscription
from portal.billing.plans import BY_KEY, PLANS, Plan
from portal.database import session


@dataclass(frozen=True, slots=True)
class Choice:
    """A plan that is not the organisation's, and how much of it holds what is there."""

    plan: Plan
    least: int


@dataclass(frozen=True, slots=True)
class Side:
    """A plan before or after a change; without one where it is no longer sold."""

    plan: Plan | None
    units: int

    @property
    def seats(self) -> int | None:
        """For how many users; None is without limit."""
        return self.plan.seats(self.units) if self.plan is not None else None

    @property
    def storage_bytes(self) -> int:
        """How much may be stored."""
        return self.units * self.plan.storage_per_unit if self.plan is not None else 0

    @property
    def amount(self) -> int:
        """What a month costs, in minor units, without what is metered."""
        return self.units * self.plan.unit_amount if self.plan is not None else 0


def use_of(mail: MailServices, organisation: Organisation) -> tuple[int, int]:
    """Return how many users there are, and the bytes that they stored when they were last summed up."""
    tenant = mail.tenants.find(organisation.tenant_id)
    if tenant is None:
        return 0, 0
    return mail.users.count_of_tenant(tenant.id), tenant.used_bytes


def choices(subscription: Subscription | None, users: int, used_bytes: int) -> list[Choice]:
    """Return the plans that are not the organisation's already."""
    mine = subscription.price_key if subscription is not None else None
    return [Choice(plan, least_units(plan, users, used_bytes)) for plan in PLANS.values() if plan.key != mine]


def side(price: str, units: int) -> Side:
    """Return what is shown of one side of a change."""
    return Side(BY_KEY.get(price), units)


def subscription_of(change: PlanChange) -> Subscription | None:
    """Return what is changed."""
    return session().get(Subscription, change.subscription)
