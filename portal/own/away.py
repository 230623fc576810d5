"""What happens to mail while one is away: an automatic answer, and sending it on."""

from __future__ import annotations

from datetime import UTC, datetime

from flask import Blueprint, flash, redirect, render_template, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from mailcore.errors import MailError, Unavailable
from portal.access import requires
from portal.mail_plane import mail
from portal.own.forms import AutoreplyForm, ForwardingForm
from portal.own.sessions import acting, me
from portal.own.targets import say_what_waits
from portal.people.addresses import several
from portal.permissions import Permission
from portal.refusals import refusal
from portal.waiting_targets import waiting_of

blueprint = Blueprint("own_away", __name__, url_prefix="/account/away")


@blueprint.get("/")
@requires(Permission.OWN_MAIL)
def index() -> ResponseReturnValue:
    """Show both."""
    return _page()


def _page(
    autoreply: AutoreplyForm | None = None, forwarding: ForwardingForm | None = None, status: int = 200
) -> ResponseReturnValue:
    user = me()
    if autoreply is None:
        found = mail().autoreplies.get(user.id)
        autoreply = AutoreplyForm(formdata=None, obj=found)
    if forwarding is None:
        settings = user.settings
        data = {"targets": "\n".join(settings.targets), "keeps": settings.keeps_forwarded}
        forwarding = ForwardingForm(formdata=None, data=data)
    parts = {"autoreply": autoreply, "forwarding": forwarding, "waiting": waiting_of(user)}
    return render_template("own/away.html", user=user, **parts), status


@blueprint.post("/answer")
@requires(Permission.OWN_MAIL)
def set_answer() -> ResponseReturnValue:
    """Change the automatic answer."""
    user, form = me(), AutoreplyForm()
    if not form.validate_on_submit():
        return _page(autoreply=form, status=400)
    changes = {
        "is_on": bool(form.is_on.data),
        "subject": form.subject.data or "",
        "text": (form.text.data or "").replace("\r\n", "\n"),
        "start": _utc(form.start.data),
        "end": _utc(form.end.data),
    }
    try:
        mail().autoreplies.set(acting(user), user.id, changes)
    except Unavailable:
        raise
    except MailError as error:
        form.text.errors = [refusal(error)]
        return _page(autoreply=form, status=400)
    flash(_("Your mail is answered.") if form.is_on.data else _("Saved. Nothing is answered."), "success")
    return redirect(url_for("own_away.index"), code=303)


@blueprint.post("/forwarding")
@requires(Permission.OWN_MAIL)
def set_forwarding() -> ResponseReturnValue:
    """Change where all mail goes on to."""
    user, form = me(), ForwardingForm()
    if not form.validate_on_submit():
        return _page(forwarding=form, status=400)
    targets = tuple(several(form.targets.data or ""))
    changes = {"targets": targets, "keeps_forwarded": bool(form.keeps.data)}
    try:
        mail().users.set_settings(acting(user), user.id, changes)
    except Unavailable:
        raise
    except MailError as error:
        form.targets.errors = [refusal(error)]
        return _page(forwarding=form, status=400)
    flash(_("Saved."), "success")
    say_what_waits(user.id, targets)
    return redirect(url_for("own_away.index"), code=303)


def _utc(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.replace(tzinfo=UTC)
