"""How one signs in: password, passkeys, codes, recovery codes, and where one is signed in."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import webauthn
from flask import Blueprint, abort, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import get_locale
from flask_babel import gettext as _
from webauthn.helpers import base64url_to_bytes

from mailcore.errors import MailError, Unavailable
from mailcore.model.factors import Factor
from mailcore.model.secret import Secret
from mailcore.model.tenant import User
from portal.access import current, requires
from portal.mail_plane import mail, portal
from portal.own import sessions
from portal.own.forms import CodeForm, ConfirmForm, PasskeyForm, PasswordForm
from portal.own.sessions import acting, follow_version, me
from portal.people.requests import attempt
from portal.people.set_up import qr_code
from portal.permissions import Permission
from portal.refusals import refusal

blueprint = Blueprint("own_security", __name__, url_prefix="/account/security")


@blueprint.get("/")
@requires(Permission.OWN_MAIL)
def index() -> ResponseReturnValue:
    """Show by what one signs in, and where one is signed in."""
    user = me()
    return render_template(
        "own/security.html",
        user=user,
        factors=mail().second_factors.status(user.id),
        sessions=sessions.list_of(user.id),
        here=current().session.id,
        confirm=ConfirmForm(formdata=None),
        passkey=PasskeyForm(formdata=None),
    )


@blueprint.route("/password", methods=["GET", "POST"])
@requires(Permission.OWN_MAIL)
def password() -> ResponseReturnValue:
    """Choose another password; every other session ends."""
    user = me(needs_password=False)
    form = PasswordForm()
    if form.validate_on_submit():
        try:
            _change_password(user, Secret(form.present.data or ""), Secret(form.password.data or ""))
        except Unavailable:
            raise
        except MailError as error:
            field = form.present if type(error).__name__ == "AuthenticationFailed" else form.password
            field.errors = [refusal(error)]
        else:
            follow_version(user.id)
            flash(_("Your password is changed. Everything else was signed out."), "success")
            return redirect(url_for("own.home"), code=303)
    return render_template("own/password.html", form=form, user=user), 400 if form.errors else 200


def _change_password(user: User, present: Secret, wanted: Secret) -> None:
    """Change the password of who knows the present one, a temporary one included."""
    from mailcore.model.access import Protocol

    identity = mail().authentication.login(user.address, present, Protocol.PORTAL, request.remote_addr or "")
    if identity.user_id != user.id:
        abort(404)
    mail().users.set_password(acting(user), user.id, wanted)
    if not user.settings.language:  # that of these pages is that of mail from now on
        mail().users.set_settings(acting(user), user.id, {"language": str(get_locale())})


# -- second factors -----------------------------------------------------------------------------


@blueprint.post("/codes")
@requires(Permission.OWN_MAIL)
def begin_codes() -> ResponseReturnValue:
    """Show the seed for an app that makes codes."""
    user, form = me(), ConfirmForm()
    try:
        enrolment = mail().totp.begin(acting(user), user.id, "Eider", user.address, Secret(form.present.data or ""))
    except Unavailable:
        raise
    except MailError as error:
        flash(refusal(error), "error")
        return redirect(url_for("own_security.index"), code=303)
    return render_template(
        "own/codes.html",
        seed=enrolment.seed.reveal_text(),
        code=qr_code(enrolment.uri.reveal_text()),
        form=CodeForm(formdata=None),
    )


@blueprint.post("/codes/enable")
@requires(Permission.OWN_MAIL)
def enable_codes() -> ResponseReturnValue:
    """Turn codes on by the first one, and show recovery codes."""
    user, form = me(), CodeForm()
    try:
        mail().totp.enable(acting(user), user.id, form.code.data or "")
    except Unavailable:
        raise
    except MailError as error:
        flash(refusal(error), "error")
        return redirect(url_for("own_security.index"), code=303)
    follow_version(user.id)
    flash(_("Codes are on. Mail programs need app passwords from now on."), "success")
    return redirect(url_for("own_security.index"), code=303)


@blueprint.post("/recovery-codes")
@requires(Permission.OWN_MAIL)
def recovery_codes() -> ResponseReturnValue:
    """Make recovery codes anew and show them once."""
    user, form = me(), ConfirmForm()
    try:
        codes = mail().second_factors.make_recovery_codes(acting(user), user.id, Secret(form.present.data or ""))
    except Unavailable:
        raise
    except MailError as error:
        flash(refusal(error), "error")
        return redirect(url_for("own_security.index"), code=303)
    return render_template("own/recovery_codes.html", codes=[one.reveal_text() for one in codes])


@blueprint.post("/second-factors/disable")
@requires(Permission.OWN_MAIL)
def disable() -> ResponseReturnValue:
    """Turn codes off."""
    user, form = me(), ConfirmForm()
    password = Secret(form.present.data or "")

    def change() -> None:
        mail().second_factors.disable(acting(user), user.id, Factor.TOTP, password)
        follow_version(user.id)

    return attempt(change, _("Codes are off."), url_for("own_security.index"))


@blueprint.post("/passkeys/options")
@requires(Permission.OWN_MAIL)
def passkey_options() -> ResponseReturnValue:
    """Return what the browser needs to make a passkey (Web Authentication §5.1.3)."""
    user, form = me(), PasskeyForm()
    if not form.validate_on_submit():
        return {"error": " ".join(error for errors in form.errors.values() for error in errors)}, 400
    try:
        options = mail().passkeys.begin_registration(
            acting(user),
            user.id,
            name=form.name.data or "",
            origin=sessions.origin(),
            rp_id=portal().settings.host,
            rp_name="Eider",
            session=str(current().session.id),
            password=Secret(form.present.data or ""),
        )
    except Unavailable:
        raise
    except MailError as error:
        return {"error": refusal(error)}, 400
    return json.loads(webauthn.options_to_json(options))


@blueprint.post("/passkeys")
@requires(Permission.OWN_MAIL)
def add_passkey() -> ResponseReturnValue:
    """Take a passkey that the browser made."""
    user = me()

    def change() -> None:
        answered: dict[str, Any] = json.loads(request.form.get("credential", "")[:20_000])
        client = json.loads(base64url_to_bytes(answered["response"]["clientDataJSON"]))
        mail().passkeys.finish_registration(
            acting(user),
            user.id,
            challenge=base64url_to_bytes(client["challenge"]),
            credential=answered,
            session=str(current().session.id),
        )
        follow_version(user.id)

    try:
        return attempt(
            change, _("The passkey is on. Mail programs need app passwords from now on."), url_for("own_security.index")
        )
    except (ValueError, TypeError, LookupError):
        abort(400)


@blueprint.post("/passkeys/<key_id>/remove")
@requires(Permission.OWN_MAIL)
def remove_passkey(key_id: str) -> ResponseReturnValue:
    """Forget a passkey."""
    user, form = me(), ConfirmForm()
    try:
        wanted = bytes.fromhex(key_id)
    except ValueError:
        abort(404)

    def change() -> None:
        mail().passkeys.remove(acting(user), user.id, wanted, Secret(form.present.data or ""))
        follow_version(user.id)

    return attempt(change, _("That passkey opens nothing any more."), url_for("own_security.index"))


# -- sessions -----------------------------------------------------------------------------------


@blueprint.post("/browsers/<uuid:browser_id>/end")
@requires(Permission.OWN_MAIL)
def end_session(browser_id: UUID) -> ResponseReturnValue:
    """Sign out one browser."""
    if not sessions.end_by_id(me().id, browser_id):
        abort(404)
    flash(_("That browser is signed out."), "success")
    return redirect(url_for("own_security.index"), code=303)


@blueprint.post("/sign-out-everywhere")
@requires(Permission.OWN_MAIL)
def sign_out_everywhere() -> ResponseReturnValue:
    """End every session of all programs and browsers but this one."""
    user = me()

    def change() -> None:
        mail().users.log_out(acting(user), user.id)
        follow_version(user.id)

    return attempt(
        change, _("Everything but this browser is signed out within seconds."), url_for("own_security.index")
    )
