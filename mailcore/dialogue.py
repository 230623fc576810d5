"""A dialogue of commands and replies with one client: what POP3 and ManageSieve have in common, sans-IO.

How input is cut into commands, and what each does, is the protocol's; here is what follows from a reply, the
exchange of SASL, and what ends a dialogue.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Generator, Iterator
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from mailcore import log, metrics
from mailcore.errors import MailError
from mailcore.model.actions import CLOSE, START_TLS, Action, Send, Then
from mailcore.model.limits import MAX_FAULTS, MAX_FAULTS_BEFORE_LOGIN
from mailcore.services.accounts.door_session import DoorSession

logger = logging.getLogger(__name__)


class Reply(Protocol):
    """What ends a command."""

    @property
    def then(self) -> Then:
        """What follows it."""
        ...

    @property
    def outcome(self) -> str:
        """The word it begins with."""
        ...

    @property
    def is_refusal(self) -> bool:
        """Whether the command was not carried out."""
        ...

    def encode(self) -> bytes:
        """Return it as it is sent."""
        ...


SessionT = TypeVar("SessionT", bound=DoorSession)
ReplyT = TypeVar("ReplyT", bound=Reply)
Outcome = TypeVar("Outcome")


class Replies(Protocol[ReplyT]):
    """A protocol's module of replies."""

    UNEXPECTED: ReplyT
    GOING_DOWN: ReplyT
    TOO_MANY_FAULTS: ReplyT

    def ended(self, reason: str) -> ReplyT:
        """Return what is told to who may be here no more."""
        ...

    def reply_to(self, error: MailError) -> ReplyT:
        """Return the reply of an error."""
        ...


@dataclass(frozen=True, slots=True)
class Challenge:
    """Yielded by a handler that needs the client's next line, which it is sent."""

    line: bytes


@dataclass(frozen=True, slots=True)
class Wording(Generic[ReplyT]):
    """What a protocol calls things.

    Attributes:
        name: in logs and metrics.
        sign_in: its command for SASL.
        begin_tls: its command for TLS.
        commands: all of them.
    """

    name: str
    sign_in: str
    begin_tls: str
    commands: Collection[str]
    replies: Replies[ReplyT]


class Dialogue(ABC, Generic[SessionT, ReplyT]):
    """The dialogue with one client; see `mailcore.model.actions.Connection`."""

    __slots__ = ("_closed", "_exchange", "_faults", "_limits", "_signed_in", "_wording", "session")

    def __init__(self, session: SessionT, wording: Wording[ReplyT]) -> None:
        self.session = session
        self._limits = session.limits
        self._wording = wording
        self._exchange: Generator[Challenge, bytes, ReplyT] | None = None
        self._closed = False
        self._faults = 0
        self._signed_in = False

    # -- events ---------------------------------------------------------------------------------

    def wake(self) -> Iterator[Action]:
        """End who may be here no more; there is no other news."""
        if self.session.ended is not None:
            yield from self._hang_up(self._wording.replies.ended(self.session.ended))

    def drain(self) -> Iterator[Action]:
        """Ask the client to come back."""
        yield from self._hang_up(self._wording.replies.GOING_DOWN)

    def _hang_up(self, reply: ReplyT | None = None) -> Iterator[Action]:
        """Close, with a last word or without."""
        self._closed = True
        if reply is not None:
            yield Send(reply.encode())
        yield CLOSE

    # -- commands -------------------------------------------------------------------------------

    def _guarded(self, name: str, run: Callable[[], Outcome]) -> Outcome | ReplyT:
        """Run something; whatever goes wrong becomes its reply."""
        try:
            return run()
        except MailError as error:
            told = {"command": name, "error": type(error).__name__}
            logger.info("%s.command.refused", self._wording.name, extra=told)
            return self._wording.replies.reply_to(error)
        except Exception:
            logger.exception("%s.command.failed", self._wording.name, extra={"command": name})
            return self._wording.replies.UNEXPECTED

    def _step(self, exchange: Generator[Challenge, bytes, ReplyT], line: bytes | None) -> Iterator[Action]:
        """Go on with SASL to its end or to the next challenge; no `line` begins it."""
        self._exchange = None

        def run() -> Challenge | ReplyT:
            try:
                return next(exchange) if line is None else exchange.send(line)
            except StopIteration as stop:
                reply: ReplyT = stop.value
                return reply

        outcome = self._guarded(self._wording.sign_in, run)
        if isinstance(outcome, Challenge):
            self._exchange = exchange
            yield Send(self._prompt(outcome.line))
        else:
            yield from self._reply(self._wording.sign_in, outcome)

    def _drop_exchange(self) -> None:
        if self._exchange is not None:
            self._exchange.close()
            self._exchange = None

    def _reply(self, name: str, reply: ReplyT) -> Iterator[Action]:
        """Send a reply and do what follows from it."""
        yield Send(reply.encode())
        self._count(name, reply.outcome)
        if reply.then is Then.CLOSE:
            yield from self._hang_up()
        elif reply.then is Then.BEGIN_TLS:
            yield from self._begin_tls()
        elif reply.is_refusal:
            yield from self._on_fault()
        else:
            self._faults = 0
            yield from self._follow()

    def _count(self, name: str, outcome: str) -> None:
        verb = name if name in self._wording.commands else "unknown"
        metrics.COMMANDS.inc(self._wording.name, verb, outcome)
        logger.debug("%s.command", self._wording.name, extra={"command": verb, "outcome": outcome})

    def _begin_tls(self) -> Iterator[Action]:
        """Start the handshake; input that came behind the command in clear is never looked at."""
        if self._holds_input:
            logger.info("%s.%s.injection", self._wording.name, self._wording.begin_tls.lower())
            yield from self._hang_up()
        else:
            yield START_TLS

    def _on_fault(self) -> Iterator[Action]:
        self._faults += 1
        if self._faults >= (MAX_FAULTS if self._signed_in else MAX_FAULTS_BEFORE_LOGIN):
            yield from self._hang_up(self._wording.replies.TOO_MANY_FAULTS)

    def _name_in_logs(self) -> None:
        """Let what is logged from now on name who signed in."""
        identity = self.session.identity
        assert identity is not None
        log.bind(user_id=identity.user_id, tenant_id=identity.tenant_id)

    # -- the protocol's part --------------------------------------------------------------------

    @property
    @abstractmethod
    def _holds_input(self) -> bool:
        """Whether anything was received that nobody has asked for."""

    @abstractmethod
    def _prompt(self, challenge: bytes) -> bytes:
        """Return a line of SASL as it is sent."""

    @abstractmethod
    def _follow(self) -> Iterator[Action]:
        """Do what follows from a command that was carried out: nothing, but where somebody signed in or out."""
