"""What is done with one user: renamed, suspended, helped, deleted, turned into a shared mailbox."""

from __future__ import annotations

from collections.abc import Callable

from flask import flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from mailcore.errors import NotFound
from mailcore.model.ids import UserId
from mailcore.model.tenant import State, User
from portal.access import actor, current, requires
from portal.mail_plane import current_tenant, mail
from portal.people.addresses import user_ids
from portal.people.forms import AddressForm, DelegatesForm, ProtocolsForm
from portal.people.guarded import may_open
from portal.people.requests import attempt, id_of, user_of_tenant
from portal.people.views import blueprint
from portal.permissions import Permission
from portal.waiting_targets import waiting_of


def _shown(user_id: str) -> str:
    return url_for("people.show", user_id=user_id)


def _change(user_id: str, change: Callable[[User], object], done: str, anchor: str = "") -> ResponseReturnValue:
    """Change a user of the organisation, say how it went, and show the user."""
    user = user_of_tenant(user_id)
    return attempt(lambda: change(user), done, _shown(user_id), anchor=anchor)


def _refused(user_id: str) -> ResponseReturnValue:
    flash(_("This is the mailbox of somebody who runs your organisation. Ask an owner to do it."), "error")
    return redirect(_shown(user_id), code=303)


def _wanted_address() -> str:
    form = AddressForm()
    form.validate_on_submit()
    return form.address.data or ""


@blueprint.post("/<user_id>/rename")
@requires(Permission.MANAGE_PEOPLE)
def rename(user_id: str) -> ResponseReturnValue:
    """Give another main address; the old one goes on to work."""
    done = _("Renamed. Mail to the old address goes on to arrive.")
    return _change(user_id, lambda user: mail().renaming.rename(actor(), user.id, _wanted_address()), done, "addresses")


@blueprint.post("/<user_id>/addresses")
@requires(Permission.MANAGE_PEOPLE)
def add_address(user_id: str) -> ResponseReturnValue:
    """Give one more address."""
    address = _wanted_address()
    done = _("Mail to %(address)s arrives here now.", address=address)
    return _change(user_id, lambda user: mail().addresses.create(actor(), user.id, address), done, "addresses")


@blueprint.post("/<user_id>/addresses/remove")
@requires(Permission.MANAGE_PEOPLE)
def remove_address(user_id: str) -> ResponseReturnValue:
    """Take an address away."""
    address = request.form.get("address", "")[:400]
    done = _("Mail to %(address)s is refused from now on.", address=address)
    return _change(user_id, lambda user: mail().addresses.delete(actor(), user.id, address), done, "addresses")


@blueprint.post("/<user_id>/state")
@requires(Permission.MANAGE_PEOPLE)
def set_state(user_id: str) -> ResponseReturnValue:
    """Suspend, refuse mail, or let in again."""
    user = user_of_tenant(user_id)
    wanted = request.form.get("state", "")
    state = State(wanted) if wanted in set(State) else user.state
    done = {
        State.ACTIVE: _("This user may sign in again."),
        State.SUSPENDED: _("This user is signed out and cannot sign in. Mail goes on to arrive."),
        State.DISABLED: _("This user is signed out, and mail is refused."),
    }[state]
    return attempt(lambda: mail().users.set_state(actor(), user.id, state), done, _shown(user_id))


@blueprint.post("/<user_id>/targets/allow")
@requires(Permission.MANAGE_PEOPLE)
def allow_target(user_id: str) -> ResponseReturnValue:
    """Send a user's mail on to a URL that waits for it."""
    target = request.form.get("target", "")

    def allow(user: User) -> None:
        if target not in {one.target for one in waiting_of(user) if one.is_url}:
            raise NotFound(target)
        mail().targets.vouch(actor(), user.id, [target])

    return _change(user_id, allow, _("Allowed. Mail goes on there from now on."), "forwarding")


@blueprint.post("/<user_id>/protocols")
@requires(Permission.MANAGE_PEOPLE)
def set_protocols(user_id: str) -> ResponseReturnValue:
    """Open and close ways to the mail."""
    closed = ProtocolsForm().disabled()
    done = _("Saved. Connections that are no longer allowed end within seconds.")
    return _change(
        user_id, lambda user: mail().users.set_disabled_protocols(actor(), user.id, closed), done, "protocols"
    )


