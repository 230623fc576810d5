"""NOOP and CHECK: hear what has changed (RFC 9051 §6.1.2, RFC 3501 §6.4.1)."""

from __future__ import annotations

from mailcore.imap.session import Session
from mailcore.imap.wire.responses import Completion, Done


def handle_noop(session: Session, _args: None) -> Completion:
    """Look for changes of the selected mailbox: one round trip."""
    if session.selected is not None and session.hears_selected:
        session.refresh()
    return Done("Completed")
