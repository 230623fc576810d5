"""NAMESPACE: where mailboxes are (RFC 2342)."""

from __future__ import annotations

from mailcore.imap.session import Replies, Session
from mailcore.imap.wire.responses import Done, Line


def handle_namespace(_session: Session, _args: None) -> Replies:
    """One personal namespace without prefix, and one for what others of the tenant share."""
    yield Line(b'NAMESPACE (("" "/")) (("Shared/" "/")) NIL')
    return Done("NAMESPACE completed")
