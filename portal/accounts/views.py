"""Signing in and out."""

from __future__ import annotations

from uuid import UUID

from flask import Blueprint, Response, redirect, render_template, request, session, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from mailcore.errors import AuthenticationFailed, MailError, NonceInvalid, SecondFactorWrong, TooManyAttempts
from mailcore.model.secret import Secret
from mailcore.services.accounts.identity import Identity
from portal.access import current, public, signed_in, signed_in_only
from portal.accounts import cookies, passkeys, services, sessions, signing_in
from portal.accounts.forms import MAX_CREDENTIAL, SecondStepForm, SignInForm
from portal.accounts.models import Member
from portal.database import session as database_session
from portal.destinations import local_path
from portal.languages import LANGUAGES
from portal.mail_plane import mail, portal
from portal.own.sessions import acting
from portal.own.signing_in import go_on
from portal.rate_limits import Rate, limit

blueprint = Blueprint("accounts", __name__)


@blueprint.route("/sign-in", methods=["GET", "POST"])
@public
def sign_in() -> ResponseReturnValue:
    """Sign in by address and password, then by the second factor if there is one."""
    wanted = local_path(request.args.get("next"))
    if signed_in() is not None:
        return redirect(wanted or url_for("overview.front"), code=303)
    form = SignInForm()
    status = 200
    if form.validate_on_submit():
        password = Secret(form.password.data or "")
        try:
            found = signing_in.sign_in(mail(), form.email.data or "", password, request.remote_addr or "")
        except MailError as error:
            told, status = signing_in.refusal_of(error)
            form.password.errors = [told]
        else:
            if isinstance(found, Identity):
                return go_on(found, wanted)
            version = signing_in.password_version(found)
            if found.has_second_factor:
                cookies.await_second_step(found.id, version)
                return redirect(url_for("accounts.second_step", next=wanted), code=303)
            return _enter(found, version, "password", wanted)
    elif form.errors:
        status = 400
    return render_template("accounts/sign_in.html", form=form, wanted=wanted), status


def _enter(member: Member, version: str, factor: str, wanted: str | None) -> ResponseReturnValue:
    """Let a member in, or ask again where the password was changed meanwhile."""
    try:
        token = signing_in.open_session(member, version, factor, cookies.browser())
    except AuthenticationFailed:
        cookies.start_over()
        return redirect(url_for("accounts.sign_in", next=wanted), code=303)
    cookies.sign_in(token)
    return redirect(wanted or url_for("overview.front"), code=303)


@blueprint.route("/sign-in/second-step", methods=["GET", "POST"])
@public
def second_step() -> ResponseReturnValue:
    """Ask the member whose password was right for the second factor."""
    wanted = local_path(request.args.get("next"))
    noted = cookies.second_step()
    member = signing_in.find_in_second_step(*noted) if noted is not None else None
    if member is None:
        return redirect(url_for("accounts.sign_in", next=wanted), code=303)
    form = SecondStepForm()
    status = 200
    if form.validate_on_submit():
        try:
            factor = signing_in.check_code(mail(), member, form.code.data or "", request.remote_addr or "")
        except SecondFactorWrong:
            form.code.errors = [_("That code is wrong, or was used already.")]
            status = 400
        except TooManyAttempts:
            form.code.errors = [_("Too many tries. Wait a few minutes, then try it again.")]
            status = 429
        else:
            assert noted is not None
            return _enter(member, noted[1], factor, wanted)
    elif form.errors:
        status = 400
    return render_template("accounts/second_step.html", form=form, wanted=wanted, member=member), status


@blueprint.post("/sign-in/passkey/options")
@public
def passkey_options() -> ResponseReturnValue:
    """Return a challenge for a passkey of whoever it is, or of whose password was right."""
    limit(Rate.CHALLENGE)
    member_id = cookies.member_of_second_step()
    known = signing_in.passkey_ids(member_id) if member_id is not None else []
    options = passkeys.begin_authentication(portal().settings, cookies.binding(), known)
    return Response(options, mimetype="application/json")


@blueprint.post("/sign-in/passkey")
@public
def passkey() -> ResponseReturnValue:
    """Sign in by a passkey, which is both factors at once."""
    wanted = local_path(request.args.get("next"))
    credential = request.form.get("credential", "")[:MAX_CREDENTIAL]
    try:
        found = passkeys.check(
            portal().settings, credential, cookies.binding(), member_id=cookies.member_of_second_step()
        )
    except (NonceInvalid, SecondFactorWrong):
        form = SignInForm(formdata=None)
        problem = _("That passkey did not work here. Try again, or use your password.")
        return render_template("accounts/sign_in.html", form=form, wanted=wanted, problem=problem), 400
    member = database_session().get(Member, UUID(str(found.member_id)))
    assert member is not None
    cookies.sign_in(sessions.open_session(member, "passkey", cookies.browser()))
    return redirect(wanted or url_for("overview.front"), code=303)


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
    """Remember a language in this browser, and with the member or the mail user who is signed in."""
    chosen = request.form.get("language", "")
    if chosen in LANGUAGES:
        session["language"] = chosen
        who = signed_in()
        if who is not None and who.member is not None:
            services.set_language(who.member, chosen)
        elif who is not None and who.session.mail_user is not None:
            user = sessions.mail_user_of(mail(), who.session)
            if user is not None:
                mail().users.set_settings(acting(user), user.id, {"language": chosen})
    return redirect(local_path(request.form.get("next")) or url_for("overview.front"), code=303)
