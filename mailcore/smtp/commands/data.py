"""DATA: the message follows, up to a line with a single dot (RFC 5321 §4.1.1.4)."""

from __future__ import annotations

from mailcore.smtp import replies
from mailcore.smtp.commands.outcome import Outcome, ReadMessage
from mailcore.smtp.session import Session


def handle_data(session: Session, argument: bytes) -> Outcome:
    """Ask for the message; without a valid recipient, 503 (RFC 2033 §4.2)."""
    if argument:
        return replies.NO_ARGUMENT
    transaction = session.transaction
    if transaction is None or transaction.chunks is not None:
        return replies.BAD_SEQUENCE
    if not transaction.recipients:
        return replies.NO_RECIPIENTS
    return ReadMessage(replies.START_DATA)
