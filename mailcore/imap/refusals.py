"""What is refused by a command's head alone, before its arguments or its literals are taken."""

from __future__ import annotations

from mailcore.imap.commands import COMMANDS
from mailcore.imap.session import Session
from mailcore.imap.wire.responses import Bad, Completion, No
from mailcore.imap.wire.scanner import BRINGS_MESSAGES, Head


def refusal_of(session: Session, head: Head) -> Completion | None:
    """Return why a command cannot be had now, None if it can."""
    if not head.tag:
        return Bad("Tag expected")
    row = COMMANDS.get(head.name)
    if row is None:
        return Bad("Unknown command")
    if session.state not in row.states:
        return Bad("Command is not allowed now")
    return row.refuse(session) if row.refuse is not None else None


def refusal_of_literal(session: Session, head: Head) -> Completion:
    """Return what a literal over the limit is answered with, which nobody takes."""
    refusal = refusal_of(session, head)
    if refusal is not None:
        return refusal
    return No("The message is too large", b"TOOBIG") if head.name in BRINGS_MESSAGES else Bad("Literal is too large")
