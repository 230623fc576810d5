"""Pages of staff about an organisation's limits."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

from flask import Blueprint, abort, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from mailcore.errors import NotFound, ValueInvalid
from portal.access import actor, requires
from portal.billing.adjustments import MOST, Limit, adjustments_of, in_force
from portal.billing.entitlements import entitlements
from portal.billing.plans import GIB
from portal.billing.words import LIMITS
from portal.mail_plane import mail, portal
from portal.permissions import Permission
from portal.staff import limits, queries

blueprint = Blueprint("staff_limits", __name__, url_prefix="/staff/organisations/<uuid:organisation_id>/limits")


@blueprint.get("")
@requires(Permission.STAFF_VIEW)
def index(organisation_id: UUID) -> ResponseReturnValue:
    """Show what the plan gives, what staff set, and what is in use."""
    found, parts = queries.get_organisation(organisation_id), portal()
    now = parts.clock()
    return render_template(
        "staff/limits.html",
        organisation=found,
        limits=list(Limit),
        texts=LIMITS,
        most=MOST,
        set=in_force(adjustments_of(found.id), now),
        in_use=limits.in_use(mail(), found),
        entitled=entitlements(found, now) if parts.payments is not None else None,
    )


@blueprint.post("/<limit>")
@requires(Permission.STAFF_MANAGE)
def change(organisation_id: UUID, limit: str) -> ResponseReturnValue:
    """Set a limit, or let the plan's count again."""
    found, named = queries.get_organisation(organisation_id), _named(limit)
    reason = request.form.get("reason", "")
    try:
        if "end" in request.form:
            limits.end(actor(), found, named, reason)
            flash(_("The plan's limit counts again."), "success")
        elif limits.set_limit(actor(), mail(), found, limits.Wanted(named, _number(named), reason, _until())) is None:
            flash(_("The limit is set. It holds within some minutes."), "success")
        else:
            flash(_("That is less than is in use: another member of staff has to agree."), "warning")
    except ValueInvalid:
        flash(_("Give a reason, a number within what is allowed, and a day to come or none."), "error")
    except NotFound:
        flash(_("Nothing is set."), "error")
    return redirect(url_for("staff_limits.index", organisation_id=found.id), code=303)


def _number(limit: Limit) -> int:
    """Return the number of the form, storage in GB; 0, which nobody may set, if it is none."""
    text = request.form.get("value", "").strip()
    number = int(text) if text.isdecimal() and len(text) <= 12 else 0
    return number * GIB if limit is Limit.STORAGE else number


def _until() -> datetime | None:
    """Return the end of the day that was given, in UTC.

    Raises:
        ValueInvalid: it is no day.
    """
    text = request.form.get("until", "").strip()
    if not text:
        return None
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC) + timedelta(days=1)
    except (ValueError, OverflowError) as error:
        raise ValueInvalid(text) from error


def _named(text: str) -> Limit:
    try:
        return Limit(text)
    except ValueError:
        abort(404)
