"""One ManageSieve connection: bytes in, actions out; joins reader, command table and session, without any I/O."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from mailcore.dialogue import Dialogue, Wording
from mailcore.errors import SyntaxFault
from mailcore.managesieve import replies
from mailcore.managesieve.capabilities import capability_lines
from mailcore.managesieve.commands import COMMANDS
from mailcore.managesieve.session import Session, State
from mailcore.managesieve.wire import CommandReader, Fault, RawCommand, Reply, encode_string, ok
from mailcore.managesieve.wire import parse_command as parse
from mailcore.model.actions import Action, Peer, Send, SetDeadline, Tls, Wake

if TYPE_CHECKING:
    from mailcore.services import MailServices

_FAULTS: Final = {
    Fault.LINE_TOO_LONG: replies.LINE_TOO_LONG,
    Fault.LITERAL_TOO_LARGE: replies.LITERAL_TOO_LARGE,
    Fault.LOST: replies.LOST,
}
WORDING = Wording("managesieve", "AUTHENTICATE", "STARTTLS", COMMANDS, replies)

logger = logging.getLogger(__name__)


class ManageSieveConnection(Dialogue[Session, Reply]):
    """The dialogue with one client; see `mailcore.model.actions.Connection`."""

    __slots__ = ("_reader",)

    def __init__(
        self,
        services: MailServices,
        peer: Peer,
        wake: Wake,
        *,
        plaintext_allowed: bool = False,
        offers_starttls: bool = False,
    ) -> None:
        session = Session(services, peer, wake, plaintext_allowed=plaintext_allowed, offers_tls=offers_starttls)
        super().__init__(session, WORDING)
        self._reader = self._new_reader()

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

    def timeout(self) -> Iterator[Action]:
        """Say goodbye and close (RFC 5804 §1.2)."""
        return self._hang_up(replies.TIMED_OUT)

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

    # -- for the dialogue -----------------------------------------------------------------------

    @property
    def _holds_input(self) -> bool:
        return self._reader.holds_input

    def _prompt(self, challenge: bytes) -> bytes:
        return encode_string(challenge) + b"\r\n"

    def _follow(self) -> Iterator[Action]:
        """Signed in, larger scripts are taken and only silence ends the connection; signed out, as at the beginning."""
        signed_in = self.session.state is State.AUTHENTICATED
        if signed_in == self._signed_in:
            return
        self._signed_in = signed_in
        if signed_in:
            self._name_in_logs()
            self._reader.literal_limit = self._limits.sieve.script_bytes
            yield SetDeadline(self._limits.idle_timeout_s)
        else:
            self._reader.literal_limit = self._limits.command_bytes_before_login
            yield SetDeadline(self._limits.login_deadline_s, total=True)

    def _capabilities(self, text: str) -> bytes:
        return ok(text, lines=capability_lines(self.session)).encode()
