"""One POP3 connection: bytes in, actions out; joins reader, command table and session, and does no I/O itself."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from mailcore import log, metrics
from mailcore.errors import MailError, SyntaxFault
from mailcore.model.actions import CLOSE, START_TLS, Action, Peer, Send, SetDeadline, Tls, Wake
from mailcore.pop3 import replies
from mailcore.pop3.commands import COMMANDS, Exchange, Outcome
from mailcore.pop3.session import Session, State
from mailcore.pop3.wire import END, LineReader, MultiLine, Reply, Then, TooLong, ok, parse_command

if TYPE_CHECKING:
    from mailcore.services import MailServices

SEND_BYTES = 64 * 1024
MAX_FAULTS = 50
"""So many refused commands in a row end the connection."""
MAX_FAULTS_BEFORE_LOGIN = 10

logger = logging.getLogger(__name__)


class Pop3Connection:
    """The dialogue with one client; see `mailcore.model.actions.Connection`."""

    __slots__ = ("_closed", "_exchange", "_faults", "_limits", "_reader", "_settled", "session")

    def __init__(
        self,
        services: MailServices,
        peer: Peer,
        wake: Wake,
        *,
        plaintext_allowed: bool = False,
        offers_stls: bool = False,
    ) -> None:
        self.session = Session(services, peer, wake, plaintext_allowed=plaintext_allowed, offers_tls=offers_stls)
        self._limits = self.session.limits
        self._reader = LineReader(self._limits.command_bytes_before_login)
        self._exchange: Exchange | None = None
        self._closed = False
        self._faults = 0
        self._settled = False

    # -- events ---------------------------------------------------------------------------------

    def greeting(self) -> Iterator[Action]:
        """Greet; who has not signed in when the deadline passes is cut off, whatever was sent meanwhile."""
        yield SetDeadline(self._limits.login_deadline_s, total=True)
        yield Send(ok("POP3 server ready").encode())

    def receive(self, data: bytes) -> Iterator[Action]:
        """Carry out every command that is complete, in order (PIPELINING, RFC 2449 §6.6)."""
        self._reader.feed(data)
        while not self._closed:
            line = self._reader.read()
            if line is None:
                return
            if isinstance(line, TooLong):
                self._drop_exchange()
                yield from self._reply("", replies.LINE_TOO_LONG)
            elif self._exchange is not None:
                yield from self._step(self._exchange, line)
            else:
                yield from self._on_line(line)

    def tls_started(self, tls: Tls) -> Iterator[Action]:
        """Begin anew, without a greeting; nothing said in clear counts any more (RFC 2595 §4)."""
        self.session.forget()
        self.session.encrypted = True
        self._reader = LineReader(self._limits.command_bytes_before_login)
        logger.debug("pop3.tls", extra={"version": tls.version, "cipher": tls.cipher})
        return iter(())

    def wake(self) -> Iterator[Action]:
        """End who may be here no more; this protocol knows no other news."""
        if self.session.ended is not None:
            self._closed = True
            yield Send(replies.ended(self.session.ended).encode())
            yield CLOSE

    def timeout(self) -> Iterator[Action]:
        """Close without a word and without removing anything (RFC 1939 §3)."""
        self._closed = True
        yield CLOSE

    def drain(self) -> Iterator[Action]:
        """Ask the client to come back; what it has marked stays, and it will mark it again."""
        self._closed = True
        yield Send(replies.GOING_DOWN.encode())
        yield CLOSE

    def eof(self) -> None:
        """Let go of everything; nothing is removed but by QUIT."""
        self._closed = True
        self._drop_exchange()
        self.session.forget()

    # -- commands -------------------------------------------------------------------------------

    def _on_line(self, line: bytes) -> Iterator[Action]:
        try:
            command = parse_command(line)
        except SyntaxFault as fault:
            yield from self._reply("", replies.reply_to(fault))
            return
        name = command.name
        refusal = self._refusal(name)
        if refusal is not None:
            yield from self._reply(name, refusal)
            return
        outcome = self._guarded(name, lambda: COMMANDS[name].prepare(command.argument)(self.session))
        if isinstance(outcome, Reply):
            yield from self._reply(name, outcome)
        elif isinstance(outcome, MultiLine):
            yield from self._multi_line(name, outcome)
        else:
            yield from self._step(outcome, None)

    def _refusal(self, name: str) -> Reply | None:
        """Return why a command cannot be had now, before its argument is looked at."""
        row = COMMANDS.get(name)
        if row is None:
            return replies.UNKNOWN_COMMAND
        if self.session.state not in row.states:
            return replies.NOT_NOW
        if self.session.ended is not None:
            return replies.ended(self.session.ended)
        return row.refuse(self.session) if row.refuse is not None else None

    def _guarded(self, name: str, run: Callable[[], Outcome]) -> Outcome:
        """Run something; whatever goes wrong becomes its reply."""
        try:
            return run()
        except MailError as error:
            logger.info("pop3.command.refused", extra={"command": name, "error": type(error).__name__})
            return replies.reply_to(error)
        except Exception:
            logger.exception("pop3.command.failed", extra={"command": name})
            return replies.UNEXPECTED

    def _step(self, exchange: Exchange, line: bytes | None) -> Iterator[Action]:
        """Go on with AUTH to its end or to the next challenge."""
        self._exchange = None
        challenge = b""

        def run() -> Outcome:
            nonlocal challenge
            try:
                challenge = (next(exchange) if line is None else exchange.send(line)).line
            except StopIteration as stop:
                reply: Reply = stop.value
                return reply
            return exchange

        outcome = self._guarded("AUTH", run)
        if isinstance(outcome, Reply):
            yield from self._reply("AUTH", outcome)
        else:
            self._exchange = exchange
            yield Send(b"+ " + challenge + b"\r\n")

    def _multi_line(self, name: str, response: MultiLine) -> Iterator[Action]:
        """Send a response in pieces of about SEND_BYTES; if it breaks off, only closing tells the client."""
        pending = [response.reply.encode()]
        size = 0
        begun = False
        try:
            for piece in response.pieces:
                pending.append(piece)
                size += len(piece)
                if size >= SEND_BYTES:
                    yield Send(b"".join(pending))
                    begun = True
                    pending, size = [], 0
                    if self.session.ended is not None:
                        self._closed = True
                        yield CLOSE
                        return
        except MailError as error:
            yield from self._broken_off(name, replies.reply_to(error), begun=begun)
            return
        except Exception:
            logger.exception("pop3.command.failed", extra={"command": name})
            yield from self._broken_off(name, replies.UNEXPECTED, begun=begun)
            return
        pending.append(END)
        yield Send(b"".join(pending))
        self._count(name, succeeded=True)
        self._faults = 0

    def _broken_off(self, name: str, reply: Reply, *, begun: bool) -> Iterator[Action]:
        """Tell why a response cannot be had, or hang up in the middle of it."""
        if begun:
            logger.warning("pop3.stream.broken", extra={"command": name, "reply": reply.text})
            self._closed = True
            yield CLOSE
        else:
            yield from self._reply(name, reply)

    def _reply(self, name: str, reply: Reply) -> Iterator[Action]:
        """Send a reply and do what follows from it."""
        yield Send(reply.encode())
        self._count(name, succeeded=reply.ok)
        if reply.then is Then.CLOSE:
            self._closed = True
            yield CLOSE
        elif reply.then is Then.BEGIN_TLS:
            yield from self._begin_tls()
        elif not reply.ok:
            yield from self._on_fault()
        else:
            self._faults = 0
            if self.session.state is State.TRANSACTION and not self._settled:
                yield from self._signed_in()

    def _count(self, name: str, *, succeeded: bool) -> None:
        verb = name if name in COMMANDS else "unknown"
        outcome = "+OK" if succeeded else "-ERR"
        metrics.COMMANDS.inc("pop3", verb, outcome)
        logger.debug("pop3.command", extra={"command": verb, "outcome": outcome})

    # -- transitions ----------------------------------------------------------------------------

    def _signed_in(self) -> Iterator[Action]:
        """From now on only silence ends the connection."""
        identity = self.session.identity
        assert identity is not None
        log.bind(user_id=str(identity.user_id), tenant_id=str(identity.tenant_id))
        self._settled = True
        yield SetDeadline(self._limits.pop3_idle_timeout_s)

    def _begin_tls(self) -> Iterator[Action]:
        """Start the handshake; input that came behind STLS in clear is never looked at."""
        if self._reader.holds_input:
            logger.info("pop3.stls.injection")
            self._closed = True
            yield CLOSE
        else:
            yield START_TLS

    def _on_fault(self) -> Iterator[Action]:
        self._faults += 1
        signed_in = self.session.state is State.TRANSACTION
        if self._faults >= (MAX_FAULTS if signed_in else MAX_FAULTS_BEFORE_LOGIN):
            self._closed = True
            yield Send(replies.TOO_MANY_FAULTS.encode())
            yield CLOSE

    def _drop_exchange(self) -> None:
        if self._exchange is not None:
            self._exchange.close()
            self._exchange = None
