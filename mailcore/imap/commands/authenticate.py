"""AUTHENTICATE: SASL PLAIN (RFC 9051 §6.2.2, RFC 4616), with the first response at once (RFC 4959)."""

from __future__ import annotations

import binascii
from dataclasses import dataclass

from mailcore.errors import AuthenticationFailed
from mailcore.imap.commands.login import sign_in
from mailcore.imap.session import Continue, Replies, Session
from mailcore.imap.wire.cursor import Cursor
from mailcore.imap.wire.responses import Bad, No
from mailcore.model.secret import Secret


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
    """Sign in as LOGIN does."""
    if args.mechanism != "PLAIN":
        return No("This mechanism is not supported", b"CANNOT")
    encoded = args.initial_response
    if encoded is None:
        encoded = yield Continue()
        if encoded == b"*":
            return Bad("Cancelled")
    try:
        response = b"" if encoded == b"=" else binascii.a2b_base64(encoded, strict_mode=True)
    except binascii.Error:
        return Bad("Response is not base64")
    parts = response.split(b"\0")
    if len(parts) != 3:
        return Bad("Response is not that of PLAIN")
    authorize_as, username, password = parts
    if authorize_as not in {b"", username}:
        raise AuthenticationFailed("acting for others is not possible")
    return sign_in(session, username, Secret(password))
