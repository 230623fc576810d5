"""CAPABILITY: what the server can do (RFC 9051 §6.1.1)."""

from __future__ import annotations

from mailcore.imap.capabilities import capability_names
from mailcore.imap.session import Replies, Session
from mailcore.imap.wire.responses import Done, Line


def handle_capability(session: Session, _args: None) -> Replies:
    """Answer with one untagged CAPABILITY."""
    yield Line(b"CAPABILITY " + capability_names(session))
    return Done("CAPABILITY completed")
