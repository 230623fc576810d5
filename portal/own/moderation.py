"""Posts to groups that wait until their moderator, who is signed in here, lets them go or declines them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Final

from flask import Blueprint, abort, flash, redirect, render_template, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from mailcore.errors import BeingSent, NotPermitted, QueueEntryNotFound
from mailcore.model.ids import UserId
from mailcore.model.outbound import EntryState, OutboundEntry, QueueId, Reason
from portal.access import requires
from portal.mail_plane import mail
from portal.own.sessions import acting, me
from portal.permissions import Permission

blueprint = Blueprint("own_moderation", __name__, url_prefix="/account/posts")
MOST: Final = 1000
"""Entries of a user's queue that are looked through."""
READ_BYTES: Final = 64 * 1024
"""Of a post; the beginning is what is decided by."""
SHOWN_CHARACTERS: Final = 1000


@dataclass(frozen=True, slots=True)
class Post:
    """A post as its moderator sees it; one to many members is several entries of the queue."""

    id: QueueId
    at: datetime
    sender: str
    subject: str
    text: str
    members: int


@blueprint.get("/")
@requires(Permission.OWN_MAIL)
def index() -> ResponseReturnValue:
    """Show what waits, the latest first, with how it begins; a round trip for each."""
    return render_template("own/posts.html", posts=[_read(each) for each in _waiting(me().id)])


@blueprint.post("/<queue_id>/<act>")
@requires(Permission.OWN_MAIL)
def decide(queue_id: str, act: str) -> ResponseReturnValue:
    """Let a post go to every member, or take it back from all."""
    user = me()
    found = next((each for each in _waiting(user.id) if each[0].id == queue_id), None)
    if act not in {"release", "decline"} or found is None:
        abort(404)
    change = mail().outbound.release if act == "release" else mail().outbound.cancel
    try:
        for entry in found:
            change(acting(user), user.id, entry.id)
    except (BeingSent, QueueEntryNotFound):  # somebody else decided meanwhile
        flash(_("It does not wait any more."), "error")
    except NotPermitted:
        flash(_("Your outgoing mail is on hold, and this post with it. Your administrator knows why."), "error")
    else:
        flash(_("Every member gets it now.") if act == "release" else _("Declined. Nobody gets it."), "success")
    return redirect(url_for("own_moderation.index"), code=303)


def count(user_id: UserId) -> int:
    """Return how many posts wait for somebody; one round trip."""
    return len(_waiting(user_id))


def _waiting(user_id: UserId) -> list[list[OutboundEntry]]:
    """Return the posts that wait, each with all of its entries, the latest first."""
    posts: dict[tuple[str, str | None], list[OutboundEntry]] = {}
    for entry in mail().outbound.list_of_user(user_id, MOST):
        if entry.reason is Reason.MODERATION and entry.state is EntryState.HELD:
            posts.setdefault((entry.header_message_id or entry.id, entry.held), []).append(entry)
    return list(posts.values())


def _read(entries: list[OutboundEntry]) -> Post:
    first = entries[0]
    try:
        message = _beginning(mail().outbound.content(first.user_id, first.id).read())
    except QueueEntryNotFound:
        message = EmailMessage()
    return Post(
        first.id,
        first.created_at,
        str(message.get("From", first.reverse_path)),
        str(message.get("Subject", "")),
        _text(message),
        sum(len(entry.recipients) for entry in entries),
    )


def _beginning(pieces: Iterable[bytes]) -> EmailMessage:
    """Return a message as far as it is read."""
    raw = b""
    for piece in pieces:
        raw += piece
        if len(raw) >= READ_BYTES:
            break
    return message_from_bytes(raw[:READ_BYTES], policy=policy.default)


def _text(message: EmailMessage) -> str:
    """Return how the plain text begins, "" if there is none that can be read."""
    try:
        body = message.get_body(("plain",))
        return str(body.get_content()).strip()[:SHOWN_CHARACTERS] if body is not None else ""
    except (LookupError, ValueError, AttributeError, KeyError):  # whatever a stranger may write
        return ""
