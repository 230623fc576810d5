"""NAMESPACE: where mailboxes are (RFC 2342)."""

from __future__ import annotations

from mailcore.imap.session import Replies, Session
from mailcore.imap.wire.responses import Done, Line


def handle_namespace(_session: Session, _args: None) -> Replies:
    """One personal namespace without prefix; no others yet."""
    yield Line(b'NAMESPACE (("" "/")) NIL NIL')
    return Done("NAMESPACE completed")
