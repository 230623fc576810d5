"""What happened and what can be brought back: the sign-in log, and deleted mail."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from flask import Blueprint, abort, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import ngettext

from mailcore.errors import MailError, Unavailable
from portal.access import requires
from portal.mail_plane import mail
from portal.own.forms import RestoreForm
from portal.own.sessions import acting, me
from portal.permissions import Permission
from portal.refusals import refusal

blueprint = Blueprint("own_data", __name__, url_prefix="/account")
PAGE = 50


@blueprint.get("/activity")
@requires(Permission.OWN_MAIL)
def activity() -> ResponseReturnValue:
    """Show sign-ins, the latest first."""
    user = me()
    before = request.args.get("before", "")[:100]
    try:
        rows = mail().auth_log.list_of_user(user.id, before, PAGE)
    except MailError as error:
        if isinstance(error, Unavailable):
            raise
        abort(404)
    later = url_for("own_data.activity", before=min(row.key for row in rows).hex()) if len(rows) == PAGE else None
    return render_template("own/activity.html", rows=rows, later=later)


@blueprint.route("/deleted-mail", methods=["GET", "POST"])
@requires(Permission.OWN_MAIL)
def deleted_mail() -> ResponseReturnValue:
    """Show deleted mail that can be brought back, by mailbox and day; bring some back."""
    user, form = me(), RestoreForm()
    if request.method == "POST":
        since = _since(form.since.data) if form.validate() else None
        if since is None:
            abort(400)
        try:
            count = mail().restoring.restore(acting(user), user.id, since, form.mailbox.data or None)
        except Unavailable:
            raise
        except MailError as error:
            flash(refusal(error), "error")
        else:
            told = ngettext(
                "%(num)s message is back where it was.", "%(num)s messages are back where they were.", count
            )
            flash(told, "success")
        return redirect(url_for("own_data.deleted_mail"), code=303)
    found = mail().restoring.list_expunged(user.id)
    days: dict[tuple[str, datetime], list[int]] = {}
    for one in found:
        day = one.expunged_at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        counted = days.setdefault((one.mailbox, day), [0, 0])
        counted[0] += one.count
        counted[1] += one.size_bytes
    rows = [(mailbox, day, count, size) for (mailbox, day), (count, size) in days.items()]
    rows.sort(key=lambda row: (row[1], row[0]), reverse=True)
    return render_template("own/deleted_mail.html", rows=rows, form=form)


def _since(text: str | None) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    if moment.tzinfo is None or moment > datetime.now(UTC) + timedelta(days=1):
        return None
    return moment
