"""Whether a user's day has room for more traffic, asked before a command's arguments are read."""

from __future__ import annotations

from mailcore.errors import MailError
from mailcore.imap.replies import reply_to
from mailcore.imap.session import Session
from mailcore.imap.wire.responses import Completion
from mailcore.model.limits import Traffic


def refuse_download(session: Session) -> Completion | None:
    """Return NO [LIMIT] where the user has fetched as much as a day allows; no round trip."""
    return _refuse(session, Traffic.IMAP_DOWNLOAD)


def refuse_upload(session: Session) -> Completion | None:
    """Return NO [LIMIT] where the user has sent as much as a day allows; no round trip."""
    return _refuse(session, Traffic.IMAP_UPLOAD)


def _refuse(session: Session, what: Traffic) -> Completion | None:
    try:
        session.services.usage.check(session.user_id, what)
    except MailError as error:
        return reply_to(error)
    return None
