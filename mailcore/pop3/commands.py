"""Every POP3 command: parsers are in `wire`, handlers here, and THE table at the end."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TypeVar

from mailcore import sasl
from mailcore.dialogue import Challenge
from mailcore.errors import AuthenticationFailed, MailError, StoreDamaged, SyntaxFault
from mailcore.model.actions import Then
from mailcore.model.limits import Traffic
from mailcore.model.secret import Secret
from mailcore.pop3 import replies, wire
from mailcore.pop3.capabilities import capability_lines
from mailcore.pop3.session import ANY_STATE, Session, State
from mailcore.pop3.wire import MultiLine, Reply, err, ok
from mailcore.services.content.stored_content import Content

Args = TypeVar("Args")

Exchange = Generator[Challenge, bytes, Reply]
"""A handler that talks to the client before it replies."""
Outcome = Reply | MultiLine | Exchange

logger = logging.getLogger(__name__)


# -- AUTHORIZATION ------------------------------------------------------------------------------


def refuse_in_clear(session: Session) -> Reply | None:
    """Return -ERR where a password would travel unencrypted; asked before the password is looked at."""
    if session.may_sign_in:
        return None
    logger.info("pop3.login.refused", extra={"reason": "not encrypted"})
    return replies.NOT_ENCRYPTED


def handle_user(session: Session, username: bytes) -> Reply:
    """Note who wants to sign in; whether there is such a user is not told (RFC 1939 §7)."""
    session.username = username
    return ok("Password?")


def handle_pass(session: Session, password: Secret) -> Reply:
    """Sign in as who USER named; after a refusal USER comes first again."""
    username, session.username = session.username, None
    if username is None:
        return replies.NOT_NOW
    try:
        name = username.decode("utf-8")
    except UnicodeDecodeError:
        raise AuthenticationFailed("user name is not UTF-8") from None
    return _sign_in(session, sasl.PasswordOffer(name, password))


def _sign_in(session: Session, offer: sasl.Offer) -> Reply:
    session.sign_in(offer)
    return ok(_count(session))


def parse_auth(argument: bytes | None) -> tuple[str, bytes | None]:
    """Read `mechanism [SP initial-response]` (RFC 5034 §4).

    Raises:
        SyntaxFault: none, or more than that.
    """
    words = wire.words(argument)
    if len(words) not in {1, 2}:
        raise SyntaxFault("Mechanism expected")
    return words[0].decode("ascii", "replace").upper(), words[1] if len(words) == 2 else None


def handle_auth(session: Session, args: tuple[str, bytes | None]) -> Exchange:
    """Sign in by SASL (RFC 5034); a refused token is explained first (RFC 7628 §3.2.3)."""
    name, initial_response = args
    mechanism = sasl.MECHANISMS.get(name)
    if mechanism is None:
        return err("This mechanism is not supported")
    offer = yield from sasl.negotiate(mechanism, initial_response, Challenge)
    if offer is None:
        return err("Cancelled")
    try:
        return _sign_in(session, offer)
    except AuthenticationFailed:
        if mechanism.failure is not None:
            yield Challenge(sasl.write_line(mechanism.failure))
        raise


def handle_stls(session: Session, _args: None) -> Reply:
    """Begin the handshake (RFC 2595 §4); everything said before is forgotten after it."""
    if session.encrypted:
        return err("The connection is encrypted already")
    if not session.offers_tls:
        return err("TLS is not to be had here")
    return ok("Begin TLS negotiation now", Then.BEGIN_TLS)


def handle_utf8(session: Session, _args: None) -> Reply:
    """Take note of nothing (RFC 6856 §2): names and passwords are UTF-8 in any case, messages are sent as they are."""
    del session
    return ok("UTF-8 it is")


# -- any state ----------------------------------------------------------------------------------


def handle_capa(session: Session, _args: None) -> MultiLine:
    """List what the server can do now (RFC 2449 §5)."""
    return MultiLine(ok("Capability list follows"), capability_lines(session))


def parse_lang(argument: bytes | None) -> str | None:
    """Read `[language-range]` (RFC 6856 §3, RFC 4647 §2.1).

    Raises:
        SyntaxFault: more than one word.
    """
    words = wire.words(argument)
    if len(words) > 1:
        raise SyntaxFault("One language expected")
    return words[0].decode("ascii", "replace").lower() if words else None


def handle_lang(session: Session, wanted: str | None) -> Reply | MultiLine:
    """List the languages of our texts, or choose one: there is English (RFC 6856 §3.2)."""
    del session
    if wanted is None:
        return MultiLine(ok("Language listing follows:"), iter([b"en English\r\n"]))
    if wanted in {"*", "en", "i-default"}:
        return ok("en Texts are in English")
    return err("en No texts in this language")


def handle_quit(session: Session, _args: None) -> Reply:
    """End: remove what is marked, by one commit, and close whether that succeeds or not (RFC 1939 §6)."""
    if session.state is State.TRANSACTION:
        try:
            session.maildrop.expunge_marked(session.actor)
        except MailError as error:
            logger.info("pop3.update.failed", extra={"error": type(error).__name__})
            return replace(replies.reply_to(error), then=Then.CLOSE)
    return ok("Goodbye", Then.CLOSE)


# -- TRANSACTION --------------------------------------------------------------------------------


def handle_stat(session: Session, _args: None) -> Reply:
    """Tell how many messages and octets there are."""
    return ok(f"{session.maildrop.count} {session.maildrop.size_bytes}")


def handle_list(session: Session, number: int | None) -> Reply | MultiLine:
    """Tell the size of one message or of all."""
    if number is not None:
        return ok(f"{number} {session.maildrop.size_of(number)}")
    return MultiLine(ok(_count(session)), session.maildrop.sizes())


def handle_uidl(session: Session, number: int | None) -> Reply | MultiLine:
    """Tell the unique-id of one message or of all."""
    if number is not None:
        return ok(f"{number} {session.maildrop.unique_id_of(number)}")
    return MultiLine(ok(_count(session)), session.maildrop.unique_ids())


def handle_retr(session: Session, number: int) -> MultiLine:
    """Send a message; see `Maildrop.open_message` for round trips.

    Raises:
        RateExceeded: the user has fetched as much as a day allows.
    """
    content = _opened(session, number, whole=True)
    return MultiLine(ok(f"{content.size_bytes} octets"), wire.stuffed(_noted(session, _whole(content))))


def _opened(session: Session, number: int, *, whole: bool) -> Content:
    session.services.usage.check(session.user_id, Traffic.POP3_DOWNLOAD)
    return session.maildrop.open_message(number, whole=whole)


def _noted(session: Session, pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the pieces, each counted as traffic."""
    for piece in pieces:
        session.note_traffic(Traffic.POP3_DOWNLOAD, len(piece))
        yield piece


