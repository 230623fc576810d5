"""App passwords: one for each program, shown once, taken back by itself."""

from __future__ import annotations

from flask import Blueprint, Response, render_template, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from mailcore.errors import AuthenticationFailed, MailError, Unavailable
from mailcore.model.access import Scope
from mailcore.model.secret import Secret
from mailcore.model.tenant import User
from mailcore.services.trust.mobileconfig import MEDIA_TYPE, account_of
from portal.access import requires
from portal.mail_plane import mail
from portal.own.forms import AppPasswordForm, ConfirmForm
from portal.own.sessions import acting, me
from portal.own.views import object_id
from portal.people.requests import attempt
from portal.people.set_up import servers
from portal.permissions import Permission
from portal.refusals import refusal

blueprint = Blueprint("own_app_passwords", __name__, url_prefix="/account/app-passwords")


@blueprint.route("/", methods=["GET", "POST"])
@requires(Permission.OWN_MAIL)
def index() -> ResponseReturnValue:
    """Show app passwords; make one, whose letters are shown once."""
    user, form = me(), AppPasswordForm()
    made = None
    if form.validate_on_submit():
        try:
            _confirm(user, form.present.data)
            _made, letters = mail().app_passwords.create(
                acting(user), user.id, form.description.data or "", form.scopes()
            )
        except Unavailable:
            raise
        except MailError as error:
            field = form.present if isinstance(error, AuthenticationFailed) else form.description
            field.errors = [refusal(error)]
        else:
            form = AppPasswordForm(formdata=None)
            made = " ".join(letters.reveal_text()[start : start + 4] for start in range(0, 16, 4))
    return render_template(
        "own/app_passwords.html",
        user=user,
        form=form,
        made=made,
        servers=servers(mail().settings),
        app_passwords=mail().app_passwords.list_of_user(user.id),
    ), 400 if form.errors else 200


@blueprint.post("/<password_id>/revoke")
@requires(Permission.OWN_MAIL)
def revoke(password_id: str) -> ResponseReturnValue:
    """Take one back."""
    user = me()
    return attempt(
        lambda: mail().app_passwords.revoke(acting(user), user.id, object_id(password_id)),
        _("That app password opens nothing any more."),
        url_for("own_app_passwords.index"),
    )


@blueprint.post("/apple.mobileconfig")
@requires(Permission.OWN_MAIL)
def apple_profile() -> ResponseReturnValue:
    """Return a profile that sets an iPhone, iPad or Mac up, with an app password made for it."""
    user, form = me(), ConfirmForm()

    def make() -> bytes:
        _confirm(user, form.present.data)
        _made, letters = mail().app_passwords.create(acting(user), user.id, _("iPhone, iPad or Mac"), (Scope.ALL,))
        return mail().mobile_configs.write(account_of(user.name, user.address, user.address, letters, (Scope.ALL,)))

    try:
        profile = make()
    except Unavailable:
        raise
    except MailError as error:
        refused = error
        return attempt(lambda: _raise(refused), "", url_for("own_app_passwords.index"))
    return Response(
        profile, mimetype=MEDIA_TYPE, headers={"Content-Disposition": 'attachment; filename="mail.mobileconfig"'}
    )


def _raise(error: MailError) -> None:
    raise error


def _confirm(user: User, password: str | None) -> None:
    """Let only who knows the password make a way in: a browser left open is not enough.

    Raises:
        AuthenticationFailed, TooManyAttempts: as a sign-in.
    """
    mail().reauthentication.confirm(acting(user), user.id, Secret(password or ""))
