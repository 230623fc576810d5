"""AUTHENTICATE: SASL (RFC 9051 §6.2.2, RFC 4422), with the first response at once (RFC 4959)."""

from __future__ import annotations

from dataclasses import dataclass

from mailcore import sasl
from mailcore.errors import AuthenticationFailed, SyntaxFault
from mailcore.imap.commands.login import sign_in
from mailcore.imap.session import Continue, Replies, Session
from mailcore.imap.wire.cursor import Cursor
from mailcore.imap.wire.responses import Bad, No


@dataclass(frozen=True, slots=True)
class AuthenticateArgs:
    """Mechanism, and its first response in base64 where the client sent it along."""

    mechanism: str
    initial_response: bytes | None


def parse_authenticate(cursor: Cursor) -> AuthenticateArgs:
    """Read `SP auth-type [SP initial-resp]`."""
    cursor.space()
    mechanism = cursor.word()
    initial_response = cursor.astring() if cursor.accept(b" ") else None
    cursor.end()
    return AuthenticateArgs(mechanism, initial_response)


def handle_authenticate(session: Session, args: AuthenticateArgs) -> Replies:
    """Sign in as LOGIN does; a refused token is explained first (RFC 7628 §3.2.3), whatever the client says to it."""
    mechanism = sasl.MECHANISMS.get(args.mechanism)
    if mechanism is None:
        return No("This mechanism is not supported", b"CANNOT")
    try:
        offer = yield from sasl.negotiate(mechanism, args.initial_response, Continue)
    except SyntaxFault as fault:
        return Bad(str(fault.details[0]))
    if offer is None:
        return Bad("Cancelled")
    try:
        return sign_in(session, offer)
    except AuthenticationFailed:
        if mechanism.failure is not None:
            yield Continue(sasl.write_line(mechanism.failure))
        raise
