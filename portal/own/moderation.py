"""Posts to groups that wait until their moderator, who is signed in here, lets them go or declines them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from flask import Blueprint, abort, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import get_locale
from flask_babel import gettext as _

from mailcore.errors import BeingSent, NotPermitted, QueueEntryNotFound
from mailcore.model.outbound import EntryState, OutboundEntry, QueueId, Reason
from mailcore.model.tenant import User
from mailcore.services.outbound.posts import sender_of
from portal.access import requires
from portal.mail_plane import mail, portal
from portal.own import posts
from portal.own.post_notices import tell_sender
from portal.own.sessions import acting, me
from portal.permissions import Permission

blueprint = Blueprint("own_moderation", __name__, url_prefix="/account/posts")
MOST: Final = 1000
"""Entries of a user's queue that are looked through."""
REASON_CHARACTERS: Final = 1000


@dataclass(frozen=True, slots=True)
class Post:
    """A post as its moderator sees it; one to many members is several entries of the queue.

    Attributes:
        may_tell: whether there is somebody who can be told that it was declined.
    """

    id: QueueId
    at: datetime
    group: str
    sender: str
    subject: str
    text: str
    members: int
    may_tell: bool


@blueprint.get("/")
@requires(Permission.OWN_MAIL)
def index() -> ResponseReturnValue:
    """Show what waits, the latest first, with how it begins; a round trip for each."""
    return render_template("own/posts.html", posts=[_read(each) for each in _waiting(me())], most=REASON_CHARACTERS)


@blueprint.post("/<queue_id>/<act>")
@requires(Permission.OWN_MAIL)
def decide(queue_id: str, act: str) -> ResponseReturnValue:
    """Let a post go to every member, or take it back from all and tell who sent it, if that is wished."""
    user = me()
    found = next((each for each in _waiting(user) if each[0].id == queue_id), None)
    if act not in {"release", "decline"} or found is None:
        abort(404)
    change = mail().outbound.release if act == "release" else mail().outbound.cancel
    read = posts.read(mail(), found[0].user_id, found[0].id)
    try:
        for entry in found:
            change(acting(user), entry.user_id, entry.id)
    except (BeingSent, QueueEntryNotFound):  # somebody else decided meanwhile
        flash(_("It does not wait any more."), "error")
    except NotPermitted:
        flash(_("Outgoing mail is on hold, and this post with it. Your administrator knows why."), "error")
    else:
        flash(*_decided(act, found[0], read))
    return redirect(url_for("own_moderation.index"), code=303)


def _decided(act: str, entry: OutboundEntry, read: posts.Beginning) -> tuple[str, str]:
    """Tell who sent it, if that is wished, and return what is said about it."""
    if act == "release":
        return _("Every member gets it now."), "success"
    if "tell" not in request.form:
        return _("Declined. Nobody gets it."), "success"
    reason = request.form.get("reason", "").replace("\r", "")[:REASON_CHARACTERS]
    reason = "".join(each for each in reason if each.isprintable() or each == "\n").strip()
    if tell_sender(mail(), portal().settings, entry, read, reason, str(get_locale())):
        return _("Declined. Nobody gets it, and the sender is told."), "success"
    return _("Declined. Nobody gets it, but the sender could not be told."), "error"


def count(user: User) -> int:
    """Return how many posts wait for somebody; two round trips, and one for each shard of who moderates."""
    return len(_waiting(user))


def _waiting(user: User) -> list[list[OutboundEntry]]:
    """Return the posts that wait, each with all of its entries, the latest first.

    Whoever moderates the group decides, in whosever queue it lies. Two posts are never one, whatever ids they bear:
    nobody lets go what he has not seen.
    """
    groups = mail().groups.list_moderated(user.tenant_id, user.id)
    entries = mail().posts.list_of_groups(user.tenant_id, groups)
    entries += [entry for entry in mail().outbound.list_of_user(user.id, MOST) if not entry.group]  # noted no group yet
    found: dict[tuple[bytes, str | None], list[OutboundEntry]] = {}
    for entry in entries:
        if entry.reason is Reason.MODERATION and entry.state is EntryState.HELD:
            found.setdefault((entry.sha256, entry.held), []).append(entry)
    return list(found.values())


def _read(entries: list[OutboundEntry]) -> Post:
    first = entries[0]
    read = posts.read(mail(), first.user_id, first.id)
    return Post(
        first.id,
        first.created_at,
        first.group,
        read.sender or first.reverse_path,
        read.subject,
        read.text,
        sum(len(entry.recipients) for entry in entries),
        read.answerable and bool(first.group) and sender_of(first.reverse_path, first.group) is not None,
    )
