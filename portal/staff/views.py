"""Pages of staff: what is about people and mail stands under the organisation's grant, content and secrets nowhere."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

from bson import ObjectId
from flask import Blueprint, abort, flash, g, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from mailcore.errors import BeingSent, Conflict, NotFound, NotPermitted, ValueInvalid
from mailcore.model.ids import UserId
from portal.access import actor, requires
from portal.billing.entitlements import entitlements
from portal.billing.words import LIMITS
from portal.database import utc_now
from portal.deliveries import searching
from portal.mail_plane import portal
from portal.permissions import Permission
from portal.refusals import refusal
from portal.staff import approvals, queries, services
from portal.staff.forms import ReasonForm, SuspendForm
from portal.staff.grants import Grant, find_grant, under_grant

blueprint = Blueprint("staff", __name__, url_prefix="/staff")
COUNTED = timedelta(days=7)
"""So far back complaints are counted."""
ACTS = ("hold", "release", "retry")
"""What support does with an organisation's queue: nothing that loses a message."""
REFUSALS = (Conflict, NotPermitted, ValueInvalid)


@blueprint.get("")
@requires(Permission.STAFF_VIEW)
def home() -> ResponseReturnValue:
    """Find an organisation; what waits for a second person."""
    text = request.args.get("q", "")
    return render_template(
        "staff/home.html",
        text=text,
        found=queries.find_organisations(portal().mail, text),
        approvals=queries.approvals_asked(),
        limit_texts=LIMITS,
    )


@blueprint.get("/organisations/<uuid:organisation_id>")
@requires(Permission.STAFF_VIEW)
def organisation(organisation_id: UUID) -> ResponseReturnValue:
    """Show plan, limits, state and place: nothing of its people."""
    found = queries.get_organisation(organisation_id)
    parts = portal()
    tenant = parts.mail.tenants.find(found.tenant_id)
    return render_template(
        "staff/organisation.html",
        organisation=found,
        tenant=tenant,
        users=parts.mail.users.count_of_tenant(found.tenant_id) if tenant is not None else 0,
        entitled=entitlements(found, parts.clock()) if parts.payments is not None else None,
        complaints=parts.mail.feedback.rate(tenant.id, utc_now() - COUNTED) if tenant is not None else None,
        suspension=queries.suspension_of(found.id),
        read=find_grant(found.id, Grant.READ, utc_now()),
        suspend=SuspendForm(),
        reason=ReasonForm(),
    )


@blueprint.post("/organisations/<uuid:organisation_id>/suspend")
@requires(Permission.STAFF_MANAGE)
def suspend(organisation_id: UUID) -> ResponseReturnValue:
    """Suspend, with a reason that the owner reads."""
    found, form = queries.get_organisation(organisation_id), SuspendForm()
    return _done(found.id, lambda: services.suspend(actor(), found, form.reason.data or "", form.appeal.data or ""))


@blueprint.post("/organisations/<uuid:organisation_id>/lift")
@requires(Permission.STAFF_MANAGE)
def lift(organisation_id: UUID) -> ResponseReturnValue:
    """End a suspension."""
    found, form = queries.get_organisation(organisation_id), ReasonForm()
    return _done(found.id, lambda: services.lift(actor(), found, form.reason.data or ""))


@blueprint.post("/organisations/<uuid:organisation_id>/close")
@requires(Permission.STAFF_MANAGE)
def close(organisation_id: UUID) -> ResponseReturnValue:
    """Ask that it be closed; another member of staff decides."""
    found, form = queries.get_organisation(organisation_id), ReasonForm()

    def ask() -> None:
        approvals.ask_to_close(actor(), found, form.reason.data or "")
        flash(_("Asked. It is closed once another member of staff agrees."), "success")

    return _done(found.id, ask)


@blueprint.post("/approvals/<uuid:approval_id>")
@requires(Permission.STAFF_MANAGE)
def decide(approval_id: UUID) -> ResponseReturnValue:
    """Carry out what another member of staff asked for, or decline it."""
    try:
        approvals.decide(actor(), approval_id, approve=request.form.get("decision") == "approve")
    except NotPermitted:
        abort(403)
    return redirect(url_for("staff.home"), code=303)


