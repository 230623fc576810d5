"""Shared mailboxes: mail that several read and nobody signs in to."""

from __future__ import annotations

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from mailcore.errors import MailError, Unavailable
from mailcore.model.ids import UserId
from portal.access import actor, requires
from portal.mail_plane import current_tenant, mail
from portal.people.addresses import user_ids
from portal.people.forms import DelegatesForm, SharedMailboxForm
from portal.people.requests import PAGE, attempt, id_of, user_of_tenant
from portal.permissions import Permission
from portal.refusals import refusal

blueprint = Blueprint("shared_mailboxes", __name__, url_prefix="/shared-mailboxes")


@blueprint.get("/")
@requires(Permission.VIEW_PEOPLE)
def index() -> ResponseReturnValue:
    """Show shared mailboxes; three round trips."""
    after = request.args.get("after")
    page = mail().people.page(
        current_tenant(), is_shared=True, after=UserId(id_of(after)) if after else None, limit=PAGE
    )
    later = url_for("shared_mailboxes.index", after=page.people[-1].user.id) if page.has_more else None
    return render_template("people/shared_mailboxes.html", page=page, later=later)


@blueprint.route("/new", methods=["GET", "POST"])
@requires(Permission.MANAGE_PEOPLE)
def add() -> ResponseReturnValue:
    """Make a shared mailbox."""
    form = SharedMailboxForm()
    if form.validate_on_submit():
        found, unknown = user_ids(mail(), current_tenant(), form.delegates.data or "")
        if unknown:
            form.delegates.errors = [_("Nobody in your organisation has %(address)s.", address=unknown[0])]
        else:
            try:
                made = mail().shared_mailboxes.create(
                    actor(), current_tenant(), form.address.data or "", form.name.data or "", found
                )
            except Unavailable:
                raise
            except MailError as error:
                form.address.errors = [*form.address.errors, refusal(error)]
            else:
                flash(_("%(address)s is there. Its readers find it in their programs under Shared.",
                        address=form.address.data), "success")  # fmt: skip
                return redirect(url_for("people.show", user_id=made), code=303)
    return render_template("people/shared_mailbox_form.html", form=form), 400 if form.errors else 200


@blueprint.post("/<user_id>/delegates")
@requires(Permission.MANAGE_PEOPLE)
def set_delegates(user_id: str) -> ResponseReturnValue:
    """Say who reads it and sends as it."""
    user = user_of_tenant(user_id)
    form = DelegatesForm()
    form.validate_on_submit()
    found, unknown = user_ids(mail(), current_tenant(), form.delegates.data or "")
    target = url_for("people.show", user_id=user_id)
    if unknown:
        flash(_("Nobody in your organisation has %(address)s.", address=unknown[0]), "error")
        return redirect(target, code=303)
    return attempt(lambda: mail().shared_mailboxes.set_delegates(actor(), user.id, found), _("Saved."), target)
