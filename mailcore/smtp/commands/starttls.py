"""STARTTLS: encrypt from here on (RFC 3207)."""

from __future__ import annotations

from mailcore.smtp import replies
from mailcore.smtp.commands.outcome import BeginTls, Outcome
from mailcore.smtp.session import Session


def handle_starttls(session: Session, argument: bytes) -> Outcome:
    """Answer 220; the connection refuses it if input follows in clear."""
    if session.tls is not None:
        return replies.ENCRYPTED_ALREADY
    if not session.offers_tls:
        return replies.NOT_IMPLEMENTED
    if argument:
        return replies.NO_ARGUMENT
    return BeginTls(replies.READY_FOR_TLS)
