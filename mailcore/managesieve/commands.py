"""Every ManageSieve command: parsers are in `wire`, handlers here, and THE table at the end."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TypeVar

from mailcore import sasl
from mailcore.dialogue import Challenge
from mailcore.errors import AuthenticationFailed, SyntaxFault
from mailcore.managesieve import replies, wire
from mailcore.managesieve.capabilities import capability_lines
from mailcore.managesieve.session import ANY_STATE, Session, State
from mailcore.managesieve.wire import Argument, Reply, encode_string, no, ok
from mailcore.model.actions import Then

Args = TypeVar("Args")

Exchange = Generator[Challenge, bytes, Reply]
"""A handler that talks to the client before it replies."""
Outcome = Reply | Exchange

logger = logging.getLogger(__name__)


# -- before and after signing in ----------------------------------------------------------------


def refuse_in_clear(session: Session) -> Reply | None:
    """Return NO where a password would travel unencrypted; asked before the password is looked at."""
    if session.may_sign_in:
        return None
    logger.info("managesieve.login.refused", extra={"reason": "not encrypted"})
    return replies.NOT_ENCRYPTED


def parse_authenticate(arguments: tuple[Argument, ...]) -> tuple[str, bytes | None]:
    """Read `auth-type [SP string]` (RFC 5804 §2.1).

    Raises:
        SyntaxFault: something else.
    """
    match arguments:
        case (bytes() as name,):
            return name.decode("ascii", "replace").upper(), None
        case (bytes() as name, bytes() as initial_response):
            return name.decode("ascii", "replace").upper(), initial_response
    raise SyntaxFault("Mechanism expected")


def handle_authenticate(session: Session, args: tuple[str, bytes | None]) -> Exchange:
    """Sign in by SASL; a refused token is explained first (RFC 7628 §3.2.3)."""
    name, initial_response = args
    mechanism = sasl.MECHANISMS.get(name)
    if mechanism is None:
        return no("This mechanism is not supported")
    offer = yield from sasl.negotiate(mechanism, initial_response, Challenge)
    if offer is None:
        return no("Cancelled")
    try:
        session.sign_in(offer)
    except AuthenticationFailed:
        if mechanism.failure is not None:
            yield Challenge(sasl.write_line(mechanism.failure))
        raise
    return ok("You are in")


def handle_unauthenticate(session: Session, _args: None) -> Reply:
    """Sign out and stay connected (RFC 5804 §2.14.1)."""
    session.leave()
    return ok("You are out")


def handle_starttls(session: Session, _args: None) -> Reply:
    """Begin the handshake (RFC 5804 §2.2); everything said before is forgotten after it."""
    if session.encrypted:
        return no("The connection is encrypted already")
    if not session.offers_tls:
        return no("TLS is not to be had here")
    return ok("Begin TLS negotiation now", then=Then.BEGIN_TLS)


def handle_logout(session: Session, _args: None) -> Reply:
    """End (RFC 5804 §2.3)."""
    session.leave()
    return ok("Goodbye", then=Then.CLOSE)


def handle_capability(session: Session, _args: None) -> Reply:
    """List what the server can do now (RFC 5804 §2.4)."""
    return ok("Those are all", lines=capability_lines(session))


def handle_noop(session: Session, tag: bytes | None) -> Reply:
    """Do nothing, and say back what the client said (RFC 5804 §2.13)."""
    del session
    if tag is None:
        return ok("Done")
    return ok("Done", code="TAG " + encode_string(tag).decode("utf-8", "replace"))


# -- scripts ------------------------------------------------------------------------------------


def handle_havespace(session: Session, args: tuple[str, int]) -> Reply:
    """Tell whether a script of that size may be stored (RFC 5804 §2.5)."""
    session.services.scripts.check_room(session.user_id, *args)
    return ok("There is room")


def handle_putscript(session: Session, args: tuple[str, bytes]) -> Reply:
    """Store a script that can run (RFC 5804 §2.6)."""
    session.services.scripts.put(session.actor, session.user_id, *args)
    return ok("Stored")


def handle_checkscript(session: Session, script: bytes) -> Reply:
    """Tell whether a script can run, and store nothing (RFC 5804 §2.12)."""
    session.services.scripts.check(script)
    return ok("This script is right")


def handle_listscripts(session: Session, _args: None) -> Reply:
    """List the names of all scripts, and which is active (RFC 5804 §2.7)."""
    lines = []
    for entry in session.services.scripts.list_of(session.user_id):
        active = b" ACTIVE" if entry.is_active else b""
        lines.append(encode_string(entry.name.encode()) + active + b"\r\n")
    return ok("Those are all", lines=lines)


def handle_setactive(session: Session, name: str) -> Reply:
    """Let one script have its say, or none (RFC 5804 §2.8)."""
    session.services.scripts.activate(session.actor, session.user_id, name)
    return ok("It is active now" if name else "None is active now")


def handle_getscript(session: Session, name: str) -> Reply:
    """Send a script (RFC 5804 §2.9)."""
    script = session.services.scripts.get(session.user_id, name).encode()
    return ok("This is it", lines=(b"{%d}\r\n" % len(script), script, b"\r\n"))


def handle_deletescript(session: Session, name: str) -> Reply:
    """Remove a script that is not active (RFC 5804 §2.10)."""
    session.services.scripts.delete(session.actor, session.user_id, name)
    return ok("Deleted")


def handle_renamescript(session: Session, args: tuple[str, str]) -> Reply:
    """Give a script another name (RFC 5804 §2.11.1)."""
    session.services.scripts.rename(session.actor, session.user_id, *args)
    return ok("Renamed")


# -- the table ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CommandRow:
    """One command.

    Attributes:
        prepare: parses the arguments and returns what carries the command out.
        refuse: returns why the command is not to be had now; asked before its arguments are looked at.
    """

    name: str
    states: State
    prepare: Callable[[tuple[Argument, ...]], Callable[[Session], Outcome]]
    refuse: Callable[[Session], Reply | None] | None


def _row(
    name: str,
    states: State,
    parse: Callable[[tuple[Argument, ...]], Args],
    handle: Callable[[Session, Args], Outcome],
    refuse: Callable[[Session], Reply | None] | None = None,
) -> CommandRow:
    def prepare(arguments: tuple[Argument, ...]) -> Callable[[Session], Outcome]:
        args = parse(arguments)
        return lambda session: handle(session, args)

    return CommandRow(name, states, prepare, refuse)


_ROWS = (
    _row("CAPABILITY", ANY_STATE, wire.nothing, handle_capability),
    _row("NOOP", ANY_STATE, wire.optional_string, handle_noop),
    _row("LOGOUT", ANY_STATE, wire.nothing, handle_logout),
    _row("STARTTLS", State.NOT_AUTHENTICATED, wire.nothing, handle_starttls),
    _row("AUTHENTICATE", State.NOT_AUTHENTICATED, parse_authenticate, handle_authenticate, refuse_in_clear),
    _row("UNAUTHENTICATE", State.AUTHENTICATED, wire.nothing, handle_unauthenticate),
    _row("HAVESPACE", State.AUTHENTICATED, wire.name_and_size, handle_havespace),
    _row("PUTSCRIPT", State.AUTHENTICATED, wire.name_and_script, handle_putscript),
    _row("CHECKSCRIPT", State.AUTHENTICATED, wire.string, handle_checkscript),
    _row("LISTSCRIPTS", State.AUTHENTICATED, wire.nothing, handle_listscripts),
    _row("SETACTIVE", State.AUTHENTICATED, wire.name, handle_setactive),
    _row("GETSCRIPT", State.AUTHENTICATED, wire.name, handle_getscript),
    _row("DELETESCRIPT", State.AUTHENTICATED, wire.name, handle_deletescript),
    _row("RENAMESCRIPT", State.AUTHENTICATED, wire.names, handle_renamescript),
)

COMMANDS: dict[str, CommandRow] = {row.name: row for row in _ROWS}
