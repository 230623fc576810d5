"""Writing to owners and billing members: of stages, ends of trials, plans that are changed or cancelled, and limits."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from babel.dates import format_date
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert

from mailcore.errors import MailError
from portal.accounts.models import Member, Membership, Organisation, OrganisationState
from portal.billing.adjustments import Limit
from portal.billing.entitlements import ENDED, NOT_BEGUN, Entitlements, Facts, derive, facts_of
from portal.billing.models import Adjustment, BillingNotice, ChangeState, PlanChange, Subscription
from portal.billing.plans import BY_KEY
from portal.billing.stages import EXPORT_KEPT, Stage
from portal.database import session, unit_of_work
from portal.languages import LANGUAGES
from portal.mail_plane import Portal
from portal.notices import Notice, SenderMissing, send
from portal.permissions import Role

log = logging.getLogger(__name__)

ADDRESSEES: Final = (Role.OWNER, Role.BILLING)
STAGES: Final = {
    Stage.GRACE: "billing_grace",
    Stage.SENDING_OFF: "billing_sending_off",
    Stage.READ_ONLY: "billing_read_only",
    Stage.CLOSED: "billing_closed",
}
"""The mail of each stage."""
RECOVERED: Final = "billing_recovered"
CANCELLED: Final = "billing_cancelled"
CHANGED: Final = "billing_changed"
LIMIT_ENDED: Final = "billing_limit_ended"
TOLD_WITHIN: Final = timedelta(days=7)
"""So late what happened once is still told."""
TRIAL: Final = (("billing_trial_day", timedelta(days=1)), ("billing_trial_week", timedelta(days=7)))
"""The mails before a trial ends, the nearest first, and how long before."""


@dataclass(frozen=True, slots=True)
class Due:
    """A mail that is to be written once."""

    event: str
    about: str
    dates: dict[str, datetime]
    values: dict[str, Any]


def tell(portal: Portal, organisation_id: UUID, now: datetime) -> int:
    """Write what is due and was not written; return how many events that were.

    The row and the mails are one unit of work: whoever comes at the same time waits for its commit and writes
    nothing; who is killed before it is followed by one that queues the same messages under the same keys.
    """
    organisation = session().get(Organisation, organisation_id, populate_existing=True)
    if organisation is None or organisation.state == OrganisationState.CLOSED:
        return 0
    told = 0
    for due in list(_due(organisation, now, pays=portal.payments is not None)):
        try:
            with unit_of_work():
                if _note(organisation, due, now):
                    _write(portal, organisation, due)
                    told += 1
        except (MailError, SenderMissing) as error:
            fields = {"organisation": str(organisation_id), "reason": type(error).__name__}
            log.warning("billing.not_told", extra=fields)
    return told


def _due(organisation: Organisation, now: datetime, *, pays: bool) -> Iterator[Due]:
    facts = facts_of(organisation)
    yield from _ended_limits(facts.adjustments, now)
    if pays:
        yield from _of_payment(organisation, facts, now)
        yield from _changes(organisation, now)


def _of_payment(organisation: Organisation, facts: Facts, now: datetime) -> Iterator[Due]:
    entitled = derive(facts, now)
    subscription = facts.subscription
    if entitled.unpaid_since is not None and entitled.stage is not Stage.ACTIVE:
        yield _of_stage(entitled, entitled.unpaid_since, subscription)
    else:
        yield from _recovery(organisation)
    if subscription is None or subscription.status in NOT_BEGUN:
        yield from _of_trial(facts.trial_end, now)
    elif subscription.cancel_at_period_end and subscription.status not in ENDED:
        end = subscription.period_end
        yield Due(CANCELLED, f"{subscription.id} {end.isoformat()}", {"day": end, "until": end + EXPORT_KEPT}, {})


def _of_stage(entitled: Entitlements, since: datetime, subscription: Subscription | None) -> Due:
    dates = {"until": since + EXPORT_KEPT}
    if entitled.next_stage is not None:
        dates["day"] = entitled.next_stage[1]
    if subscription is None or subscription.status in NOT_BEGUN:
        cause = "trial"
    else:
        cause = "ended" if subscription.status in ENDED else "unpaid"
    return Due(STAGES[entitled.stage], since.isoformat(), dates, {"cause": cause})


def _recovery(organisation: Organisation) -> Iterator[Due]:
    """Yield that everything works again, if the last that was told is that it does not."""
    wanted = (
        select(BillingNotice)
        .where(BillingNotice.organisation_id == organisation.id)
        .where(BillingNotice.event.in_([*STAGES.values(), RECOVERED]))
        .order_by(BillingNotice.told_at.desc(), BillingNotice.event == RECOVERED)
    )
    last = session().scalars(wanted.limit(1)).one_or_none()
    if last is not None and last.event != RECOVERED:
        yield Due(RECOVERED, last.about, {}, {})


def _of_trial(end: datetime, now: datetime) -> Iterator[Due]:
    for event, before in TRIAL:
        if end - before <= now < end:
            yield Due(event, end.isoformat(), {"day": end}, {})
            return


def _changes(organisation: Organisation, now: datetime) -> Iterator[Due]:
    """Yield plans, seats and GB that were changed lately."""
    wanted = select(PlanChange).where(
        PlanChange.organisation_id == organisation.id,
        PlanChange.state == ChangeState.APPLIED,
        PlanChange.confirmed_at > now - TOLD_WITHIN,
    )
    for one in session().scalars(wanted.order_by(PlanChange.confirmed_at)):
        values = {"who": one.wanted_by, **_side("old", one.from_price, one.from_quantity)}
        yield Due(CHANGED, str(one.id), {}, values | _side("new", one.to_price, one.to_quantity))


def _side(name: str, price: str, quantity: int) -> dict[str, Any]:
    plan = BY_KEY.get(price)
    unit = plan.unit.value if plan is not None else ""
    return {f"{name}_plan": plan.name if plan is not None else price, f"{name}_number": quantity, f"{name}_unit": unit}


def _ended_limits(adjustments: Mapping[Limit, Adjustment], now: datetime) -> Iterator[Due]:
    """Yield limits of support's that counted until lately."""
    for limit, one in adjustments.items():
        end = min(at for at in (one.ended_at, one.expires_at, now + TOLD_WITHIN) if at is not None)
        if now - TOLD_WITHIN < end <= now:
            yield Due(LIMIT_ENDED, f"{limit.value} {end.isoformat()}", {"day": end}, {"limit": limit.value})


def _note(organisation: Organisation, due: Due, now: datetime) -> bool:
    """Note that something is told; False if it was."""
    row = insert(BillingNotice).values(organisation_id=organisation.id, event=due.event, about=due.about, told_at=now)
    noted = session().execute(row.on_conflict_do_nothing().returning(BillingNotice.event))
    return noted.one_or_none() is not None


def _write(portal: Portal, organisation: Organisation, due: Due) -> None:
    url = f"{portal.settings.public_url}/{'billing' if portal.payments is not None else ''}"
    for member in _people(organisation):
        language = member.language if member.language in LANGUAGES else "en"
        dates = {name: format_date(at, "long", locale=language) for name, at in due.dates.items()}
        values = {"organisation": organisation.name, "url": url, **due.values, **dates}
        key = organisation.id.bytes + member.id.bytes + due.about.encode()
        send(portal.mail, portal.settings, Notice(due.event, member.email, language, values), key=key)


def _people(organisation: Organisation) -> list[Member]:
    wanted = (
        select(Member)
        .join(Membership, Membership.member_id == Member.id)
        .where(Membership.organisation_id == organisation.id, Membership.role.in_(ADDRESSEES))
        .order_by(Member.id)
    )
    return list(session().scalars(wanted))
