"""HELP: which commands there are (RFC 5321 §4.1.1.8)."""

from __future__ import annotations

from mailcore.smtp.commands.outcome import Outcome
from mailcore.smtp.session import Session
from mailcore.smtp.wire.replies import Reply


def handle_help(session: Session, _argument: bytes) -> Outcome:
    """List the verbs."""
    verbs = f"{session.policy.hello_verb} MAIL RCPT DATA BDAT RSET NOOP VRFY HELP QUIT"
    verbs += " STARTTLS" if session.offers_tls else ""
    return Reply.of(214, "2.0.0", "Commands: " + verbs + (" AUTH" if session.door is not None else ""))
