"""STARTTLS: encrypt the connection (RFC 9051 §6.2.1)."""

from __future__ import annotations

from mailcore.imap.session import Session
from mailcore.imap.wire.responses import Bad, BeginTls, Completion


def handle_starttls(session: Session, _args: None) -> Completion:
    """Begin the handshake; everything said before is forgotten after it."""
    if session.encrypted:
        return Bad("The connection is encrypted already")
    if not session.offers_tls:
        return Bad("TLS is not to be had here")
    return BeginTls("Begin TLS negotiation now")
