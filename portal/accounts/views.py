"""Signing in and out."""

from __future__ import annotations

from flask import Blueprint, redirect, render_template, request, session, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from mailcore.errors import AuthenticationFailed, ServerBusy, TooManyAttempts
from mailcore.model.secret import Secret
from portal.access import current, public, signed_in, signed_in_only
from portal.accounts import cookies, services, sessions
from portal.accounts.forms import SignInForm
from portal.destinations import local_path
from portal.languages import LANGUAGES
from portal.mail_plane import mail

blueprint = Blueprint("accounts", __name__)


@blueprint.route("/sign-in", methods=["GET", "POST"])
@public
def sign_in() -> ResponseReturnValue:
    """Sign in by address and password, then go where one wanted to go."""
    wanted = local_path(request.args.get("next")) or url_for("overview.front")
    if signed_in() is not None:
        return redirect(wanted, code=303)
    form = SignInForm()
    status = 200
    if form.validate_on_submit():
        try:
            member = services.check_password(
                mail(), form.email.data or "", Secret(form.password.data or ""), request.remote_addr or ""
            )
        except AuthenticationFailed:
            form.password.errors = [_("Address or password is wrong.")]
            status = 400
        except (TooManyAttempts, ServerBusy):
            form.password.errors = [_("Too many tries. Wait a few minutes, then try it again.")]
            status = 429
        else:
            cookies.sign_in(sessions.open_session(member, "password", cookies.browser()))
            return redirect(wanted, code=303)
    elif form.errors:
        status = 400
    return render_template("accounts/sign_in.html", form=form, wanted=wanted), status


@blueprint.post("/sign-out")
@signed_in_only
def sign_out() -> ResponseReturnValue:
    """End this session."""
    sessions.end_session(current().session.digest)
    cookies.start_over()
    return redirect(url_for("overview.front"), code=303)


@blueprint.post("/language")
@public
def language() -> ResponseReturnValue:
    """Remember a language in this browser."""
    chosen = request.form.get("language", "")
    if chosen in LANGUAGES:
        session["language"] = chosen
    return redirect(local_path(request.form.get("next")) or url_for("overview.front"), code=303)
