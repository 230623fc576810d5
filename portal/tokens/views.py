"""Pages about API tokens."""

from __future__ import annotations

from datetime import timedelta

from bson import ObjectId
from flask import Blueprint, abort, flash, redirect, render_template, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from mailcore.errors import NotFound, ValueInvalid
from mailcore.model.roles import Role
from mailcore.services.accounts.tokens import owner_of_tenant
from portal.access import actor, current_organisation, requires
from portal.database import utc_now
from portal.mail_plane import current_tenant, mail
from portal.permissions import Permission
from portal.tokens.forms import ROLES, TokenForm

blueprint = Blueprint("tokens", __name__, url_prefix="/tokens")


@blueprint.get("")
@requires(Permission.MANAGE_TOKENS)
def index() -> ResponseReturnValue:
    """Show the tokens there are; their values are shown to nobody."""
    found = mail().tokens.list_of(owner_of_tenant(current_tenant())) if _is_ready() else []
    return render_template("tokens/index.html", tokens=found, roles=ROLES, is_ready=_is_ready())


@blueprint.route("/add", methods=["GET", "POST"])
@requires(Permission.MANAGE_TOKENS)
def add() -> ResponseReturnValue:
    """Make a token and show its value this once."""
    if not _is_ready():
        flash(_("Your mail service is still being prepared. Try again in a minute."), "warning")
        return redirect(url_for("tokens.index"), code=303)
    form = TokenForm()
    if form.validate_on_submit():
        ends_at = utc_now() + timedelta(days=int(form.days.data)) if form.days.data else None
        try:
            token, value = mail().tokens.create(
                actor(),
                owner_of_tenant(current_tenant()),
                Role(form.role.data),
                form.description.data or "",
                ends_at=ends_at,
            )
        except ValueInvalid:
            form.description.errors = [_("Say what it is for, in up to 200 characters.")]
        else:
            return render_template("tokens/made.html", token=token, value=value.reveal_text(), roles=ROLES)
    return render_template("tokens/add.html", form=form), 400 if form.errors else 200


@blueprint.post("/<token_id>/revoke")
@requires(Permission.MANAGE_TOKENS)
def revoke(token_id: str) -> ResponseReturnValue:
    """Take a token back at once."""
    if not ObjectId.is_valid(token_id):
        abort(404)
    try:
        mail().tokens.revoke(actor(), owner_of_tenant(current_tenant()), ObjectId(token_id))
    except NotFound:
        abort(404)
    flash(_("The token is revoked; it opens nothing any more."), "success")
    return redirect(url_for("tokens.index"), code=303)


def _is_ready() -> bool:
    return current_organisation().provisioned_at is not None
