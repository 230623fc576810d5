"""Pages of staff about features: for one organisation, and for a share of all."""

from __future__ import annotations

from uuid import UUID

from flask import Blueprint, abort, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from mailcore.errors import ValueInvalid
from mailcore.model.features import Feature
from portal.access import actor, requires
from portal.permissions import Permission
from portal.staff import features, queries
from portal.staff.words import FEATURES

blueprint = Blueprint("staff_features", __name__, url_prefix="/staff")
CHOICES = {"on": True, "off": False, "as-others": None}


@blueprint.get("/features")
@requires(Permission.STAFF_VIEW)
def index() -> ResponseReturnValue:
    """Show each feature, how many have it, and for whom staff chose."""
    return render_template("staff/features.html", spreads=features.spreads(), texts=FEATURES)


@blueprint.post("/features/<feature>")
@requires(Permission.STAFF_MANAGE)
def share(feature: str) -> ResponseReturnValue:
    """Let a share of all organisations have it."""
    number = request.form.get("percent", "")
    percent = int(number) if number.isdecimal() and len(number) <= 3 else -1
    try:
        features.set_share(actor(), _named(feature), percent, request.form.get("reason", ""))
        flash(_("It holds within some minutes."), "success")
    except ValueInvalid:
        flash(_("Give a reason, and a number from 0 to 100."), "error")
    return redirect(url_for("staff_features.index"), code=303)


@blueprint.get("/organisations/<uuid:organisation_id>/features")
@requires(Permission.STAFF_VIEW)
def organisation(organisation_id: UUID) -> ResponseReturnValue:
    """Show what one organisation has, and why."""
    found = queries.get_organisation(organisation_id)
    switches = features.switches_of(found).values()
    return render_template("staff/organisation_features.html", organisation=found, switches=switches, texts=FEATURES)


@blueprint.post("/organisations/<uuid:organisation_id>/features/<feature>")
@requires(Permission.STAFF_MANAGE)
def choose(organisation_id: UUID, feature: str) -> ResponseReturnValue:
    """Switch a feature of one organisation."""
    found, named = queries.get_organisation(organisation_id), _named(feature)
    wanted = request.form.get("choice", "")
    if wanted not in CHOICES:
        abort(400)
    try:
        features.choose(actor(), found, named, CHOICES[wanted], request.form.get("reason", ""))
        flash(_("It holds within half a minute."), "success")
    except ValueInvalid:
        flash(_("Give a reason."), "error")
    return redirect(url_for("staff_features.organisation", organisation_id=found.id), code=303)


def _named(text: str) -> Feature:
    try:
        return Feature(text)
    except ValueError:
        abort(404)
