"""IDLE: be told of changes as they happen (RFC 2177)."""

from __future__ import annotations

from mailcore.imap.session import Continue, Replies, Session
from mailcore.imap.wire.responses import Bad, Done


def handle_idle(session: Session, _args: None) -> Replies:
    """Wait for DONE. Listens first and reads then, so that no change falls between; one round trip."""
    if session.selected is not None and session.hears_selected:
        session.watch()
        session.refresh()
    line = yield Continue(b"idling", awaits_news=True)
    if line.upper() != b"DONE":
        return Bad("DONE expected")
    return Done("IDLE completed")
