"""QUIT: end the dialogue (RFC 5321 §4.1.1.10)."""

from __future__ import annotations

from mailcore.smtp import replies
from mailcore.smtp.commands.outcome import HangUp, Outcome
from mailcore.smtp.session import Session


def handle_quit(_session: Session, argument: bytes) -> Outcome:
    """Answer 221 and close; an open transaction is dropped."""
    return replies.NO_ARGUMENT if argument else HangUp(replies.GOODBYE)
