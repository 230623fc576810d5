"""Pages about members."""

from __future__ import annotations

from uuid import UUID

from flask import Blueprint, abort, flash, redirect, render_template, url_for
from flask.typing import ResponseReturnValue
from flask_babel import get_locale
from flask_babel import gettext as _

from mailcore.errors import AddressInvalid, NotPermitted
from portal.access import actor, current, current_member, current_organisation, requires
from portal.accounts import cookies, sessions
from portal.choices import choices
from portal.mail_plane import mail
from portal.members import queries, services
from portal.members.forms import InviteForm, RoleForm, SecondFactorForm, SwitchForm
from portal.permissions import MEMBER_ROLES, Permission, Role, allows
from portal.rate_limits import Rate, limit
from portal.showing import role_name

blueprint = Blueprint("members", __name__, url_prefix="/members")


def given_roles() -> dict[str, str]:
    """Return the roles, and what they are called, that whoever is signed in may give, the least mighty first."""
    may_owners = allows(current().role, Permission.MANAGE_OWNERS)
    return {role.value: role_name(role) for role in reversed(MEMBER_ROLES) if may_owners or role is not Role.OWNER}


@blueprint.get("")
@requires(Permission.VIEW_MEMBERS)
def index() -> ResponseReturnValue:
    """Show who runs the organisation and who is invited."""
    organisation = current_organisation()
    return render_template(
        "members/index.html",
        memberships=queries.list_members(organisation),
        invitations=queries.list_invitations(organisation),
        organisation=organisation,
    )


@blueprint.route("/invite", methods=["GET", "POST"])
@requires(Permission.MANAGE_MEMBERS)
def invite() -> ResponseReturnValue:
    """Ask somebody to become a member."""
    organisation = current_organisation()
    form = InviteForm()
    form.role.choices = choices(given_roles())
    if form.validate_on_submit():
        limit(Rate.INVITE, str(organisation.id))
        email = (form.email.data or "").strip()
        try:
            services.invite(
                mail(), actor(), organisation, current().role, email, Role(form.role.data), str(get_locale())
            )
        except AddressInvalid:
            form.email.errors = [_("That is no address that mail can be sent to. Look for a typing error.")]
        except NotPermitted:
            form.email.errors = [_("Only an owner may do this.")]
        except services.AlreadyMember:
            form.email.errors = [_("Whoever has this address is a member already.")]
        else:
            flash(_("%(email)s is invited.", email=email), "success")
            return redirect(url_for("members.index"), code=303)
    return render_template("members/invite.html", form=form), 400 if form.errors else 200


@blueprint.post("/invitations/<uuid:invitation_id>/withdraw")
@requires(Permission.MANAGE_MEMBERS)
def withdraw(invitation_id: UUID) -> ResponseReturnValue:
    """Take an invitation back."""
    try:
        if not services.withdraw(actor(), current_organisation(), current().role, invitation_id):
            abort(404)
    except NotPermitted:
        flash(_("Only an owner may do this."), "error")
    else:
        flash(_("The invitation is taken back; its link opens nothing any more."), "success")
    return redirect(url_for("members.index"), code=303)


@blueprint.route("/<uuid:member_id>", methods=["GET", "POST"])
@requires(Permission.MANAGE_MEMBERS)
def edit(member_id: UUID) -> ResponseReturnValue:
    """Give a member another role."""
    organisation = current_organisation()
    membership = queries.find_membership(organisation, member_id)
    if membership is None:
        abort(404)
    form = RoleForm(role=str(membership.role))
    form.role.choices = choices(given_roles())
    if form.validate_on_submit():
        try:
            services.change_role(actor(), organisation, current().role, member_id, Role(form.role.data))
        except NotPermitted:
            form.role.errors = [_("Only an owner may do this.")]
        except services.LastOwner:
            form.role.errors = [_("An organisation has at least one owner. Make somebody else an owner first.")]
        else:
            flash(_("%(name)s has another role now.", name=membership.member.name), "success")
            return redirect(url_for("members.index"), code=303)
    page = render_template("members/edit.html", form=form, membership=membership, is_self=_is_self(member_id))
    return page, 400 if form.errors else 200


@blueprint.post("/<uuid:member_id>/remove")
@requires(Permission.MANAGE_MEMBERS)
def remove(member_id: UUID) -> ResponseReturnValue:
    """Remove a member from the organisation."""
    try:
        if not services.remove(actor(), current_organisation(), current().role, member_id):
            abort(404)
    except NotPermitted:
        flash(_("Only an owner may do this."), "error")
    except services.LastOwner:
        flash(_("An organisation has at least one owner. Make somebody else an owner first."), "error")
    else:
        flash(_("Removed, and signed out everywhere. The API tokens they had made are revoked."), "success")
    return redirect(url_for("members.index"), code=303)


@blueprint.route("/second-factors", methods=["GET", "POST"])
@requires(Permission.MANAGE_ORGANISATION)
def second_factors() -> ResponseReturnValue:
    """Say members of which roles must have a second factor."""
    organisation = current_organisation()
    form = SecondFactorForm(roles=organisation.second_factor_roles)
    form.roles.choices = choices({role.value: role_name(role) for role in MEMBER_ROLES})
    if form.validate_on_submit():
        services.set_second_factor_roles(actor(), organisation, frozenset(map(Role, form.roles.data or [])))
        flash(_("Saved. Whoever lacks a second factor is asked for one at the next page."), "success")
        return redirect(url_for("members.index"), code=303)
    return render_template("members/second_factors.html", form=form), 400 if form.errors else 200


@blueprint.route("/organisations", methods=["GET", "POST"])
@requires(Permission.OWN_PROFILE)
def switch() -> ResponseReturnValue:
    """Work on another organisation of one's own; the role may be another, so the session gets a new id."""
    mine = sessions.organisations_of(current_member().id)
    form = SwitchForm()
    if form.validate_on_submit():
        chosen = next((one for one in mine if str(one.id) == form.organisation.data), None)
        if chosen is None:
            abort(404)
        cookies.sign_in(sessions.renew(current().session, organisation_id=chosen.id))
        return redirect(url_for("overview.front"), code=303)
    return render_template("members/organisations.html", organisations=mine, here=current_organisation())


def _is_self(member_id: UUID) -> bool:
    return current_member().id == member_id
