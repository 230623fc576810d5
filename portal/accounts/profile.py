"""A member's own sign-in: password, passkeys, codes, sessions."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast
from uuid import UUID

from flask import Blueprint, Response, abort, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from mailcore.errors import (
    AuthenticationFailed,
    NonceInvalid,
    PasskeyTaken,
    PasswordLeaked,
    PasswordUnsuitable,
    SecondFactorWrong,
    TooManyAttempts,
)
from mailcore.model.secret import Secret
from portal.access import actor, current, current_member, requires
from portal.accounts import cookies, enrolment, factors, passkeys, services, sessions, signing_in
from portal.accounts.forms import MAX_CREDENTIAL, NewPasswordForm, PasswordForm, TotpForm
from portal.audit.services import record
from portal.database import unit_of_work
from portal.destinations import local_path
from portal.mail_plane import mail, portal
from portal.permissions import Permission
from portal.pictures import qr_code

blueprint = Blueprint("profile", __name__, url_prefix="/profile")

View = TypeVar("View", bound=Callable[..., Any])


def confirmed(view: View) -> View:
    """Let only those pass who proved lately who they are; others prove it first and come back."""

    @functools.wraps(view)
    def guarded(*arguments: Any, **named: Any) -> ResponseReturnValue:
        if not sessions.is_confirmed(current().session):
            back = request.path if request.method == "GET" else url_for("profile.security")
            return redirect(url_for("profile.confirm", next=back), code=303)
        return view(*arguments, **named)

    return cast("View", guarded)


@blueprint.get("/security")
@requires(Permission.OWN_PROFILE)
def security() -> ResponseReturnValue:
    """Show by what one signs in, and where one is signed in."""
    who, member = current(), current_member()
    return render_template(
        "accounts/security.html",
        member=member,
        here=who.session.id,
        must=who.needs_second_factor,
        codes_left=factors.recovery_codes_left(member) if member.has_second_factor else None,
        sessions=sessions.list_sessions(member.id),
    )


@blueprint.route("/confirm", methods=["GET", "POST"])
@requires(Permission.OWN_PROFILE)
def confirm() -> ResponseReturnValue:
    """Prove who one is before security is changed."""
    member = current_member()
    wanted = local_path(request.args.get("next")) or url_for("profile.security")
    form = PasswordForm()
    status = 200
    if form.validate_on_submit():
        try:
            services.check_password(mail(), member.email, Secret(form.password.data or ""), request.remote_addr or "")
        except AuthenticationFailed:
            form.password.errors = [_("That password is wrong.")]
            status = 400
        except TooManyAttempts:
            form.password.errors = [_("Too many tries. Wait a few minutes, then try it again.")]
            status = 429
        else:
            cookies.sign_in(sessions.renew(current().session))
            return redirect(wanted, code=303)
    elif form.errors:
        status = 400
    return render_template("accounts/confirm_self.html", form=form, member=member, wanted=wanted), status


@blueprint.post("/confirm/passkey")
@requires(Permission.OWN_PROFILE)
def confirm_by_passkey() -> ResponseReturnValue:
    """Prove by a passkey who one is."""
    wanted = local_path(request.args.get("next")) or url_for("profile.security")
    credential = request.form.get("credential", "")[:MAX_CREDENTIAL]
    try:
        passkeys.check(portal().settings, credential, cookies.binding(), current_member().id)
    except (NonceInvalid, SecondFactorWrong):
        flash(_("That passkey did not work here. Try again, or use your password."), "error")
        return redirect(url_for("profile.confirm", next=wanted), code=303)
    cookies.sign_in(sessions.renew(current().session))
    return redirect(wanted, code=303)


@blueprint.post("/confirm/passkey/options")
@requires(Permission.OWN_PROFILE)
def confirm_options() -> ResponseReturnValue:
    """Return a challenge for one's own passkeys."""
    known = signing_in.passkey_ids(current_member().id)
    return Response(
        passkeys.begin_authentication(portal().settings, cookies.binding(), known), mimetype="application/json"
    )


@blueprint.route("/password", methods=["GET", "POST"])
@requires(Permission.OWN_PROFILE)
@confirmed
def password() -> ResponseReturnValue:
    """Choose another password; every other browser is signed out."""
    form = NewPasswordForm()
    if form.validate_on_submit():
        try:
            with unit_of_work():
                services.change_password(mail(), actor(), current_member(), Secret(form.password.data or ""))
                token = enrolment.start_over(current())
        except PasswordLeaked:
            form.password.errors = [_("This password is known to be stolen elsewhere. Choose another.")]
        except PasswordUnsuitable:
            form.password.errors = [_("Choose a password of at least 8 characters.")]
        else:
            cookies.sign_in(token)
            flash(_("Your password is changed, and other browsers are signed out."), "success")
            return redirect(url_for("profile.security"), code=303)
    return render_template("accounts/new_password.html", form=form), 400 if form.errors else 200


