"""Pages of who is not signed in yet: signing up, accepting an invitation, a new password."""

from __future__ import annotations

from uuid import UUID

from flask import Blueprint, Response, abort, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import get_locale
from flask_babel import gettext as _

from mailcore.errors import (
    AddressInvalid,
    AddressTaken,
    NonceInvalid,
    PasskeyTaken,
    PasswordLeaked,
    PasswordUnsuitable,
    SecondFactorWrong,
    ValueInvalid,
)
from mailcore.model.secret import Secret
from portal.access import actor, public
from portal.accounts import cookies, links, owners_links, passkeys, services, sessions, sign_up
from portal.accounts.forms import ConfirmForm, InvitationForm, NewPasswordForm, ResetForm, SignUpForm
from portal.accounts.models import LinkPurpose, MailedLink, Member, MemberPasskey
from portal.choices import choices
from portal.mail_plane import mail, portal
from portal.members import services as members
from portal.rate_limits import Rate, limit

blueprint = Blueprint("joining", __name__)


@blueprint.route("/sign-up", methods=["GET", "POST"])
@public
def sign_up_page() -> ResponseReturnValue:
    """Ask who signs up for what, and mail a link."""
    form = SignUpForm()
    regions = services.regions(mail())
    form.region.choices = choices({region: region for region in regions})
    if len(regions) == 1:
        form.region.data = regions[0]
    status = 200
    if form.validate_on_submit():
        limit(Rate.SIGN_UP)
        try:
            sign_up.ask(
                mail(),
                form.organisation.data or "",
                form.name.data or "",
                form.email.data or "",
                form.region.data,
                str(get_locale()),
            )
        except AddressInvalid:
            form.email.errors = [_("That is no address that mail can be sent to. Look for a typing error.")]
            status = 400
        except ValueInvalid:
            form.organisation.errors = [_("Names have letters, and are no web addresses.")]
            status = 400
        else:
            return render_template("accounts/mailed.html", email=(form.email.data or "").strip())
    elif form.errors:
        status = 400
    return render_template("accounts/sign_up.html", form=form, regions=regions), status


@blueprint.route("/sign-up/confirm/<token>", methods=["GET", "POST"])
@public
def confirm(token: str) -> ResponseReturnValue:
    """Make the organisation once its owner has said how to sign in."""
    limit(Rate.LINK)
    link = _good(LinkPurpose.SIGN_UP, token)
    if link is None:
        return render_template("accounts/link_over.html", again=url_for("joining.sign_up_page")), 410
    form = ConfirmForm()
    known = services.find_by_canonical(link.canonical_email)
    if form.validate_on_submit():
        try:
            password, passkey = _chosen(form, link, known)
            member, _organisation, is_new = sign_up.finish(mail(), actor(), token, password=password, passkey=passkey)
        except NonceInvalid:
            return render_template("accounts/link_over.html", again=url_for("joining.sign_up_page")), 410
        except AddressTaken:
            form.password.errors = [_("Somebody has an address that looks like this one.")]
        except _PROBLEMS as error:
            form.password.errors = [_problem(error)]
        else:
            return _welcome(member, is_new=is_new, by_passkey=passkey is not None)
    status = 400 if form.errors else 200
    return render_template("accounts/confirm.html", form=form, link=link, token=token, known=known), status


@blueprint.post("/link/<token>/passkey/options")
@public
def new_passkey_options(token: str) -> ResponseReturnValue:
    """Return what a new member's device needs to make a passkey."""
    limit(Rate.CHALLENGE)
    link = _good(LinkPurpose.SIGN_UP, token) or _good(LinkPurpose.INVITATION, token)
    if link is None or services.find_by_canonical(link.canonical_email) is not None:
        abort(404)
    options = passkeys.begin_registration(
        portal().settings,
        UUID(link.content["member"]),
        link.email,
        link.content.get("name", ""),
        [],
        cookies.binding(),
    )
    return Response(options, mimetype="application/json")


@blueprint.route("/invitation/<token>", methods=["GET", "POST"])
@public
def invitation(token: str) -> ResponseReturnValue:
    """Accept an invitation; a link that is too old can send another to the same address."""
    limit(Rate.LINK)
    link = links.find(LinkPurpose.INVITATION, token)
    invited = members.find_invitation(link) if link is not None else None
    if link is None or invited is None:
        return render_template("accounts/link_over.html", again=None), 410
    if not links.is_good(link):
        return render_template("accounts/link_over.html", invited=token), 410
    form = InvitationForm()
    known = services.find_by_canonical(link.canonical_email)
    if form.validate_on_submit():
        try:
            password, passkey = _chosen(form, link, known)
            member, is_new = members.accept(
                mail(), actor(), token, name=form.name.data or "", password=password, passkey=passkey
            )
        except NonceInvalid:
            return render_template("accounts/link_over.html", again=None), 410
        except AddressTaken:
            form.password.errors = [_("Somebody has an address that looks like this one.")]
        except _PROBLEMS as error:
            form.password.errors = [_problem(error)]
        else:
            return _welcome(member, is_new=is_new, by_passkey=passkey is not None)
    status = 400 if form.errors else 200
    return (
        render_template("accounts/invitation.html", form=form, link=link, token=token, known=known, invited=invited),
        status,
    )