@blueprint.get("/organisations/<uuid:organisation_id>/queue")
@requires(Permission.STAFF_VIEW)
@under_grant(Grant.READ)
def queue(organisation_id: UUID) -> ResponseReturnValue:
    """Show what waits to be sent, by day: envelopes, never content."""
    found = queries.get_organisation(organisation_id)
    shown = searching.waiting(found.tenant_id, partial(url_for, "staff.queue", organisation_id=found.id))
    of_message = _of_message(found.id)
    return render_template(
        "staff/queue.html",
        organisation=found,
        **shown,
        of_message=of_message,
        acts=ACTS if g.support_grant.may_write else (),
        act_url=lambda entry, act: url_for(
            "staff.change_queue", organisation_id=found.id, queue_user=entry.user_id, queue_id=entry.id, act=act
        ),
    ), shown["status"]


@blueprint.post("/organisations/<uuid:organisation_id>/queue/<queue_user>/<queue_id>/<act>")
@requires(Permission.STAFF_MANAGE)
@under_grant(Grant.WRITE)
def change_queue(organisation_id: UUID, queue_user: str, queue_id: str, act: str) -> ResponseReturnValue:
    """Hold, release or retry a message of the organisation."""
    found = queries.get_organisation(organisation_id)
    outbound = portal().mail.outbound
    user_id = UserId(ObjectId(queue_user)) if ObjectId.is_valid(queue_user) else None
    if user_id is None or act not in ACTS or outbound.get(user_id, queue_id).tenant_id != found.tenant_id:
        raise NotFound(queue_id)
    try:
        if act == "hold":
            outbound.hold(actor(), user_id, queue_id, "support")
        elif act == "release":
            outbound.release(actor(), user_id, queue_id)
        else:
            outbound.retry(actor(), user_id, queue_id)
    except BeingSent:
        flash(_("It is being sent this moment."), "error")
    return redirect(url_for("staff.queue", organisation_id=found.id), code=303)


@blueprint.get("/organisations/<uuid:organisation_id>/trace")
@requires(Permission.STAFF_VIEW)
@under_grant(Grant.READ)
def trace(organisation_id: UUID) -> ResponseReturnValue:
    """Show the steps of messages as the organisation finds them: no subject, no content."""
    found = queries.get_organisation(organisation_id)
    shown = searching.steps(found.tenant_id, partial(url_for, "staff.trace", organisation_id=found.id))
    of_message = _of_message(found.id)
    return render_template("staff/trace.html", organisation=found, **shown, of_message=of_message), shown["status"]


def _of_message(organisation_id: UUID) -> Callable[[str], str]:
    """Return what says where all steps of a message are."""
    return lambda queue_id: url_for("staff.trace", organisation_id=organisation_id, queue_id=queue_id)


@blueprint.get("/organisations/<uuid:organisation_id>/users")
@requires(Permission.STAFF_VIEW)
@under_grant(Grant.READ)
def users(organisation_id: UUID) -> ResponseReturnValue:
    """Show who has a mailbox: address and state."""
    found = queries.get_organisation(organisation_id)
    listed = portal().mail.users.list_of_tenant(found.tenant_id)
    return render_template("staff/users.html", organisation=found, users=listed)


@blueprint.get("/jobs")
@requires(Permission.STAFF_VIEW)
def jobs() -> ResponseReturnValue:
    """Show jobs that failed."""
    return render_template("staff/jobs.html", jobs=queries.failed_jobs(portal().redis))


@blueprint.post("/jobs/<job_id>/retry")
@requires(Permission.STAFF_MANAGE)
def retry(job_id: str) -> ResponseReturnValue:
    """Put a failed job on its queue again."""
    redis = portal().redis
    if redis is None:
        abort(404)
    services.retry_job(actor(), redis, job_id)
    return redirect(url_for("staff.jobs"), code=303)


def _done(organisation_id: UUID, work: Any) -> ResponseReturnValue:
    """Do something and lead back; a refusal is told there."""
    try:
        work()
    except REFUSALS as error:
        flash(refusal(error), "error")
    return redirect(url_for("staff.organisation", organisation_id=organisation_id), code=303)
