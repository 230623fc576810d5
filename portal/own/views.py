"""Signing in to the own account, and its first page."""

from __future__ import annotations

import json
from typing import Any

from bson import ObjectId
from flask import Blueprint, Response, abort, flash, redirect, render_template, request, session, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from mailcore.errors import (
    FactorIsOff,
    MailError,
    NonceInvalid,
    SecondFactorWrong,
    TooManyAttempts,
    UserDisabled,
    UserNotFound,
)
from mailcore.model.access import Protocol
from mailcore.model.ids import UserId
from mailcore.model.secret import Secret
from portal.access import public, requires
from portal.accounts import cookies
from portal.accounts.signing_in import refusal_of
from portal.destinations import local_path
from portal.mail_plane import mail, portal
from portal.own import moderation, sessions
from portal.own.forms import OwnSignInForm, SecondStepForm
from portal.own.sessions import PasswordFirst, SignedOutMeanwhile, me
from portal.own.signing_in import STEP, enter, go_on
from portal.permissions import Permission

blueprint = Blueprint("own", __name__, url_prefix="/account")


@blueprint.app_errorhandler(SignedOutMeanwhile)
def _signed_out(_error: SignedOutMeanwhile) -> ResponseReturnValue:
    cookies.start_over()
    flash(_("You were signed out. Sign in again."), "warning")
    return redirect(url_for("own.sign_in"), code=303)


@blueprint.app_errorhandler(PasswordFirst)
def _password_first(_error: PasswordFirst) -> ResponseReturnValue:
    return redirect(url_for("own_security.password"), code=303)


@blueprint.route("/sign-in", methods=["GET", "POST"])
@public
def sign_in() -> ResponseReturnValue:
    """Sign in by mail address and password; a second factor is asked for on the next page."""
    form = OwnSignInForm()
    wanted = local_path(request.args.get("next"))
    status = 200
    if form.validate_on_submit():
        try:
            identity = mail().authentication.login(
                form.address.data or "", Secret(form.password.data or ""), Protocol.PORTAL, request.remote_addr or ""
            )
        except MailError as error:
            told, status = refusal_of(error)
            form.password.errors = [told]
        else:
            return go_on(identity, wanted)
    elif form.errors:
        status = 400
    return render_template("own/sign_in.html", form=form), status


@blueprint.route("/second-step", methods=["GET", "POST"])
@public
def second_step() -> ResponseReturnValue:
    """Ask for the second factor: a code, a recovery code, or a passkey."""
    noted = session.get(STEP)
    if not noted:
        return redirect(url_for("overview.front"), code=303)
    user_id, nonce = UserId(ObjectId(noted[0])), Secret(noted[1])
    form = SecondStepForm()
    try:
        factors = mail().second_factors.status(user_id)
        if form.validate_on_submit():
            return _second(user_id, nonce, form)
    except (SecondFactorWrong, FactorIsOff, TooManyAttempts) as error:
        wrong = _("That was not right. Wait for the next code, then try it again.")
        many = _("Too many tries. Wait a few minutes, then try it again.")
        form.code.errors = [many if isinstance(error, TooManyAttempts) else wrong]
        return render_template("own/second_step.html", form=form, factors=factors), 400
    except (NonceInvalid, UserNotFound, UserDisabled):
        session.pop(STEP, None)
        flash(_("That took too long. Sign in again."), "warning")
        return redirect(url_for("own.sign_in"), code=303)
    return render_template("own/second_step.html", form=form, factors=factors)


@blueprint.post("/second-step/options")
@public
def passkey_options() -> ResponseReturnValue:
    """Return what the browser needs to ask a passkey (Web Authentication §5.1.4)."""
    noted = session.get(STEP)
    if not noted:
        abort(403)
    try:
        return Response(_passkey_options(UserId(ObjectId(noted[0])), Secret(noted[1])), mimetype="application/json")
    except (NonceInvalid, FactorIsOff):
        abort(403)


def _second(user_id: UserId, nonce: Secret, form: SecondStepForm) -> ResponseReturnValue:
    services = mail()
    actor = sessions.acting(services.users.get(user_id))
    code = (form.code.data or "").strip()
    credential = form.credential.data or ""

    def check() -> None:
        if credential:
            _check_passkey(user_id, nonce, credential)
        elif len(code.replace(" ", "")) == 6 and code.replace(" ", "").isdecimal():
            services.totp.check(user_id, code)
        else:
            services.second_factors.check_recovery_code(actor, user_id, Secret(code))

    user = services.second_factors.finish_step(user_id, nonce, check)
    factor = "passkey" if credential else "totp"
    return enter(user, factor, local_path(request.args.get("next")), change_needed=bool(session[STEP][2]))


def _passkey_options(user_id: UserId, nonce: Secret) -> str:
    import webauthn

    services = mail()
    bound = services.second_factors.step_of(user_id, nonce)
    options = services.passkeys.begin_authentication(
        user_id, origin=sessions.origin(), rp_id=portal().settings.host, session=bound
    )
    return str(webauthn.options_to_json(options))


def _check_passkey(user_id: UserId, nonce: Secret, text: str) -> None:
    from webauthn.helpers import base64url_to_bytes

    services = mail()
    bound = services.second_factors.step_of(user_id, nonce)
    try:
        answered: dict[str, Any] = json.loads(text)
        client = json.loads(base64url_to_bytes(answered["response"]["clientDataJSON"]))
        challenge = base64url_to_bytes(client["challenge"])
    except (ValueError, TypeError, LookupError) as error:
        raise SecondFactorWrong("passkey") from error
    services.passkeys.check(user_id, challenge=challenge, credential=answered, session=bound)


@blueprint.get("/")
@requires(Permission.OWN_MAIL)
def home() -> ResponseReturnValue:
    """Show what there is, and what to do next."""
    user, services = me(), mail()
    return render_template(
        "own/home.html",
        user=user,
        used_bytes=services.people.used_bytes([user]).get(user.id, 0),
        addresses=services.addresses.list_of_user(user.id),
        app_passwords=services.app_passwords.list_of_user(user.id),
        autoreply=services.autoreplies.get(user.id),
        posts=moderation.count(user),
    )


def object_id(text: str) -> ObjectId:
    """Return the id that a path names; what is none answers 404."""
    if len(text) != 24 or not ObjectId.is_valid(text):
        abort(404)
    return ObjectId(text)
