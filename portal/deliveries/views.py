"""Pages of an organisation about its mail on the way: envelopes and answers, never subjects or content."""

from __future__ import annotations

from functools import partial

from bson import ObjectId
from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from mailcore.errors import BeingSent, Conflict, NotFound, NotPermitted, ValueInvalid
from mailcore.model.ids import UserId
from mailcore.model.tenant import User
from portal.access import actor, current, requires
from portal.deliveries import searching
from portal.deliveries.showing import whose_hold, why_suppressed
from portal.deliveries.words import CAUSES
from portal.mail_plane import current_tenant, mail
from portal.permissions import Permission

blueprint = Blueprint("deliveries", __name__, url_prefix="/deliveries")
PAGE = 100
ACTS = ("hold", "release", "retry", "cancel")
"""What an organisation does with its own queue."""


@blueprint.get("")
@requires(Permission.VIEW_DELIVERIES)
def index() -> ResponseReturnValue:
    """Show the steps of messages that fit, the latest first."""
    shown = searching.steps(current_tenant(), partial(url_for, "deliveries.index"))
    holds = mail().sending_holds.list_of_tenant(current_tenant())
    return render_template("deliveries/index.html", **shown, of_message=_of_message, holds=holds), shown["status"]


@blueprint.get("/waiting")
@requires(Permission.VIEW_DELIVERIES)
def waiting() -> ResponseReturnValue:
    """Show what waits to be sent, or is held."""
    shown = searching.waiting(current_tenant(), partial(url_for, "deliveries.waiting"))
    return render_template(
        "deliveries/waiting.html",
        **shown,
        of_message=_of_message,
        acts=ACTS if current().may(Permission.MANAGE_DELIVERIES) else (),
        act_url=lambda entry, act: url_for("deliveries.change", queue_user=entry.user_id, queue_id=entry.id, act=act),
    ), shown["status"]


def _of_message(queue_id: str) -> str:
    """Return where all steps of a message are."""
    return url_for("deliveries.index", queue_id=queue_id)


@blueprint.post("/waiting/<queue_user>/<queue_id>/<act>")
@requires(Permission.MANAGE_DELIVERIES)
def change(queue_user: str, queue_id: str, act: str) -> ResponseReturnValue:
    """Hold, let go, try now or take back a message of the organisation."""
    outbound = mail().outbound
    user_id = UserId(ObjectId(queue_user)) if ObjectId.is_valid(queue_user) else None
    if user_id is None or act not in ACTS or outbound.get(user_id, queue_id).tenant_id != current_tenant():
        raise NotFound(queue_id)
    try:
        if act == "hold":
            outbound.hold(actor(), user_id, queue_id, "administrator")
        elif act == "release":
            outbound.release(actor(), user_id, queue_id)
        elif act == "retry":
            outbound.retry(actor(), user_id, queue_id)
        else:
            outbound.cancel(actor(), user_id, queue_id)
    except BeingSent:
        flash(_("It is being sent this moment."), "error")
    except NotPermitted:
        flash(_("Outgoing mail of this sender is on hold. Support ends the hold: say what happened below."), "error")
        return redirect(url_for("deliveries.hold"), code=303)
    except NotFound:
        flash(_("It does not wait any more."), "error")
    return redirect(url_for("deliveries.waiting"), code=303)


@blueprint.get("/suppressed")
@requires(Permission.VIEW_DELIVERIES)
def suppressed() -> ResponseReturnValue:
    """Show addresses that get no mail for a while, and why."""
    after = request.args.get("after", "")[:320]
    rows = mail().suppressions.list_of(current_tenant(), after, PAGE)
    further = url_for("deliveries.suppressed", after=rows[-1].address) if len(rows) == PAGE else None
    return render_template("deliveries/suppressed.html", rows=rows, further=further, why=why_suppressed)


@blueprint.post("/suppressed")
@requires(Permission.MANAGE_DELIVERIES)
def remove() -> ResponseReturnValue:
    """Send to an address again."""
    address = request.form.get("address", "")[:320]
    try:
        mail().suppressions.remove(actor(), current_tenant(), address)
    except NotFound:
        flash(_("The address is not on the list."), "error")
    else:
        flash(_("%(address)s gets mail again.", address=address), "success")
    return redirect(url_for("deliveries.suppressed"), code=303)


@blueprint.get("/hold")
@requires(Permission.VIEW_DELIVERIES)
def hold() -> ResponseReturnValue:
    """Show whose mail is held, why, and what to do."""
    holds = mail().sending_holds.list_of_tenant(current_tenant())
    held = [(one, None if one.user_id is None else _find_user(one.user_id)) for one in holds[:PAGE]]
    shown = [(one, user) for one, user in held if one.user_id is None or user is not None]
    return render_template("deliveries/hold.html", held=shown, causes=CAUSES)


def _find_user(user_id: UserId) -> User | None:
    try:
        return mail().users.get(user_id)
    except NotFound:  # deleted since its hold was read
        return None


@blueprint.post("/hold")
@requires(Permission.MANAGE_DELIVERIES)
def appeal() -> ResponseReturnValue:
    """Tell staff what happened."""
    user_id = whose_hold(request.form.get("user", ""))
    try:
        mail().sending_holds.appeal(actor(), current_tenant(), user_id, request.form.get("words", ""))
    except ValueInvalid:
        flash(_("Say what happened."), "error")
    except Conflict:
        flash(_("Nothing is held any more."), "error")
    else:
        flash(_("Support reads it and decides."), "success")
    return redirect(url_for("deliveries.hold"), code=303)
