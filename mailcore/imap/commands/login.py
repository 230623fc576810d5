"""LOGIN: user name and password (RFC 9051 §6.2.3)."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from mailcore.errors import AuthenticationFailed
from mailcore.imap.capabilities import capability_code
from mailcore.imap.session import Session
from mailcore.imap.wire.cursor import Cursor
from mailcore.imap.wire.responses import Completion, Done, No
from mailcore.model.secret import Secret

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
    """Sign in; the capabilities that hold from now on come with the answer."""
    return sign_in(session, args.username, args.password)


def sign_in(session: Session, username: bytes, password: Secret) -> Completion:
    """Check the password and enter the authenticated state.

    Raises:
        AuthenticationFailed: unknown user or wrong password.
        UserDisabled: the right password of a disabled user.
        TooManyAttempts: too many failures, of this user or from this address.
    """
    try:
        name = username.decode("utf-8")
    except UnicodeDecodeError:
        raise AuthenticationFailed("user name is not UTF-8") from None
    identity = session.services.authentication.login(name, password, "imap", session.remote_address)
    session.sign_in(identity)
    return Done("Signed in", capability_code(session))
