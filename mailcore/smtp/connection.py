"""Drives commands, message readers and the session of one SMTP or LMTP client; sans-IO."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator

from mailcore import log, metrics
from mailcore.errors import MailError, SyntaxFault
from mailcore.model.actions import CLOSE, FLUSH, START_TLS, Action, Peer, Send, SetDeadline, Tls
from mailcore.model.limits import MAX_FAULTS, MAX_FAULTS_BEFORE_LOGIN
from mailcore.services.accounts.door_session import DoorSession
from mailcore.smtp import replies
from mailcore.smtp.commands import handler_of
from mailcore.smtp.commands.outcome import Ask, BeginTls, HangUp, Outcome, ReadChunk, ReadMessage
from mailcore.smtp.session import Policy, Session
from mailcore.smtp.wire.command_line import LONGEST_AUTH_LINE, LONGEST_LINE, parse_command_line
from mailcore.smtp.wire.data_reader import ChunkReader, DataReader
from mailcore.smtp.wire.replies import Reply

IDLE_S = 300.0
"""RFC 5321 §4.5.3.2.7."""
DRAIN_S = 25.0
"""How long a message under way may still take when the process is to end."""
_MISTAKE_CODES = frozenset({500, 501, 502, 503, 555})

logger = logging.getLogger(__name__)


class SmtpConnection:
    """One dialogue. Reads commands until one of them asks for a message, then that, and so on."""

    __slots__ = (
        "_answer",
        "_chunk_refusal",
        "_held",
        "_is_draining",
        "_is_ended",
        "_is_skipping",
        "_longest_line",
        "_mistakes",
        "_reader",
        "_session",
    )  # fmt: skip

    def __init__(self, policy: Policy, peer: Peer, offers_tls: bool, door: DoorSession | None = None) -> None:
        """Serve `peer` by `policy`; `offers_tls` if the server has a certificate; `door` where one has to sign in."""
        self._session = Session(policy, peer, offers_tls and peer.tls is None, peer.tls, door)
        self._answer: Callable[[bytes], Outcome] | None = None
        self._longest_line = LONGEST_LINE if door is None else LONGEST_AUTH_LINE
        self._held = b""
        self._reader: DataReader | ChunkReader | None = None
        self._chunk_refusal: Reply | None = None
        self._mistakes = 0
        self._is_skipping = False
        self._is_draining = False
        self._is_ended = False

    # -- what the pump calls --------------------------------------------------------------------

    def greeting(self) -> Iterable[Action]:
        """Say who we are (RFC 5321 §4.2, RFC 2033 §4)."""
        policy, door = self._session.policy, self._session.door
        deadline = SetDeadline(IDLE_S) if door is None else SetDeadline(door.limits.login_deadline_s, total=True)
        return (Send(f"220 {policy.hostname} {policy.software}\r\n".encode()), deadline)

    def receive(self, data: bytes) -> Iterator[Action]:
        """Take input: commands, in any number, and messages where they were asked for."""
        if self._held:
            data, self._held = self._held + data, b""
        position = 0
        while position < len(data) and not self._is_ended:
            if self._reader is not None:
                rest = self._reader.feed(data[position:] if position else data)
                if rest is None:
                    return
                data, position = rest, 0
                yield from self._content_complete()
                continue
            end = data.find(b"\n", position)
            if end < 0:
                self._hold(data[position:])
                return
            line, position = data[position:end], end + 1
            yield from self._command(line, position < len(data))

    def tls_started(self, tls: Tls) -> Iterable[Action]:
        """Begin again, without a greeting (RFC 3207 §4.2)."""
        self._answer = None
        self._session.begin_encrypted(tls)
        return ()

    def wake(self) -> Iterable[Action]:
        """End who may be here no more; of a message under way nothing has been taken. There is no other news."""
        door = self._session.door
        if door is not None and door.ended is not None and not self._is_ended:
            return self._end(replies.ended(door.ended))
        return ()

    def timeout(self) -> Iterable[Action]:
        """Say 421 and close (RFC 5321 §4.5.3.2)."""
        return self._end(replies.SHUTTING_DOWN if self._is_draining else replies.TIMED_OUT)

    def drain(self) -> Iterable[Action]:
        """Let a message under way come in and be stored, else say 421 4.3.2."""
        self._is_draining = True
        transaction = self._session.transaction
        if self._reader is not None or (transaction is not None and transaction.chunks is not None):
            return (SetDeadline(DRAIN_S, total=True),)
        return self._end(replies.SHUTTING_DOWN)

    def eof(self) -> None:
        """Forget everything; of a message under way nothing has been stored."""
        if self._reader is not None:
            logger.info("smtp.content.cut_off")
        self._reader = None
        self._answer = None
        self._held = b""
        self._session.reset()
        if self._session.door is not None:
            self._session.door.leave()

    # -- commands -------------------------------------------------------------------------------

    def _hold(self, rest: bytes) -> None:
        """Keep the beginning of a line for the next input; of one too long, only that it is."""
        if len(rest) > self._longest_line:
            self._is_skipping = True
        self._held = b"" if self._is_skipping else rest

    def _command(self, line: bytes, more_follows: bool) -> Iterator[Action]:
        """Carry out one line, without its LF."""
        try:
            outcome, verb = self._outcome(line)
        except MailError as error:
            # Only parse_command_line raises here; what handlers raise is dealt with in _handled.
            outcome, verb = replies.reply_for(error), ""
        if isinstance(outcome, ReadMessage):
            self._reader = DataReader(self._session.policy.message_bytes)
            yield self._say(outcome.reply, verb)
        elif isinstance(outcome, ReadChunk):
            yield from self._begin_chunk(outcome)
        elif isinstance(outcome, Ask):
            self._answer = outcome.answer
            yield Send(b"334 " + outcome.challenge + b"\r\n")
        elif isinstance(outcome, BeginTls):
            if more_follows:
                yield from self._end(replies.BEHIND_STARTTLS)
            else:
                yield self._say(outcome.reply, verb)
                yield START_TLS
        elif isinstance(outcome, HangUp):
            yield from self._end(outcome.reply)
        else:
            yield self._say(outcome, verb)
            if outcome is replies.SIGNED_IN:
                self._mistakes = 0
                yield SetDeadline(IDLE_S)
            elif self._is_one_too_many(outcome):
                yield from self._end(replies.TOO_MANY_MISTAKES)

    def _is_one_too_many(self, reply: Reply) -> bool:
        """Count mistakes; where one signs in everything refused for good is one: guesses of passwords, of addresses."""
        door = self._session.door
        if reply.code in _MISTAKE_CODES or (door is not None and reply.code >= 500):
            self._mistakes += 1
        return self._mistakes >= (MAX_FAULTS if door is None or door.identity is not None else MAX_FAULTS_BEFORE_LOGIN)

    def _outcome(self, line: bytes) -> tuple[Outcome, str]:
        """Find out what a line is answered with."""
        answer, self._answer = self._answer, None
        if self._is_skipping or len(line) >= self._longest_line:
            self._is_skipping = False
            return replies.LINE_TOO_LONG, ""
        if not line.endswith(b"\r"):
            return replies.BARE_LINE_FEED, ""
        door = self._session.door
        if door is not None and door.ended is not None:
            return HangUp(replies.ended(door.ended)), ""
        if answer is not None:
            return self._guarded("AUTH", lambda: answer(line[:-1]))
        try:
            verb, argument = parse_command_line(line[:-1])
        except SyntaxFault:
            return replies.BAD_LINE, ""
        handler = handler_of(verb, self._session.policy.hello_verb)
        if handler is None:
            return replies.UNKNOWN_COMMAND, ""
        if verb != "AUTH" and len(line) >= LONGEST_LINE:
            return replies.LINE_TOO_LONG, ""
        return self._guarded(verb, lambda: handler(self._session, argument))

    def _guarded(self, verb: str, run: Callable[[], Outcome]) -> tuple[Outcome, str]:
        """Run a handler; whatever goes wrong becomes its reply."""
        try:
            return run(), verb
        except MailError as error:
            reply = replies.reply_for(error)
            logger.info(
                "smtp.command.refused",
                extra={"verb": verb, "reply": reply.code, "error": type(error).__name__, "details": error.details},
            )
            return reply, verb
        except Exception:
            logger.exception("smtp.command.failed", extra={"verb": verb})
            self._session.reset()
            return replies.INTERNAL_FAULT, verb

    def _say(self, reply: Reply, verb: str) -> Send:
        metrics.COMMANDS.inc(self._session.policy.protocol, verb, reply.code // 100)
        return Send(reply.to_wire())

    def _end(self, reply: Reply) -> Iterable[Action]:
        self._is_ended = True
        return (Send(reply.to_wire()), CLOSE)

    # -- content --------------------------------------------------------------------------------

    def _begin_chunk(self, chunk: ReadChunk) -> Iterator[Action]:
        transaction = self._session.transaction
        reader = transaction.chunks if transaction is not None and chunk.refusal is None else None
        if reader is None:
            reader = ChunkReader(-1)
        reader.expect(chunk.size, chunk.is_last)
        self._chunk_refusal = chunk.refusal
        self._reader = reader
        if not chunk.size:
            yield from self._content_complete()

    def _content_complete(self) -> Iterator[Action]:
        """Answer to the end of DATA or of a chunk."""
        reader, self._reader = self._reader, None
        if isinstance(reader, ChunkReader) and (self._chunk_refusal is not None or not reader.is_last):
            refusal = replies.MESSAGE_TOO_LARGE if reader.is_too_large else replies.CHUNK_OK
            yield self._say(self._chunk_refusal or refusal, "BDAT")
            return
        assert reader is not None
        yield from self._hand_over(reader)
        self._session.reset()
        if self._is_draining:
            yield from self._end(replies.SHUTTING_DOWN)

    def _hand_over(self, reader: DataReader | ChunkReader) -> Iterator[Action]:
        """Give the message to the policy; as many replies leave as are due, whatever happens."""
        session = self._session
        transaction = session.transaction
        assert transaction is not None
        message, is_bare = _content_of(reader)
        due = session.policy.replies_due(transaction)
        fallback = replies.INTERNAL_FAULT
        if message is None:
            logger.info("smtp.content.too_large")
            fallback = replies.MESSAGE_TOO_LARGE
        elif session.policy.refuses_bare_line_ends and (is_bare or b"\0" in message):
            logger.info("smtp.content.bare_line_end")
            fallback = replies.BARE_LINE_END
        else:
            try:
                for reply in session.policy.accept(message, transaction, session.origin()):
                    due -= 1
                    yield self._say(reply, "content")
                    if due:
                        yield FLUSH
            except MailError as error:
                fallback = replies.reply_for(error)
                logger.warning("smtp.content.refused", extra={"error": type(error).__name__, "details": error.details})
            except Exception:
                logger.exception("smtp.content.failed", extra={"fields": log.bound()})
        for _ in range(due):
            yield self._say(fallback, "content")


def _content_of(reader: DataReader | ChunkReader) -> tuple[bytes | None, bool]:
    """Return the message, None if it is too large, and whether a CR or LF stood alone in it."""
    if isinstance(reader, ChunkReader):
        is_bare = reader.has_bare_line_end
        return reader.message(), is_bare
    message = reader.message()
    return message, reader.has_bare_line_end
