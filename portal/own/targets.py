"""Targets that mail is to be sent on to: their owners are asked by mail, agree on a page, and the user hears of it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final

from flask import Blueprint, abort, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from mailcore.errors import MailError, NonceInvalid
from mailcore.model.actor import Actor, ActorKind, Door
from mailcore.model.ids import UserId
from mailcore.model.onward_target import TargetAsk
from mailcore.model.tenant import User
from mailcore.services import MailServices
from mailcore.services.addresses.onward_targets import Asked
from mailcore.services.process.clock import now
from portal.access import actor, public, requires
from portal.languages import LANGUAGES
from portal.mail_plane import mail, portal
from portal.notices import Notice, SenderMissing, deliver, send
from portal.own.sessions import acting, me
from portal.people.requests import attempt
from portal.permissions import Permission
from portal.rate_limits import Rate, limit
from portal.settings import PortalSettings
from portal.waiting_targets import waiting_of

log = logging.getLogger(__name__)

blueprint = Blueprint("own_targets", __name__)
ASKED: Final = "target_asked"
CONFIRMED: Final = "target_confirmed"


@blueprint.route("/confirm-forwarding/<token>", methods=["GET", "POST"])
@public
def confirm(token: str) -> ResponseReturnValue:
    """Show who wants mail sent on to whom, and begin with it when that is confirmed by a button, not by the link."""
    limit(Rate.LINK)
    try:
        asked = mail().targets.find(token)
        if request.method == "POST":
            _tell_user(asked)
            base = actor()
            by = Actor(ActorKind.SYSTEM, Door.PORTAL, asked.ask.target, None, base.remote_address, base.request_id)
            mail().targets.confirm(by, asked)
    except NonceInvalid:
        return render_template("own/confirm_target.html", asked=None, done=False), 410
    return render_template("own/confirm_target.html", asked=asked, done=request.method == "POST")


@blueprint.post("/account/away/again")
@requires(Permission.OWN_MAIL)
def again() -> ResponseReturnValue:
    """Have the link to a target that waits mailed again."""
    user = me()
    wanted = request.form.get("target", "")
    if wanted not in {one.target for one in waiting_of(user)}:
        abort(404)
    mail().targets.ask(acting(user), user.id, [wanted])
    flash(_("The link is on its way again, unless it was mailed a moment ago or often today."), "success")
    return redirect(url_for("own_away.index"), code=303)


@blueprint.post("/account/away/forget")
@requires(Permission.OWN_MAIL)
def forget() -> ResponseReturnValue:
    """Send nothing on to a target any more, whatever names it, until it is confirmed once more."""
    user = me()
    return attempt(
        lambda: mail().targets.forget(acting(user), user.id, request.form.get("target", "")),
        _("Removed. Nothing is sent on there until it is confirmed again."),
        url_for("own_away.index"),
    )


def say_what_waits(user_id: UserId, targets: Sequence[str]) -> None:
    """Say on the next page that nothing is sent on yet to targets just saved, if that is so."""
    if mail().targets.waiting(mail().users.get(user_id), targets):
        flash(_("Where mail goes on to has to be confirmed first: nothing is sent there yet."), "warning")


def mail_links(services: MailServices, settings: PortalSettings) -> int:
    """Write to whoever has a target that waits; return how many were dealt with. The others are next time."""
    count = 0
    for user, asks in services.targets.list_due():
        done = [ask for ask in asks if _is_done(services, settings, user, ask)]
        if done or not asks:
            services.targets.note_mailed(user.id, done)
        count += len(done)
    return count


def _is_done(services: MailServices, settings: PortalSettings, user: User, ask: TargetAsk) -> bool:
    """Mail a link, unless it is over already; False if that has to be tried again."""
    if not ask.holds(user.auth_version, now()):
        return True
    url = f"{settings.public_url}/confirm-forwarding/{services.targets.token(user.id, ask)}"
    values = {"user": user.address, "target": ask.target, "url": url}
    notice = Notice(ASKED, ask.target, _language(user), values, is_final=True)
    try:
        send(services, settings, notice, key=ask.id.binary + ask.mails.to_bytes(4, "big"))
    except (MailError, SenderMissing) as error:
        log.warning("targets.not_mailed", extra={"user": str(user.id), "reason": type(error).__name__})
        return False
    except Exception:  # an address that no mail can be made for is left aside, for others wait behind it
        log.exception("targets.unfit", extra={"user": str(user.id)})
    return True


def _tell_user(asked: Asked) -> None:
    """Write to the user first, and have it delivered: later the target itself may be all that gets it."""
    user = asked.user
    values = {"target": asked.ask.target, "url": f"{portal().settings.public_url}/account/away/"}
    notice = Notice(CONFIRMED, user.address, _language(user), values, is_final=True)
    try:
        deliver(mail(), portal().settings, notice, key=asked.ask.id.binary)
    except (MailError, SenderMissing) as error:
        log.warning("targets.user_untold", extra={"user": str(user.id), "reason": type(error).__name__})
        abort(503)


def _language(user: User) -> str:
    chosen = user.settings.language[:2].lower()
    return chosen if chosen in LANGUAGES else "en"
