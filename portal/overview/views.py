"""The first page."""

from __future__ import annotations

from flask import Blueprint, current_app, redirect, render_template, url_for
from flask.typing import ResponseReturnValue

from portal.access import current_organisation, public, requires, signed_in
from portal.permissions import Permission, Role

blueprint = Blueprint("overview", __name__)


@blueprint.get("/")
@public
def front() -> ResponseReturnValue:
    """Show what this is; lead those who are signed in to their first page."""
    who = signed_in()
    if who is None:
        return render_template("overview/front.html")
    first = {Role.MAIL_USER: "own.home", Role.STAFF: "staff.home"}.get(who.role, "overview.home")
    if first not in current_app.view_functions:
        return render_template("overview/front.html")
    return redirect(url_for(first), code=303)


@blueprint.get("/overview")
@requires(Permission.VIEW_ORGANISATION)
def home() -> ResponseReturnValue:
    """Show the organisation and what to do next."""
    return render_template("overview/home.html", organisation=current_organisation())