@blueprint.post("/<user_id>/password")
@requires(Permission.HELP_PEOPLE)
def new_password(user_id: str) -> ResponseReturnValue:
    """Make a password for a day, to choose another with; it is shown once."""
    user = user_of_tenant(user_id)
    if user.is_shared:
        flash(_("Nobody signs in to a shared mailbox."), "error")
        return redirect(_shown(user_id), code=303)
    if not may_open(mail(), current(), user.id):
        return _refused(user_id)
    password = mail().temporary_passwords.create(actor(), user.id)
    return render_template("people/password.html", user=user, password=password.reveal_text(), temporary=True)


@blueprint.post("/<user_id>/second-factors/reset")
@requires(Permission.HELP_PEOPLE)
def reset_second_factors(user_id: str) -> ResponseReturnValue:
    """Take all second factors off, for somebody who lost them."""
    if not may_open(mail(), current(), user_of_tenant(user_id).id):
        return _refused(user_id)
    done = _("The second factors are off. The password alone signs in now.")
    return _change(user_id, lambda user: mail().second_factors.disable_all(actor(), user.id), done)


@blueprint.post("/<user_id>/sign-out")
@requires(Permission.HELP_PEOPLE)
def sign_out(user_id: str) -> ResponseReturnValue:
    """End every session of a user, everywhere."""
    done = _("All programs and browsers are signed out within seconds.")
    return _change(user_id, lambda user: mail().users.log_out(actor(), user.id), done)


@blueprint.post("/<user_id>/app-passwords/<password_id>/revoke")
@requires(Permission.HELP_PEOPLE)
def revoke_app_password(user_id: str, password_id: str) -> ResponseReturnValue:
    """Take an app password back."""
    done = _("That app password opens nothing any more.")
    return _change(
        user_id, lambda user: mail().app_passwords.revoke(actor(), user.id, id_of(password_id)), done, "app-passwords"
    )


@blueprint.post("/<user_id>/delete")
@requires(Permission.MANAGE_PEOPLE)
def delete(user_id: str) -> ResponseReturnValue:
    """Delete a user; it can be restored for some time."""
    user = user_of_tenant(user_id)
    return attempt(
        lambda: mail().deleted_users.delete(actor(), user.id),
        _("%(address)s is deleted. You find it under Deleted, and can restore it there.", address=user.address),
        url_for("people.index"),
    )


@blueprint.route("/<user_id>/leaver", methods=["GET", "POST"])
@requires(Permission.MANAGE_PEOPLE)
def leaver(user_id: str) -> ResponseReturnValue:
    """Make a shared mailbox of somebody who leaves."""
    user = user_of_tenant(user_id)
    form = DelegatesForm()
    if form.validate_on_submit():
        found, unknown = user_ids(mail(), current_tenant(), form.delegates.data or "")
        if unknown:
            form.delegates.errors = [_("Nobody in your organisation has %(address)s.", address=unknown[0])]
        else:
            return attempt(
                lambda: mail().shared_mailboxes.convert(actor(), user.id, found),
                _("%(address)s is a shared mailbox now. Nobody signs in to it.", address=user.address),
                _shown(user_id),
            )
    return render_template("people/leaver.html", user=user, form=form), 400 if form.errors else 200


@blueprint.get("/deleted")
@requires(Permission.VIEW_PEOPLE)
def deleted() -> ResponseReturnValue:
    """Show who was deleted and can be restored."""
    found = mail().deleted_users.list_of_tenant(current_tenant())
    return render_template("people/deleted.html", deleted=found)


@blueprint.post("/deleted/<user_id>/restore")
@requires(Permission.MANAGE_PEOPLE)
def restore(user_id: str) -> ResponseReturnValue:
    """Bring a deleted user back."""
    found = mail().deleted_users.get(UserId(id_of(user_id)))
    if found.user.tenant_id != current_tenant():
        raise NotFound(user_id)
    restored = []
    answer = attempt(
        lambda: restored.append(mail().deleted_users.restore(actor(), found.user.id)), None, url_for("people.deleted")
    )
    for one in restored:
        if one.lost:
            lost = ", ".join(one.lost)
            flash(_("%(address)s is back, without %(lost)s.", address=one.main, lost=lost), "success")
        else:
            flash(_("%(address)s is back as it was.", address=one.main), "success")
    return answer


@blueprint.post("/deleted/<user_id>/free-addresses")
@requires(Permission.MANAGE_PEOPLE)
def free_addresses(user_id: str) -> ResponseReturnValue:
    """Let anybody have a deleted user's addresses."""
    found = mail().deleted_users.get(UserId(id_of(user_id)))
    if found.user.tenant_id != current_tenant():
        raise NotFound(user_id)
    return attempt(
        lambda: mail().deleted_users.free_addresses(actor(), found.user.id),
        _("The addresses of %(address)s are free. Give them to whom you like.", address=found.user.address),
        url_for("people.deleted"),
    )
