"""Groups: one address for many."""

from __future__ import annotations

from flask import Blueprint, abort, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from mailcore.errors import AddressInvalid, MailError, Unavailable
from mailcore.model.routing import Group, Posters
from portal.access import actor, requires
from portal.mail_plane import current_tenant, mail
from portal.people.addresses import first_malformed, several, user_ids
from portal.people.forms import GroupForm, NewGroupForm
from portal.people.requests import attempt, id_of
from portal.permissions import Permission
from portal.refusals import refusal

blueprint = Blueprint("groups", __name__, url_prefix="/groups")


@blueprint.get("/")
@requires(Permission.VIEW_PEOPLE)
def index() -> ResponseReturnValue:
    """Show groups; one round trip for each thousand."""
    after = request.args.get("after")
    found = mail().groups.list_of(current_tenant(), id_of(after) if after else None)
    later = url_for("groups.index", after=found[-1].id) if len(found) >= 1000 else None
    return render_template("people/groups.html", groups=found, later=later)


@blueprint.route("/new", methods=["GET", "POST"])
@requires(Permission.MANAGE_PEOPLE)
def add() -> ResponseReturnValue:
    """Make a group."""
    form = NewGroupForm()
    if form.validate_on_submit() and _save(form, None):
        flash(_("%(address)s is a group now.", address=form.address.data), "success")
        return redirect(url_for("groups.index"), code=303)
    return render_template("people/group_form.html", form=form, group=None), 400 if form.errors else 200


@blueprint.get("/<group_address>")
@requires(Permission.VIEW_PEOPLE)
def show(group_address: str) -> ResponseReturnValue:
    """Show a group."""
    group = _group(group_address)
    return render_template("people/group_form.html", form=_form_of(group), group=group)


@blueprint.post("/<group_address>/edit")
@requires(Permission.MANAGE_PEOPLE)
def edit(group_address: str) -> ResponseReturnValue:
    """Change a group."""
    group = _group(group_address)
    form = GroupForm()
    if form.validate_on_submit() and _save(form, group):
        flash(_("Saved."), "success")
        return redirect(url_for("groups.show", group_address=group.display), code=303)
    return render_template("people/group_form.html", form=form, group=group), 400


@blueprint.post("/<group_address>/delete")
@requires(Permission.MANAGE_PEOPLE)
def delete(group_address: str) -> ResponseReturnValue:
    """Give a group up."""
    group = _group(group_address)
    return attempt(
        lambda: mail().groups.delete(actor(), current_tenant(), group.display),
        _("%(address)s is no group any more. Mail to it is refused.", address=group.display),
        url_for("groups.index"),
    )


def _group(address: str) -> Group:
    """Return a group of the organisation; 404 for what is none."""
    try:
        return mail().groups.get(current_tenant(), address)
    except AddressInvalid:
        abort(404)


def _form_of(group: Group) -> GroupForm:
    moderators = [mail().users.get(one).address for one in group.moderators]
    return GroupForm(
        formdata=None,
        data={
            "name": group.name,
            "members": "\n".join(group.members),
            "posters": group.posters.value,
            "moderators": "\n".join(moderators),
        },
    )


def _save(form: GroupForm, group: Group | None) -> bool:
    """Make or change a group as a form says; where that is refused the form says why."""
    moderators, unknown = user_ids(mail(), current_tenant(), form.moderators.data or "")
    if unknown:
        form.moderators.errors = [_("Nobody in your organisation has %(address)s.", address=unknown[0])]
        return False
    name, members = form.name.data or "", several(form.members.data or "")
    wrong = first_malformed(members)
    if wrong is not None:
        form.members.errors = [_("“%(value)s” is not an address that can receive mail.", value=wrong)]
        return False
    posters = Posters(form.posters.data)
    try:
        if isinstance(form, NewGroupForm):
            mail().groups.create(
                actor(), current_tenant(), form.address.data or "", members,
                name=name, posters=posters, moderators=moderators,
            )  # fmt: skip
        elif group is not None:
            mail().groups.update(
                actor(), current_tenant(), group.display,
                name=name, members=members, posters=posters, moderators=moderators,
            )  # fmt: skip
    except Unavailable:
        raise
    except MailError as error:
        field = form.address if isinstance(form, NewGroupForm) else form.members
        field.errors = [*field.errors, refusal(error)]
        return False
    return True
