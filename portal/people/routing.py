"""Where mail goes that has no user of its own: catch-alls, and domains that stand for others."""

from __future__ import annotations

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from mailcore.model.wildcard import is_wildcard
from portal.access import actor, requires
from portal.mail_plane import current_tenant, mail
from portal.people.addresses import user_ids
from portal.people.forms import CatchAllForm, DomainAliasForm
from portal.people.requests import attempt, user_of_tenant
from portal.permissions import Permission

blueprint = Blueprint("routing", __name__, url_prefix="/addresses")


@blueprint.get("/")
@requires(Permission.VIEW_PEOPLE)
def index() -> ResponseReturnValue:
    """Show both; three round trips, and one for those who get catch-alls."""
    tenant_id, services = current_tenant(), mail()
    wildcards = services.addresses.list_wildcards(tenant_id)
    owners = services.people.by_id(tenant_id, [route.user_id for route in wildcards])
    domains = services.domains.list_of(tenant_id)
    return render_template(
        "people/routing.html",
        wildcards=[(route, owners.get(route.user_id)) for route in wildcards],
        domains=domains,
        aliases=[domain for domain in domains if domain.alias_of],
        catch_all=CatchAllForm(formdata=None),
        domain_alias=DomainAliasForm(formdata=None),
    )


@blueprint.post("/catch-alls")
@requires(Permission.MANAGE_PEOPLE)
def add_catch_all() -> ResponseReturnValue:
    """Let somebody get what is sent to addresses that nobody has."""
    form = CatchAllForm()
    target = url_for("routing.index")
    if not form.validate_on_submit():
        flash(_("Enter a domain, and the address of a user."), "error")
        return redirect(target, code=303)
    found, unknown = user_ids(mail(), current_tenant(), form.address.data or "")
    if unknown or len(found) != 1:
        flash(_("Nobody in your organisation has %(address)s.", address=form.address.data), "error")
        return redirect(target, code=303)
    pattern = (form.pattern.data or "").strip()
    wanted = pattern if is_wildcard(pattern) else f"*@{pattern.removeprefix('@')}"
    return attempt(
        lambda: mail().addresses.create(actor(), found[0], wanted, allow_wildcard=True),
        _("Mail to %(pattern)s that nobody else gets arrives there now.", pattern=wanted),
        target,
    )


@blueprint.post("/catch-alls/<user_id>/remove")
@requires(Permission.MANAGE_PEOPLE)
def remove_catch_all(user_id: str) -> ResponseReturnValue:
    """Refuse again what nobody has an address for."""
    user = user_of_tenant(user_id)
    pattern = request.form.get("pattern", "")[:400]
    return attempt(
        lambda: mail().addresses.delete(actor(), user.id, pattern),
        _("Mail to addresses that nobody has is refused again."),
        url_for("routing.index"),
    )


@blueprint.post("/domain-aliases")
@requires(Permission.MANAGE_PEOPLE)
def add_domain_alias() -> ResponseReturnValue:
    """Let every address of a domain be found under another name too."""
    form = DomainAliasForm()
    form.validate_on_submit()
    return attempt(
        lambda: mail().domains.create_alias(actor(), current_tenant(), form.alias.data or "", form.domain.data or ""),
        _("Every address of %(domain)s is found under %(alias)s too.", domain=form.domain.data, alias=form.alias.data),
        url_for("routing.index"),
    )


@blueprint.post("/domain-aliases/remove")
@requires(Permission.MANAGE_PEOPLE)
def remove_domain_alias() -> ResponseReturnValue:
    """Let a domain stand for itself alone."""
    alias = request.form.get("alias", "")[:260]
    return attempt(
        lambda: mail().domains.delete_alias(actor(), current_tenant(), alias),
        _("%(alias)s stands for itself alone now.", alias=alias),
        url_for("routing.index"),
    )
