"""RSET: drop the transaction (RFC 5321 §4.1.1.5)."""

from __future__ import annotations

from mailcore.smtp import replies
from mailcore.smtp.commands.outcome import Outcome
from mailcore.smtp.session import Session


def handle_rset(session: Session, argument: bytes) -> Outcome:
    """Forget reverse-path, forward-paths and chunks; the greeting stays."""
    if argument:
        return replies.NO_ARGUMENT
    session.reset()
    return replies.OK
