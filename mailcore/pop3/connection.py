"""One POP3 connection: bytes in, actions out; joins reader, command table and session, and does no I/O itself."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING

from mailcore.dialogue import Dialogue, Wording
from mailcore.errors import MailError, SyntaxFault
from mailcore.model.actions import Action, Peer, Send, SetDeadline, Tls, Wake
from mailcore.pop3 import replies
from mailcore.pop3.commands import COMMANDS
from mailcore.pop3.session import Session, State
from mailcore.pop3.wire import END, LineReader, MultiLine, Reply, TooLong, ok, parse_command

if TYPE_CHECKING:
    from mailcore.services import MailServices

SEND_BYTES = 64 * 1024
WORDING = Wording("pop3", "AUTH", "STLS", COMMANDS, replies)

logger = logging.getLogger(__name__)


class Pop3Connection(Dialogue[Session, Reply]):
    """The dialogue with one client; see `mailcore.model.actions.Connection`."""

    __slots__ = ("_reader",)

    def __init__(
        self,
        services: MailServices,
        peer: Peer,
        wake: Wake,
        *,
        plaintext_allowed: bool = False,
        offers_stls: bool = False,
    ) -> None:
        session = Session(services, peer, wake, plaintext_allowed=plaintext_allowed, offers_tls=offers_stls)
        super().__init__(session, WORDING)
        self._reader = LineReader(self._limits.command_bytes_before_login)

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

    def timeout(self) -> Iterator[Action]:
        """Close without a word and without removing anything (RFC 1939 §3)."""
        return self._hang_up()

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
                        yield from self._hang_up()
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
        self._count(name, response.reply.outcome)
        self._faults = 0

    def _broken_off(self, name: str, reply: Reply, *, begun: bool) -> Iterator[Action]:
        """Tell why a response cannot be had, or hang up in the middle of it."""
        if begun:
            logger.warning("pop3.stream.broken", extra={"command": name, "reply": reply.text})
            yield from self._hang_up()
        else:
            yield from self._reply(name, reply)

    # -- for the dialogue -----------------------------------------------------------------------

    @property
    def _holds_input(self) -> bool:
        return self._reader.holds_input

    def _prompt(self, challenge: bytes) -> bytes:
        return b"+ " + challenge + b"\r\n"

    def _follow(self) -> Iterator[Action]:
        """Signed in, only silence ends the connection."""
        if self.session.state is State.TRANSACTION and not self._signed_in:
            self._signed_in = True
            self._name_in_logs()
            yield SetDeadline(self._limits.pop3_idle_timeout_s)