def _whole(content: Content) -> Iterator[bytes]:
    """Yield all of it; ends with StoreDamaged if it is not as long as it should be."""
    left = content.size_bytes
    for piece in content.read():
        left -= len(piece)
        yield piece
    if left:
        raise StoreDamaged("size", content.message_oid.hex())


def handle_top(session: Session, args: tuple[int, int]) -> MultiLine:
    """Send the header of a message, its blank line, and so many lines of its body (RFC 1939 §7).

    Raises:
        RateExceeded: the user has fetched as much as a day allows.
    """
    number, lines = args
    content = _opened(session, number, whole=False)
    header = content.header_bytes()
    body = wire.first_lines(content.read(len(header)), lines)
    return MultiLine(ok("Top of message follows"), wire.stuffed(_noted(session, itertools.chain([header], body))))


def handle_dele(session: Session, number: int) -> Reply:
    """Mark a message; it goes at QUIT."""
    session.maildrop.mark(number)
    return ok("Marked to be deleted")


def handle_rset(session: Session, _args: None) -> Reply:
    """Take back every mark."""
    session.maildrop.unmark_all()
    return ok(_count(session))


def handle_noop(session: Session, _args: None) -> Reply:
    """Do nothing."""
    del session
    return ok("Done")


def _count(session: Session) -> str:
    return f"{session.maildrop.count} messages ({session.maildrop.size_bytes} octets)"


# -- the table ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CommandRow:
    """One command.

    Attributes:
        prepare: parses the argument and returns what carries the command out.
        refuse: returns why the command is not to be had now; asked before its argument is read.
    """

    name: str
    states: State
    prepare: Callable[[bytes | None], Callable[[Session], Outcome]]
    refuse: Callable[[Session], Reply | None] | None


def _row(
    name: str,
    states: State,
    parse: Callable[[bytes | None], Args],
    handle: Callable[[Session, Args], Outcome],
    refuse: Callable[[Session], Reply | None] | None = None,
) -> CommandRow:
    def prepare(argument: bytes | None) -> Callable[[Session], Outcome]:
        args = parse(argument)
        return lambda session: handle(session, args)

    return CommandRow(name, states, prepare, refuse)


_ROWS = (
    _row("CAPA", ANY_STATE, wire.no_argument, handle_capa),
    _row("LANG", ANY_STATE, parse_lang, handle_lang),
    _row("QUIT", ANY_STATE, wire.no_argument, handle_quit),
    _row("STLS", State.AUTHORIZATION, wire.no_argument, handle_stls),
    _row("UTF8", State.AUTHORIZATION, wire.no_argument, handle_utf8),
    _row("USER", State.AUTHORIZATION, wire.text, handle_user, refuse_in_clear),
    _row("PASS", State.AUTHORIZATION, wire.secret, handle_pass, refuse_in_clear),
    _row("AUTH", State.AUTHORIZATION, parse_auth, handle_auth, refuse_in_clear),
    _row("STAT", State.TRANSACTION, wire.no_argument, handle_stat),
    _row("LIST", State.TRANSACTION, wire.optional_message_number, handle_list),
    _row("UIDL", State.TRANSACTION, wire.optional_message_number, handle_uidl),
    _row("RETR", State.TRANSACTION, wire.message_number, handle_retr),
    _row("TOP", State.TRANSACTION, wire.message_number_and_lines, handle_top),
    _row("DELE", State.TRANSACTION, wire.message_number, handle_dele),
    _row("RSET", State.TRANSACTION, wire.no_argument, handle_rset),
    _row("NOOP", State.TRANSACTION, wire.no_argument, handle_noop),
)

COMMANDS: dict[str, CommandRow] = {row.name: row for row in _ROWS}