@blueprint.post("/totp/begin")
@requires(Permission.OWN_PROFILE)
@confirmed
def begin_totp() -> ResponseReturnValue:
    """Make a seed for an authenticator app; it counts once its first code is given."""
    enrolment.begin_totp(mail(), current())
    return redirect(url_for("profile.totp"), code=303)


@blueprint.route("/totp", methods=["GET", "POST"])
@requires(Permission.OWN_PROFILE)
@confirmed
def totp() -> ResponseReturnValue:
    """Show the seed that is being set up, and take its first code."""
    seed = enrolment.new_seed(mail(), current())
    if seed is None:
        return redirect(url_for("profile.security"), code=303)
    form = TotpForm()
    if form.validate_on_submit():
        try:
            codes, token = enrolment.finish_totp(mail(), actor(), current(), form.code.data or "")
        except SecondFactorWrong:
            form.code.errors = [_("That is not the code of now. Look whether the clock of your device is right.")]
        else:
            cookies.sign_in(token)
            return render_template("accounts/codes.html", codes=codes)
    picture = qr_code(factors.provisioning_uri(seed, current_member().email))
    page = render_template("accounts/totp.html", form=form, seed=seed, picture=picture)
    return page, 400 if form.errors else 200


@blueprint.post("/totp/off")
@requires(Permission.OWN_PROFILE)
@confirmed
def totp_off() -> ResponseReturnValue:
    """Take the authenticator app off."""
    cookies.sign_in(enrolment.remove_totp(actor(), current()))
    flash(_("The authenticator app is off."), "success")
    return redirect(url_for("profile.security"), code=303)


@blueprint.post("/codes")
@requires(Permission.OWN_PROFILE)
@confirmed
def codes() -> ResponseReturnValue:
    """Make new recovery codes and show them once."""
    if not current_member().has_second_factor:
        abort(404)
    return render_template("accounts/codes.html", codes=enrolment.new_codes(actor(), current_member()))


@blueprint.post("/passkeys/options")
@requires(Permission.OWN_PROFILE)
@confirmed
def passkey_options() -> ResponseReturnValue:
    """Return what a device needs to make a passkey."""
    member = current_member()
    known = signing_in.passkey_ids(member.id)
    if len(known) >= passkeys.MOST:
        abort(400)
    options = passkeys.begin_registration(
        portal().settings, member.id, member.email, member.name, known, cookies.binding()
    )
    return Response(options, mimetype="application/json")


@blueprint.post("/passkeys")
@requires(Permission.OWN_PROFILE)
@confirmed
def add_passkey() -> ResponseReturnValue:
    """Store what the device made."""
    credential = request.form.get("credential", "")[:MAX_CREDENTIAL]
    name = request.form.get("name", "")
    try:
        token = enrolment.add_passkey(portal().settings, actor(), current(), credential, name, cookies.binding())
    except (NonceInvalid, SecondFactorWrong, PasskeyTaken):
        flash(_("That passkey did not work here. Try it again."), "error")
    else:
        cookies.sign_in(token)
        flash(_("Passkey added. From now on it signs you in."), "success")
    return redirect(url_for("profile.security"), code=303)


@blueprint.post("/passkeys/<passkey_id>/remove")
@requires(Permission.OWN_PROFILE)
@confirmed
def remove_passkey(passkey_id: str) -> ResponseReturnValue:
    """Forget a passkey of one's own."""
    try:
        token = enrolment.remove_passkey(actor(), current(), passkey_id)
    except enrolment.NothingLeft:
        flash(_("This passkey is all by which you sign in. Choose a password first."), "error")
        return redirect(url_for("profile.security"), code=303)
    if token is None:
        abort(404)
    cookies.sign_in(token)
    flash(_("Passkey removed."), "success")
    return redirect(url_for("profile.security"), code=303)


@blueprint.post("/sessions/<uuid:session_id>/end")
@requires(Permission.OWN_PROFILE)
def end_session(session_id: UUID) -> ResponseReturnValue:
    """Sign out one browser of one's own."""
    who, member = current(), current_member()
    with unit_of_work():
        if not sessions.end_sessions(member.id, only=session_id):
            abort(404)
        record(actor(), "session.ended", member.email, organisation_id=who.session.organisation_id)
    flash(_("That browser is signed out."), "success")
    return redirect(url_for("profile.security"), code=303)


@blueprint.post("/sessions/end-others")
@requires(Permission.OWN_PROFILE)
def end_other_sessions() -> ResponseReturnValue:
    """Sign out every browser but this one."""
    who, member = current(), current_member()
    with unit_of_work():
        ended = sessions.end_sessions(member.id, keep=who.session.digest)
        record(actor(), "session.ended", member.email, {"ended": ended}, organisation_id=who.session.organisation_id)
    flash(_("All other browsers are signed out."), "success")
    return redirect(url_for("profile.security"), code=303)
