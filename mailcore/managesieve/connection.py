"""One ManageSieve connection: bytes in, actions out; joins reader, command table and session, without any I/O."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

from mailcore import log, metrics
from mailcore.errors import MailError, SyntaxFault
from mailcore.managesieve import replies
from mailcore.managesieve.capabilities import capability_lines
from mailcore.managesieve.commands import COMMANDS, Exchange, Outcome
from mailcore.managesieve.session import Session, State
from mailcore.managesieve.wire import CommandReader, Fault, RawCommand, Reply, Status, Then, encode_string, ok
from mailcore.managesieve.wire import parse_command as parse
from mailcore.model.actions import CLOSE, START_TLS, Action, Peer, Send, SetDeadline, Tls, Wake

if TYPE_CHECKING:
    from mailcore.services import MailServices

MAX_FAULTS: Final = 50
"""So many refused commands in a row end the connection."""
MAX_FAULTS_BEFORE_LOGIN: Final = 10
_FAULTS: Final = {
    Fault.LINE_TOO_LONG: replies.LINE_TOO_LONG,
    Fault.LITERAL_TOO_LARGE: replies.LITERAL_TOO_LARGE,
    Fault.LOST: replies.LOST,
}

logger = logging.getLogger(__name__)


class ManageSieveConnection:
    """The dialogue with one client; see `mailcore.model.actions.Connection`."""

    __slots__ = ("_closed", "_exchange", "_faults", "_limits", "_reader", "_signed_in", "session")

    def __init__(
        self,
        services: MailServices,
        peer: Peer,
        wake: Wake,
        *,
        plaintext_allowed: bool = False,
        offers_starttls: bool = False,
    ) -> None:
        self.session = Session(services, peer, wake, plaintext_allowed=plaintext_allowed, offers_tls=offers_starttls)
        self._limits = self.session.limits
        self._reader = self._new_reader()
        self._exchange: Exchange | None = None
        self._closed = False
        self._faults = 0
        self._signed_in = False

    def _new_reader(self) -> CommandReader:
        most = self._limits.command_bytes_before_login
        return CommandReader(most, most)

    # -- events ---------------------------------------------------------------------------------

    def greeting(self) -> Iterator[Action]:
        """Say what can be done; who has not signed in when the deadline passes is cut off, whatever was sent."""
        yield SetDeadline(self._limits.login_deadline_s, total=True)
        yield Send(self._capabilities("ManageSieve server ready"))

    def receive(self, data: bytes) -> Iterator[Action]:
        """Carry out every command that is complete, in order."""
        self._reader.feed(data)
        while not self._closed:
            raw = self._reader.read()
            if raw is None:
                return
            if isinstance(raw, Fault):
                self._drop_exchange()
                yield from self._reply("", _FAULTS[raw])
            else:
                yield from self._on_command(raw)

    def tls_started(self, tls: Tls) -> Iterator[Action]:
        """Begin anew, and say again what can be done (RFC 5804 §2.2); nothing said in clear counts any more."""
        self.session.leave()
        self.session.encrypted = True
        self._reader = self._new_reader()
        logger.debug("managesieve.tls", extra={"version": tls.version, "cipher": tls.cipher})
        yield Send(self._capabilities("TLS is on"))

    def wake(self) -> Iterator[Action]:
        """End who may be here no more; this protocol knows no other news."""
        if self.session.ended is not None:
            self._closed = True
            yield Send(replies.ended(self.session.ended).encode())
            yield CLOSE

    def timeout(self) -> Iterator[Action]:
        """Say goodbye and close (RFC 5804 §1.2)."""
        self._closed = True
        yield Send(replies.TIMED_OUT.encode())
        yield CLOSE

    def drain(self) -> Iterator[Action]:
        """Ask the client to come back."""
        self._closed = True
        yield Send(replies.GOING_DOWN.encode())
        yield CLOSE

    def eof(self) -> None:
        """Let go of everything."""
        self._closed = True
        self._drop_exchange()
        self.session.leave()

    # -- commands -------------------------------------------------------------------------------

    def _on_command(self, raw: RawCommand) -> Iterator[Action]:
        try:
            command = parse(raw)
        except SyntaxFault as fault:
            self._drop_exchange()
            yield from self._reply("", replies.reply_to(fault))
            return
        name = command.name
        if self._exchange is not None:
            exchange, self._exchange = self._exchange, None
            if name == "" and isinstance(command.arguments[0], bytes):
                yield from self._step(exchange, command.arguments[0])
                return
            exchange.close()
            yield from self._reply("AUTHENTICATE", replies.RESPONSE_EXPECTED)
            return
        refusal = self._refusal(name)
        if refusal is not None:
            yield from self._reply(name, refusal)
            return
        outcome = self._guarded(name, lambda: COMMANDS[name].prepare(command.arguments)(self.session))
        if isinstance(outcome, Reply):
            yield from self._reply(name, outcome)
        else:
            yield from self._step(outcome, None)

    def _refusal(self, name: str) -> Reply | None:
        """Return why a command cannot be had now, before its arguments are looked at."""
        row = COMMANDS.get(name)
        if row is None:
            return replies.UNKNOWN_COMMAND
        if self.session.ended is not None:
            return replies.ended(self.session.ended)
        if self.session.state not in row.states:
            return replies.NOT_NOW
        return row.refuse(self.session) if row.refuse is not None else None

    def _guarded(self, name: str, run: Callable[[], Outcome]) -> Outcome:
        """Run something; whatever goes wrong becomes its reply."""
        try:
            return run()
        except MailError as error:
            logger.info("managesieve.command.refused", extra={"command": name, "error": type(error).__name__})
            return replies.reply_to(error)
        except Exception:
            logger.exception("managesieve.command.failed", extra={"command": name})
            return replies.UNEXPECTED

    def _step(self, exchange: Exchange, line: bytes | None) -> Iterator[Action]:
        """Go on with AUTHENTICATE to its end or to the next challenge."""
        challenge = b""

        def run() -> Outcome:
            nonlocal challenge
            try:
                challenge = (next(exchange) if line is None else exchange.send(line)).line
            except StopIteration as stop:
                reply: Reply = stop.value
                return reply
            return exchange

        outcome = self._guarded("AUTHENTICATE", run)
        if isinstance(outcome, Reply):
            yield from self._reply("AUTHENTICATE", outcome)
        else:
            self._exchange = exchange
            yield Send(encode_string(challenge) + b"\r\n")

    def _reply(self, name: str, reply: Reply) -> Iterator[Action]:
        """Send a reply and do what follows from it."""
        yield Send(reply.encode())
        self._count(name, reply)
        if reply.then is Then.CLOSE:
            self._closed = True
            yield CLOSE
        elif reply.then is Then.BEGIN_TLS:
            yield from self._begin_tls()
        elif reply.status is Status.NO:
            yield from self._on_fault()
        else:
            self._faults = 0
            yield from self._follow()

    def _count(self, name: str, reply: Reply) -> None:
        verb = name if name in COMMANDS else "unknown"
        metrics.COMMANDS.inc("managesieve", verb, reply.status.value)
        logger.debug("managesieve.command", extra={"command": verb, "outcome": reply.status.value})

    # -- transitions ----------------------------------------------------------------------------

    def _follow(self) -> Iterator[Action]:
        """Signed in, larger scripts are taken and only silence ends the connection; signed out, as at the beginning."""
        signed_in = self.session.state is State.AUTHENTICATED
        if signed_in == self._signed_in:
            return
        self._signed_in = signed_in
        if signed_in:
            identity = self.session.identity
            assert identity is not None
            log.bind(user_id=str(identity.user_id), tenant_id=str(identity.tenant_id))
            self._reader.literal_limit = self._limits.sieve.script_bytes
            yield SetDeadline(self._limits.idle_timeout_s)
        else:
            self._reader.literal_limit = self._limits.command_bytes_before_login
            yield SetDeadline(self._limits.login_deadline_s, total=True)

    def _begin_tls(self) -> Iterator[Action]:
        """Start the handshake; input that came behind STARTTLS in clear is never looked at."""
        if self._reader.holds_input:
            logger.info("managesieve.starttls.injection")
            self._closed = True
            yield CLOSE
        else:
            yield START_TLS

    def _on_fault(self) -> Iterator[Action]:
        self._faults += 1
        if self._faults >= (MAX_FAULTS if self._signed_in else MAX_FAULTS_BEFORE_LOGIN):
            self._closed = True
            yield Send(replies.TOO_MANY_FAULTS.encode())
            yield CLOSE

    def _capabilities(self, text: str) -> bytes:
        return ok(text, lines=capability_lines(self.session)).encode()

    def _drop_exchange(self) -> None:
        if self._exchange is not None:
            self._exchange.close()
            self._exchange = None
