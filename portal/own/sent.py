"""What became of what one sent: recipient by recipient, and what can still be done about it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from flask import Blueprint, abort, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from mailcore.errors import BeingSent, QueueEntryNotFound
from mailcore.model.actor import Actor
from mailcore.model.ids import UserId
from mailcore.model.outbound import AUTHORED, OutboundEntry, QueueId
from portal.access import requires
from portal.database import utc_now
from portal.deliveries.words import STEPS
from portal.mail_plane import mail
from portal.own.fates import NAMES, TRIED_LATER, WAITING, fate_of, of_recipient, sentence
from portal.own.sessions import acting, me
from portal.permissions import Permission

blueprint = Blueprint("own_sent", __name__, url_prefix="/account/sent")
PAGE: Final = 50
MOST_STEPS: Final = 200


@blueprint.get("/")
@requires(Permission.OWN_MAIL)
def index() -> ResponseReturnValue:
    """Show what was sent, the latest first; one round trip, two on further pages."""
    at, after = utc_now(), request.args.get("after", "")[:24]
    entries = mail().outbound.list_authored(me().id, PAGE, after)
    older = url_for("own_sent.index", after=entries[-1].id) if len(entries) == PAGE else None
    newest = url_for("own_sent.index") if after else None
    rows = [(entry, fate_of(entry, at)) for entry in entries]
    return render_template("own/sent.html", rows=rows, names=NAMES, older=older, newest=newest)


@blueprint.get("/<sent_id>")
@requires(Permission.OWN_MAIL)
def show(sent_id: str) -> ResponseReturnValue:
    """Show one message: each recipient with the answer of the other server, and every step."""
    user = me()
    entry = _entry(user.id, sent_id)
    fate = fate_of(entry, utc_now())
    found = mail().trace.search(user.tenant_id, queue_id=entry.id, limit=MOST_STEPS)
    return render_template(
        "own/sent_message.html",
        entry=entry,
        name=NAMES[fate],
        sentence=sentence(entry, fate),
        recipients=[(each, *of_recipient(each, fate)) for each in entry.recipients],
        can_take_back=fate in WAITING,
        can_send_now=fate in TRIED_LATER,
        steps=[(row, STEPS[row.step]) for row in found if row.user_id == user.id],
    )


@blueprint.post("/<sent_id>/take-back")
@requires(Permission.OWN_MAIL)
def take_back(sent_id: str) -> ResponseReturnValue:
    """Do not send it to those who have not got it yet."""
    done = _("Taken back. Your copy stays where it is.")
    return _changed(sent_id, mail().outbound.cancel, done, _("It is too late: it was sent."))


@blueprint.post("/<sent_id>/now")
@requires(Permission.OWN_MAIL)
def send_now(sent_id: str) -> ResponseReturnValue:
    """Send at once what was to be sent later, or tried again later."""
    return _changed(sent_id, mail().outbound.retry, _("It is being sent."), _("It does not wait any more."))


def _changed(
    sent_id: str, change: Callable[[Actor, UserId, QueueId], object], done: str, too_late: str
) -> ResponseReturnValue:
    """Change what waits in the queue, and show it again."""
    user = me()
    entry = _entry(user.id, sent_id)
    try:
        change(acting(user), user.id, entry.id)
    except BeingSent:
        flash(_("It is being sent this moment. Look again in some seconds."), "error")
    except QueueEntryNotFound:
        flash(too_late, "error")
    else:
        flash(done, "success")
    return redirect(url_for("own_sent.show", sent_id=entry.id), code=303)


def _entry(user_id: UserId, sent_id: str) -> OutboundEntry:
    """Return what the user wrote; reports, answers and mail that is sent on by itself are not among it."""
    try:
        entry = mail().outbound.get(user_id, sent_id)
    except QueueEntryNotFound:
        abort(404)
    return entry if entry.reason in AUTHORED else abort(404)
