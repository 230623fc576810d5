"""The page of staff about abuse: who ruins our name, whose mail is held, and what is done about it.

It shows rates and states, as the platform has to protect itself; who wrote to whom needs the organisation's grant.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from flask import Blueprint, abort, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from sqlalchemy import select

from mailcore.errors import Conflict, NotFound, ValueInvalid
from mailcore.model.ids import TenantId, UserId
from mailcore.model.limits import SENDING_LIMITS, SendingLimits
from mailcore.model.reputation import HeldSender, HoldCause, Rates, together
from mailcore.services import MailServices
from mailcore.services.outbound.reputation import badness
from portal.access import actor, requires
from portal.accounts.models import Organisation
from portal.database import session
from portal.deliveries.showing import whose_hold
from portal.mail_plane import mail
from portal.permissions import Permission
from portal.staff import queries

blueprint = Blueprint("staff_abuse", __name__, url_prefix="/staff/abuse")
SHOWN = 50


@dataclass(frozen=True, slots=True)
class Sender:
    """A line: an organisation, its rates, and the user with the worst."""

    organisation: Organisation | None
    tenant_id: TenantId
    rates: Rates
    worst: str
    limits: SendingLimits


@dataclass(frozen=True, slots=True)
class Held:
    """A line: a hold, whose it is, and how much waits."""

    organisation: Organisation | None
    who: str
    held: HeldSender
    waiting: int


@blueprint.get("")
@requires(Permission.STAFF_VIEW)
def index() -> ResponseReturnValue:
    """Show holds, and tenants by how bad their week was."""
    services = mail()
    troubled = ((tenant_id, users, together(users.values())) for tenant_id, users in services.reputation.of_troubled())
    worst = heapq.nlargest(SHOWN, troubled, key=lambda one: badness(one[2]))
    holds = services.sending_holds.list_all()[:SHOWN]
    organisations = _organisations([one[0] for one in worst] + [one.tenant_id for one in holds])
    senders = [
        Sender(
            organisations.get(str(tenant_id)),
            tenant_id,
            rates,
            _address(services, max(users, key=lambda user_id: badness(users[user_id]))),
            services.usage.sending_limits(tenant_id),
        )
        for tenant_id, users, rates in worst
    ]
    held = [
        Held(
            organisations.get(str(one.tenant_id)),
            _address(services, one.user_id),
            one,
            services.sending_holds.waiting(one),
        )
        for one in holds
    ]
    return render_template("staff/abuse.html", senders=senders, held=held)


@blueprint.post("/<uuid:organisation_id>/<act>")
@requires(Permission.STAFF_MANAGE)
def change(organisation_id: UUID, act: str) -> ResponseReturnValue:
    """Hold, stop, take mail again, keep held or let go, or raise a limit: each with a reason for the audit log."""
    organisation = queries.get_organisation(organisation_id)
    if act not in {"hold", "stop", "take", "keep", "release", "limit"}:
        abort(404)
    why, user_id = request.form.get("reason", ""), whose_hold(request.form.get("user", ""))
    tenant_id, holds = organisation.tenant_id, mail().sending_holds
    try:
        if act == "release":
            holds.release(actor(), tenant_id, user_id, why)
            flash(_("What waited goes out now."), "success")
        elif act == "keep":
            holds.keep(actor(), tenant_id, user_id, why)
        elif act == "take":
            holds.keep(actor(), tenant_id, user_id, why, stops=False)
        elif act == "limit":
            _raise_limit(tenant_id, why)
        elif not holds.hold(actor(), tenant_id, user_id, HoldCause.STAFF, why, stops=act == "stop"):
            holds.keep(actor(), tenant_id, user_id, why, stops=True if act == "stop" else None)
    except ValueInvalid:
        flash(_("Give a reason, and a number that is 0 or more."), "error")
    except Conflict:
        flash(_("Nothing of theirs is held."), "error")
    return redirect(url_for("staff_abuse.index"), code=303)


def _raise_limit(tenant_id: TenantId, why: str) -> None:
    name, number = request.form.get("limit", ""), request.form.get("number", "")
    if name not in SENDING_LIMITS or not number.isdecimal() or len(number) > 9 or not why.strip():
        raise ValueInvalid(name)
    mail().tenants.set_sending_limit(actor(), tenant_id, name, int(number), why.strip()[:300])
    flash(_("The limit holds within half a minute."), "success")


def _organisations(tenants: Sequence[TenantId]) -> dict[str, Organisation]:
    wanted = select(Organisation).where(Organisation.tenant.in_([str(one) for one in tenants]))
    return {str(one.tenant): one for one in session().scalars(wanted)} if tenants else {}


def _address(services: MailServices, user_id: UserId | None) -> str:
    if user_id is None:
        return ""
    try:
        return services.users.get(user_id).address
    except NotFound:
        return ""
