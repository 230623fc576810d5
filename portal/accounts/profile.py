"""A member's own sign-in: sessions and how to end them."""

from __future__ import annotations

from uuid import UUID

from flask import Blueprint, abort, flash, redirect, render_template, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from portal.access import actor, current, current_member, requires
from portal.accounts import sessions
from portal.audit.services import record
from portal.database import unit_of_work
from portal.permissions import Permission

blueprint = Blueprint("profile", __name__, url_prefix="/profile")


@blueprint.get("/security")
@requires(Permission.OWN_PROFILE)
def security() -> ResponseReturnValue:
    """Show by what one signs in, and where one is signed in."""
    member = current_member()
    return render_template(
        "accounts/security.html", member=member, here=current().session.id, sessions=sessions.list_sessions(member.id)
    )


@blueprint.post("/sessions/<uuid:session_id>/end")
@requires(Permission.OWN_PROFILE)
def end_session(session_id: UUID) -> ResponseReturnValue:
    """Sign out one browser of one's own."""
    who, member = current(), current_member()
    with unit_of_work():
        if not sessions.end_sessions(member.id, only=session_id):
            abort(404)
        record(actor(), "session.ended", member.email, organisation_id=who.session.organisation_id)
    flash(_("That browser is signed out."), "success")
    return redirect(url_for("profile.security"), code=303)


@blueprint.post("/sessions/end-others")
@requires(Permission.OWN_PROFILE)
def end_other_sessions() -> ResponseReturnValue:
    """Sign out every browser but this one."""
    who, member = current(), current_member()
    with unit_of_work():
        ended = sessions.end_sessions(member.id, keep=who.session.digest)
        record(actor(), "session.ended", member.email, {"ended": ended}, organisation_id=who.session.organisation_id)
    flash(_("All other browsers are signed out."), "success")
    return redirect(url_for("profile.security"), code=303)