@blueprint.post("/invitation/<token>/again")
@public
def invitation_again(token: str) -> ResponseReturnValue:
    """Mail a fresh link to who was invited."""
    limit(Rate.RESET)
    link = links.find(LinkPurpose.INVITATION, token)
    if link is None or members.find_invitation(link) is None:
        return render_template("accounts/link_over.html", again=None), 410
    members.mail_invitation_again(mail(), link)
    return render_template("accounts/mailed.html", email=link.email)


@blueprint.route("/new-password", methods=["GET", "POST"])
@public
def forgotten() -> ResponseReturnValue:
    """Mail a link to who forgot a password; nobody learns whether there is such a member."""
    form = ResetForm()
    if form.validate_on_submit():
        limit(Rate.RESET)
        try:
            services.ask_for_password(mail(), form.email.data or "", str(get_locale()))
        except AddressInvalid:
            form.email.errors = [_("That is no address that mail can be sent to. Look for a typing error.")]
        else:
            return render_template("accounts/mailed.html", email=(form.email.data or "").strip())
    return render_template("accounts/forgotten.html", form=form), 400 if form.errors else 200


@blueprint.route("/new-password/<token>", methods=["GET", "POST"])
@public
def new_password(token: str) -> ResponseReturnValue:
    """Choose a new password by a mailed link; every browser is signed out, second factors stay."""
    limit(Rate.LINK)
    link = _good(LinkPurpose.RESET, token)
    if link is not None and owners_links.is_held_back(link):
        return render_template("accounts/link_waits.html", at=owners_links.not_before(link)), 403
    if link is None:
        return render_template("accounts/link_over.html", again=url_for("joining.forgotten")), 410
    form = NewPasswordForm()
    if form.validate_on_submit():
        try:
            services.reset_password(mail(), actor(), token, Secret(form.password.data or ""))
        except NonceInvalid:
            return render_template("accounts/link_over.html", again=url_for("joining.forgotten")), 410
        except _PROBLEMS as error:
            form.password.errors = [_problem(error)]
        else:
            cookies.start_over()
            flash(_("Your password is changed. Sign in with it."), "success")
            return redirect(url_for("accounts.sign_in"), code=303)
    status = 400 if form.errors else 200
    return render_template("accounts/new_password.html", form=form), status


_PROBLEMS = (PasswordUnsuitable, PasswordLeaked, SecondFactorWrong, PasskeyTaken, ValueInvalid)


def _good(purpose: LinkPurpose, token: str) -> MailedLink | None:
    found = links.find(purpose, token)
    return found if links.is_good(found) else None


def _chosen(form: ConfirmForm, link: MailedLink, known: Member | None) -> tuple[Secret | None, MemberPasskey | None]:
    """Return how a new member will sign in; whoever is a member already has that."""
    if known is not None:
        return None, None
    if form.credential.data:
        passkey = passkeys.finish_registration(
            portal().settings,
            UUID(link.content["member"]),
            form.credential.data,
            (request.user_agent.string and _("Passkey")) or "",
            cookies.binding(),
        )
        return None, passkey
    password = Secret(form.password.data or "")
    mail().passwords.check_new(password)
    return password, None


def _welcome(member: Member, *, is_new: bool, by_passkey: bool) -> ResponseReturnValue:
    """Sign a new member in; who was one before signs in as ever, for a mailed link is no second factor."""
    if not is_new:
        flash(_("Done. Sign in to go on."), "success")
        return redirect(url_for("accounts.sign_in"), code=303)
    services.set_language(member, str(get_locale()))  # the one that was read on the way here
    cookies.sign_in(sessions.open_session(member, "passkey" if by_passkey else "password", cookies.browser()))
    return redirect(url_for("overview.front"), code=303)


def _problem(error: Exception) -> str:
    if isinstance(error, PasswordLeaked):
        return _("This password is known to be stolen elsewhere. Choose another.")
    if isinstance(error, PasswordUnsuitable):
        return _("Choose a password of at least 8 characters.")
    if isinstance(error, ValueInvalid):
        return _("Enter your name, and choose a password or a passkey.")
    return _("That passkey did not work here. Try again, or choose a password.")
