"""NOOP: hear that the server lives (RFC 5321 §4.1.1.9)."""

from __future__ import annotations

from mailcore.smtp import replies
from mailcore.smtp.commands.outcome import Outcome
from mailcore.smtp.session import Session


def handle_noop(_session: Session, _argument: bytes) -> Outcome:
    """Answer 250; an argument is allowed and ignored."""
    return replies.OK
