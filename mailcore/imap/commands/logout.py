"""LOGOUT: say goodbye and close (RFC 9051 §6.1.3)."""

from __future__ import annotations

from mailcore.imap.session import Replies, Session
from mailcore.imap.wire.responses import Closing, Condition


def handle_logout(session: Session, _args: None) -> Replies:
    """Answer BYE and OK; nothing that follows on the connection is looked at."""
    session.unselect()
    yield Condition("BYE", "Goodbye")
    return Closing("LOGOUT completed")
