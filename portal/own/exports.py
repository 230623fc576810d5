"""All mail as one file: asked for here, written by a worker, fetched by nobody but its owner."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from flask import Blueprint, Response, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from mailcore.errors import FileNotFound, MailError, NotPermitted, RateExceeded, Unavailable
from mailcore.model.mail_export import ExportState, MailExport
from mailcore.model.secret import Secret
from mailcore.model.tenant import User
from portal.access import current, requires
from portal.accounts.sessions import confirm, is_confirmed
from portal.jobs import enqueue_now
from portal.mail_plane import mail, portal
from portal.own.forms import ConfirmForm
from portal.own.sessions import acting, me
from portal.permissions import Permission
from portal.refusals import refusal

blueprint = Blueprint("own_exports", __name__, url_prefix="/account/export")

CONFIRMED_FOR: Final = timedelta(hours=1)
"""So long after the password was given a download may begin, or go on after it broke off."""


@blueprint.get("/")
@requires(Permission.OWN_MAIL)
def index() -> ResponseReturnValue:
    """Offer all mail as one file, show how far it is, or where to fetch it."""
    return render_template("own/export.html", export=mail().mail_exports.find(me().id), fetches=_may_fetch())


@blueprint.get("/progress")
@requires(Permission.OWN_MAIL)
def progress() -> ResponseReturnValue:
    """Show how far it is, as a part of the page."""
    return render_template("own/_export.html", export=mail().mail_exports.find(me().id), fetches=_may_fetch())


@blueprint.post("/ask")
@requires(Permission.OWN_MAIL)
def ask() -> ResponseReturnValue:
    """Ask for the file, with the password: a browser left open is not enough."""
    user = me()
    if _is_proven(user):
        try:
            mail().mail_exports.ask(acting(user), user.id)
        except NotPermitted:
            flash(_("Files of all mail are switched off for your organisation now. Ask support."), "error")
        except RateExceeded:
            flash(_("You asked for as many files as may be made within a day. Try it again tomorrow."), "error")
        else:
            enqueue_now(portal().redis, "exports.make_due")
            flash(_("Your file is being made. You may leave this page; it goes on."), "success")
    return redirect(url_for("own_exports.index"), code=303)


@blueprint.post("/open")
@requires(Permission.OWN_MAIL)
def open_file() -> ResponseReturnValue:
    """Let this browser fetch the file for an hour, with the password."""
    if _is_proven(me()):
        return redirect(url_for("own_exports.fetch"), code=303)
    return redirect(url_for("own_exports.index"), code=303)


@blueprint.post("/delete")
@requires(Permission.OWN_MAIL)
def delete() -> ResponseReturnValue:
    """Remove the file before its time, or stop its making."""
    user = me()
    try:
        mail().mail_exports.delete(acting(user), user.id)
    except FileNotFound:
        pass  # somebody was faster, or its time was over
    flash(_("The file is deleted."), "success")
    return redirect(url_for("own_exports.index"), code=303)


@blueprint.get("/mail.tar")
@requires(Permission.OWN_MAIL)
def fetch() -> ResponseReturnValue:
    """Send the file, or the rest of it to a browser that goes on where it broke off (RFC 9110 §14)."""
    user = me()
    export = mail().mail_exports.get(user.id)
    if export.state is not ExportState.READY:
        raise FileNotFound(user.id)
    if not _may_fetch():
        flash(_("Enter your password once more to download the file."), "warning")
        return redirect(url_for("own_exports.index"), code=303)
    return _sent(user, export)


def _sent(user: User, export: MailExport) -> Response:
    etag = str(export.id)
    asked = request.range
    if (
        asked is not None
        and asked.units == "bytes"
        and (request.if_range.etag in {None, etag})
        and not request.if_range.date
    ):
        part = asked.range_for_length(export.size_bytes)
        if part is None:
            return Response(status=416, headers={"Content-Range": f"bytes */{export.size_bytes}"})
    else:
        part = None
    start, end = part or (0, export.size_bytes)
    sent = Response(mail().mail_exports.fetch(acting(user), user.id, start, end), mimetype="application/x-tar")
    sent.set_etag(etag)
    sent.content_length = end - start
    sent.accept_ranges = "bytes"
    if part is not None:
        sent.status_code = 206
        sent.content_range.set(start, end, export.size_bytes)
    sent.headers.set("Content-Disposition", "attachment", filename="mail.tar")
    return sent


def _may_fetch() -> bool:
    return is_confirmed(current().session, CONFIRMED_FOR)


def _is_proven(user: User) -> bool:
    """Whether the form has the user's password; else it is said what is wrong."""
    try:
        mail().reauthentication.confirm(acting(user), user.id, Secret(ConfirmForm().present.data or ""))
    except Unavailable:
        raise
    except MailError as error:
        flash(refusal(error), "error")
        return False
    confirm(current().session)
    return True
