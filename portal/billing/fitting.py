"""Whether what an organisation has fits into what it wants to pay for."""

from __future__ import annotations

from datetime import datetime

from mailcore.errors import Conflict, LimitExceeded, ValueInvalid
from mailcore.services import MailServices
from portal.accounts.models import Organisation
from portal.billing.adjustments import Limit
from portal.billing.entitlements import entitlements, room
from portal.billing.models import BillingAccount
from portal.billing.plans import Plan


class BeyondSpendCap(LimitExceeded):
    """A month would cost more than the organisation allows itself."""


class SeatsInUse(Conflict):
    """More users are there than there would be seats; the detail is how many."""


class StorageInUse(Conflict):
    """More is stored than there would be room for; the details are how many bytes, and how many units hold them."""


def check_fits(
    mail: MailServices, organisation: Organisation, account: BillingAccount, plan: Plan, units: int, now: datetime
) -> None:
    """Make sure that so many units of a plan hold the users and the mail that are there, within the spend cap.

    Whoever stores more than is paid for already may still buy more of it: only less room is refused. What staff set
    counts whatever the plan.

    Raises:
        ValueInvalid, BeyondSpendCap, SeatsInUse, StorageInUse: why not.
    """
    if not plan.least_units <= units <= plan.most_units:
        raise ValueInvalid(f"a number from {plan.least_units} to {plan.most_units}")
    if account.spend_cap is not None and plan.unit_amount * units > account.spend_cap:
        raise BeyondSpendCap(plan.unit_amount * units)
    if mail.tenants.find(organisation.tenant_id) is None:
        return
    seats, storage = room(plan, units, account.spend_cap)
    has = entitlements(organisation, now)
    users = mail.users.count_of_tenant(organisation.tenant_id)
    if seats is not None and users > seats and Limit.USERS not in has.adjustments:
        raise SeatsInUse(users)
    if Limit.STORAGE in has.adjustments or (has.storage_bytes is not None and storage >= has.storage_bytes):
        return
    stored = mail.pools.used(organisation.tenant_id)
    if stored > units * plan.storage_per_unit:
        raise StorageInUse(stored, least_units(plan, users, stored))
    if stored > storage:
        raise BeyondSpendCap(stored)


def least_units(plan: Plan, users: int, stored_bytes: int) -> int:
    """Return the fewest units of a plan that hold so many users and bytes."""
    seats = users if plan.seats(1) is not None else 0
    return max(plan.least_units, seats, -(-stored_bytes // plan.storage_per_unit))
