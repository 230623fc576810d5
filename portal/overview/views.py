"""The first page."""

from __future__ import annotations

from dataclasses import dataclass

from flask import Blueprint, current_app, redirect, render_template, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from portal.access import SignedIn, current, current_member, current_organisation, public, requires, signed_in
from portal.accounts import provisioning
from portal.accounts.models import Organisation, OrganisationState
from portal.domains.queries import count_claims
from portal.mail_plane import mail
from portal.members.queries import count_owners
from portal.permissions import Permission, Role
from portal.progress import Progress, stream
from portal.staff.queries import suspension_of

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
    """Show the organisation and what to do next; three round trips, one more if suspended, three to the mail plane."""
    organisation, who = current_organisation(), current()
    may_see = who.may(Permission.VIEW_DELIVERIES) and organisation.provisioned_at is not None
    holds = mail().sending_holds.list_of_tenant(organisation.tenant_id) if may_see else []
    steps = steps_of(organisation, who)
    suspended = organisation.state == OrganisationState.SUSPENDED
    return render_template(
        "overview/home.html",
        organisation=organisation,
        steps=steps,
        holds=holds,
        suspension=suspension_of(organisation.id) if suspended else None,
    )


@blueprint.get("/overview/progress")
@requires(Permission.VIEW_ORGANISATION)
def progress() -> ResponseReturnValue:
    """Tell when the organisation's mail service is ready."""
    organisation_id = current_organisation().id
    return stream(provisioning.topic(organisation_id), lambda: Progress(ended=provisioning.is_ready(organisation_id)))


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that an organisation does to get going."""

    title: str
    text: str
    done: bool
    href: str
    action: str


def steps_of(organisation: Organisation, who: SignedIn) -> list[Step]:
    """Return what is to be done, of what this role may do."""
    member = current_member()
    steps = []
    if who.may(Permission.MANAGE_DOMAINS):
        text = _("Bring the domain of your addresses, and set the records that we show you.")
        done = count_claims(organisation) > 0
        steps.append(Step(_("Add your domain"), text, done, url_for("domains.add"), _("Add a domain")))
    if who.may(Permission.MANAGE_PEOPLE):
        text = _("One by one, or all at once from a CSV file.")
        done = organisation.provisioned_at is not None and mail().users.count_of_tenant(organisation.tenant_id) > 0
        steps.append(Step(_("Add your people"), text, done, url_for("people.index"), _("Add somebody")))
    text = _("Add a passkey or an authenticator app, so that a stolen password opens nothing.")
    safe, mine = member.has_second_factor, url_for("profile.security")
    steps.append(Step(_("Protect your own sign-in"), text, safe, mine, _("Go to my sign-in")))
    if who.may(Permission.MANAGE_OWNERS):
        text = _("So that somebody can act when you cannot.")
        done = count_owners(organisation) > 1
        steps.append(Step(_("Invite a second owner"), text, done, url_for("members.invite"), _("Invite somebody")))
    return steps
