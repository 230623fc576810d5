"""Pages about members."""

from __future__ import annotations

from flask import Blueprint, render_template
from flask.typing import ResponseReturnValue

from portal.access import current_organisation, requires
from portal.members import queries
from portal.permissions import Permission

blueprint = Blueprint("members", __name__, url_prefix="/members")


@blueprint.get("")
@requires(Permission.VIEW_MEMBERS)
def index() -> ResponseReturnValue:
    """Show who runs the organisation and who is invited."""
    organisation = current_organisation()
    return render_template(
        "members/index.html",
        memberships=queries.list_members(organisation),
        invitations=queries.list_invitations(organisation),
    )
