"""VRFY and EXPN: who exists is nobody's business (RFC 5321 §3.5, §7.3)."""

from __future__ import annotations

from mailcore.smtp import replies
from mailcore.smtp.commands.outcome import Outcome
from mailcore.smtp.session import Session


def handle_vrfy(_session: Session, argument: bytes) -> Outcome:
    """Answer 252 for every name."""
    return replies.CANNOT_VERIFY if argument else replies.BAD_ARGUMENT


def handle_expn(_session: Session, _argument: bytes) -> Outcome:
    """Answer that it is not implemented."""
    return replies.NOT_IMPLEMENTED
