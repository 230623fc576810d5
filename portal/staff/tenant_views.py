"""Pages of an organisation about support: what it grants, to whom, and how long."""

from __future__ import annotations

from uuid import UUID

from flask import Blueprint, flash, redirect, render_template, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from portal.access import actor, current_organisation, requires
from portal.database import utc_now
from portal.permissions import Permission
from portal.staff import grants, queries
from portal.staff.forms import GrantForm

blueprint = Blueprint("support", __name__, url_prefix="/support")


@blueprint.get("")
@requires(Permission.MANAGE_ORGANISATION)
def index() -> ResponseReturnValue:
    """Show what is granted, what was, and a form for more."""
    organisation = current_organisation()
    return render_template(
        "support/index.html",
        grants=grants.list_grants(organisation),
        suspension=queries.suspension_of(organisation.id),
        form=GrantForm(),
        now=utc_now(),
    )


@blueprint.post("")
@requires(Permission.MANAGE_OWNERS)
def grant() -> ResponseReturnValue:
    """Let support look, or act, for some hours."""
    form = GrantForm()
    if not form.validate_on_submit():
        flash(_("Say what support is to look at, and for how long."), "error")
    else:
        grants.give(
            actor(),
            current_organisation(),
            form.reason.data or "",
            int(form.hours.data),
            may_write=bool(form.may_write.data),
        )
        flash(_("Support may look now. Every page they see stands in your audit log."), "success")
    return redirect(url_for("support.index"), code=303)


@blueprint.post("/<uuid:grant_id>/revoke")
@requires(Permission.MANAGE_OWNERS)
def revoke(grant_id: UUID) -> ResponseReturnValue:
    """End a grant now."""
    grants.revoke(actor(), current_organisation(), grant_id)
    flash(_("Support may not look any more."), "success")
    return redirect(url_for("support.index"), code=303)
