"""Users: found, made, and looked at."""

from __future__ import annotations

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from mailcore.errors import MailError, Unavailable
from mailcore.model.ids import UserId
from mailcore.model.secret import Secret
from portal.access import actor, current, requires
from portal.mail_plane import current_tenant, external_url, mail
from portal.people.forms import AddressForm, EditUserForm, ProtocolsForm, SettingsForm, UserForm
from portal.people.imports import made_up_password
from portal.people.requests import PAGE, attempt, id_of, user_of_tenant
from portal.people.set_up import qr_code, servers
from portal.people.sizes import size_of, written
from portal.people.words import posters_name, scope_name
from portal.permissions import Permission
from portal.refusals import refusal
from portal.waiting_targets import waiting_of

blueprint = Blueprint("people", __name__, url_prefix="/people")
blueprint.add_app_template_filter(scope_name)
blueprint.add_app_template_filter(posters_name)


@blueprint.get("/")
@requires(Permission.VIEW_PEOPLE)
def index() -> ResponseReturnValue:
    """Show users, a page at a time; three round trips to the directory and the shard."""
    text = request.args.get("q", "").strip()[:200]
    after, before = _user_id("after"), _user_id("before")
    page = mail().people.page(current_tenant(), text, after=after, before=before, limit=PAGE)
    earlier = later = None
    if page.people:
        has_earlier = page.has_more if before is not None else after is not None
        has_later = before is not None or page.has_more
        first, last = page.people[0].user.id, page.people[-1].user.id
        earlier = url_for("people.index", q=text or None, before=first) if has_earlier else None
        later = url_for("people.index", q=text or None, after=last) if has_later else None
    template = "people/_list.html" if request.headers.get("HX-Target") == "people-list" else "people/index.html"
    return render_template(template, page=page, text=text, earlier=earlier, later=later)


def _user_id(name: str) -> UserId | None:
    given = request.args.get(name)
    return UserId(id_of(given)) if given else None


@blueprint.route("/new", methods=["GET", "POST"])
@requires(Permission.MANAGE_PEOPLE)
def add() -> ResponseReturnValue:
    """Make a user with a first password, which is shown once."""
    form = UserForm()
    if form.validate_on_submit():
        password = made_up_password()
        quota_bytes = size_of(form.quota.data or "")
        try:
            user_id = mail().users.create(
                actor(), form.address.data or "", password, form.name.data or "", current_tenant(), quota_bytes
            )
            mail().users.require_password_change(actor(), user_id)
        except Unavailable:
            raise
        except MailError as error:
            form.address.errors = [*form.address.errors, refusal(error)]
        else:
            return _first_password(user_id, password)
    domains = [domain.name for domain in mail().domains.list_of(current_tenant()) if domain.verified_at]
    return render_template("people/add.html", form=form, domains=domains), 400 if form.errors else 200


def _first_password(user_id: UserId, password: Secret) -> ResponseReturnValue:
    """Show a password once; going back or reloading does not bring it back."""
    user = mail().users.get(user_id)
    return render_template("people/password.html", user=user, password=password.reveal_text())


@blueprint.get("/<user_id>")
@requires(Permission.VIEW_PEOPLE)
def show(user_id: str) -> ResponseReturnValue:
    """Show all of a user that an admin may see: never its mail."""
    user = user_of_tenant(user_id)
    services, tenant = mail(), mail().tenants.get(current_tenant())
    form = EditUserForm(data={"name": user.name, "quota": written(user.quota_bytes)})
    protocols = ProtocolsForm.showing(user.disabled_protocols)
    return render_template(
        "people/show.html",
        user=user,
        form=form,
        protocols=protocols,
        address=AddressForm(),
        tenant=tenant,
        used_bytes=services.people.used_bytes([user]).get(user.id, 0),
        addresses=services.addresses.list_of_user(user.id),
        app_passwords=services.app_passwords.list_of_user(user.id),
        delegates=services.shared_mailboxes.delegates(user.id) if user.is_shared else (),
        waiting=waiting_of(user) if current().may(Permission.MANAGE_PEOPLE) else (),
    )


@blueprint.post("/<user_id>/edit")
@requires(Permission.MANAGE_PEOPLE)
def edit(user_id: str) -> ResponseReturnValue:
    """Change name and storage."""
    user = user_of_tenant(user_id)
    form = EditUserForm()
    target = url_for("people.show", user_id=user_id)
    if not form.validate_on_submit():
        flash(_("Write an amount such as 5 GB, or leave it empty."), "error")
        return redirect(target, code=303)

    def change() -> None:
        if (form.name.data or "") != user.name:
            mail().users.set_name(actor(), user.id, form.name.data or "")
        quota_bytes = size_of(form.quota.data or "")
        if written(quota_bytes) != written(user.quota_bytes):
            mail().users.set_quota(actor(), user.id, quota_bytes)

    return attempt(change, _("Saved."), target)


@blueprint.get("/settings")
@requires(Permission.VIEW_PEOPLE)
def settings() -> ResponseReturnValue:
    """Show what holds for everybody: ways to the mail, and the storage that all share."""
    tenant = mail().tenants.get(current_tenant())
    form = SettingsForm.showing(tenant.disabled_protocols)
    return render_template("people/settings.html", tenant=tenant, form=form, users=mail().people.count(tenant.id))


@blueprint.post("/settings/protocols")
@requires(Permission.MANAGE_PEOPLE)
def set_protocols_of_all() -> ResponseReturnValue:
    """Open and close ways to the mail for everybody."""
    form = SettingsForm()
    return attempt(
        lambda: mail().tenants.set_disabled_protocols(actor(), current_tenant(), form.disabled()),
        _("Saved. Connections that are no longer allowed end within seconds."),
        url_for("people.settings"),
    )


@blueprint.get("/<user_id>/set-up")
@requires(Permission.VIEW_PEOPLE)
def set_up(user_id: str) -> ResponseReturnValue:
    """Show how this user's programs are set up, to be printed or sent."""
    user = user_of_tenant(user_id)
    link = external_url(url_for("own_set_up.index"))
    return render_template(
        "people/set_up.html", user=user, servers=servers(mail().settings), link=link, code=qr_code(link)
    )
