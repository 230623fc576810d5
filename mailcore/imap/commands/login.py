"""LOGIN: user name and password (RFC 9051 §6.2.3)."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from mailcore.errors import AuthenticationFailed
from mailcore.imap.capabilities import capability_code
from mailcore.imap.session import Session
from mailcore.imap.wire.cursor import Cursor
from mailcore.imap.wire.responses import Completion, Done, No
from mailcore.model.access import Protocol
from mailcore.model.secret import Secret
from mailcore.sasl import Offer, PasswordOffer

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LoginArgs:
    """Who wants to sign in."""

    username: bytes
    password: Secret


def parse_login(cursor: Cursor) -> LoginArgs:
    """Read `SP userid SP password`; UTF-8 may be quoted before it is enabled (RFC 9051 §9; mbsync does so)."""
    cursor.utf8 = True
    cursor.space()
    username = cursor.astring()
    cursor.space()
    password = cursor.astring()
    cursor.end()
    return LoginArgs(username, Secret(password))


def refuse_in_clear(session: Session) -> Completion | None:
    """Return NO where a password would travel unencrypted; asked before the password is read."""
    if session.may_sign_in:
        return None
    logger.info("imap.login.refused", extra={"reason": "not encrypted"})
    return No("Encrypt the connection first", b"PRIVACYREQUIRED")


def handle_login(session: Session, args: LoginArgs) -> Completion:
    """Sign in; the capabilities that hold from now on come with the answer.

    Raises:
        AuthenticationFailed: unknown user or wrong password.
    """
    try:
        name = args.username.decode("utf-8")
    except UnicodeDecodeError:
        raise AuthenticationFailed("user name is not UTF-8") from None
    return sign_in(session, PasswordOffer(name, args.password))


def sign_in(session: Session, offer: Offer) -> Completion:
    """Check what the client offers and enter the authenticated state; raises as `Authentication.accept`."""
    session.enter(session.services.authentication.accept(offer, Protocol.IMAP, session.remote_address))
    return Done("Signed in", capability_code(session))
