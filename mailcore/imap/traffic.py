"""Whether a user's day has room for more traffic."""

from __future__ import annotations

from mailcore.errors import MailError
from mailcore.imap.replies import reply_to
from mailcore.imap.session import Session
from mailcore.imap.wire.responses import Completion
from mailcore.model.limits import Traffic


def check_download(session: Session) -> None:
    """Make sure that parts of messages may still be fetched; all else, which is small, may be at any time.

    No round trip.

    Raises:
        RateExceeded: the user has fetched as much as a day allows.
    """
    session.services.usage.check(session.user_id, Traffic.IMAP_DOWNLOAD)


def refuse_upload(session: Session) -> Completion | None:
    """Return NO [LIMIT] where the user has sent as much as a day allows; asked before arguments are read."""
    try:
        session.services.usage.check(session.user_id, Traffic.IMAP_UPLOAD)
    except MailError as error:
        return reply_to(error)
    return None
