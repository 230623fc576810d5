"""One IMAP connection: bytes in, actions out; joins scanner, command table and session, and does no I/O itself."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING

from mailcore import log, metrics
from mailcore.imap.capabilities import capability_code
from mailcore.imap.commands import COMMANDS, CommandRow
from mailcore.imap.news import MailboxDeleted, at_completion, changes, elsewhere, hear
from mailcore.imap.notifications import APART_S
from mailcore.imap.refusals import refusal_of, refusal_of_literal
from mailcore.imap.running import Running, begin, proceed
from mailcore.imap.session import Continue, Session, State, StreamBroken
from mailcore.imap.wire.responses import (
    Bad,
    BeginCompression,
    BeginTls,
    Closing,
    Completion,
    Condition,
    No,
)  # fmt: skip
from mailcore.imap.wire.scanner import Command, Event, Head, LiteralOffered, LiteralTooLarge, Scanner, TooLong
from mailcore.model.actions import (
    CLOSE,
    FLUSH,
    REST,
    START_TLS,
    Action,
    Peer,
    Send,
    SetDeadline,
    StartCompression,
    Tls,
    Wake,
)  # fmt: skip
from mailcore.model.limits import MAX_FAULTS, MAX_FAULTS_BEFORE_LOGIN, Traffic

if TYPE_CHECKING:
    from mailcore.services import MailServices

STILL_HERE_S = 120.0
"""How often an idling client hears that the connection lives."""

logger = logging.getLogger(__name__)


class ImapConnection:
    """The dialogue with one client; see `mailcore.model.actions.Connection`."""

    __slots__ = (
        "_closed", "_faults", "_holds_notices", "_idle_ticks", "_limits", "_running", "_scanner", "session",
    )  # fmt: skip

    def __init__(
        self,
        services: MailServices,
        peer: Peer,
        wake: Wake,
        *,
        plaintext_allowed: bool = False,
        offers_starttls: bool = False,
    ) -> None:
        self.session = Session(
            services,
            peer,
            wake,
            plaintext_allowed=plaintext_allowed,
            offers_tls=offers_starttls,
        )
        self._limits = self.session.limits
        self._scanner = Scanner(self._limits.command_bytes_before_login)
        self._running: Running | None = None
        self._closed = False
        self._faults = 0
        self._idle_ticks = 0
        self._holds_notices = False
        """Whether the deadline is that of notices which have to wait."""

    # -- events ---------------------------------------------------------------------------------

    def greeting(self) -> Iterator[Action]:
        """Greet; who has not signed in when the deadline passes is cut off, whatever was sent meanwhile."""
        yield SetDeadline(self._limits.login_deadline_s, total=True)
        yield self._untagged(Condition("OK", "IMAP server ready", capability_code(self.session)))

    def receive(self, data: bytes) -> Iterator[Action]:
        """Carry out every command that is complete."""
        self.session.note_traffic(Traffic.IMAP_UPLOAD, len(data))
        self._scanner.feed(data)
        while not self._closed:
            if self._running is not None:
                line = self._scanner.read_line(self._limits.command_bytes_before_login)
                if line is None:
                    yield from self._rest()
                    return
                yield from self._resume(self._running, line)
                continue
            event = self._scanner.read_command()
            if event is None:
                yield from self._rest()
                return
            yield from self._on_event(event)

    def _rest(self) -> Iterator[Action]:
        if self.session.compressed and not (self._scanner.holds_input or self._scanner.within_command):
            yield REST

    def tls_started(self, tls: Tls) -> Iterator[Action]:
        """Begin anew; nothing said in clear counts any more (RFC 9051 §6.2.1)."""
        self.session.forget()
        self.session.encrypted = True
        self._scanner = Scanner(self._limits.command_bytes_before_login)
        logger.debug("imap.tls", extra={"version": tls.version, "cipher": tls.cipher})
        return iter(())

    def wake(self) -> Iterator[Action]:
        """End who may be here no more; tell an idling client what has changed, others hear it at their next command."""
        if self.session.ended is not None:
            yield from self._bye(self.session.ended)
            return
        if self._idles or self.session.notifications is not None:
            yield from self._tell_news()

    def timeout(self) -> Iterator[Action]:
        """Say that we are still here to who idles; end who has been silent for too long."""
        if self._holds_notices:
            yield from self._tell_held_notices()
            return
        if self._idles:
            self._idle_ticks += 1
            if self._idle_ticks * STILL_HERE_S < self._limits.idle_timeout_s:
                yield SetDeadline(STILL_HERE_S)
                yield self._untagged(Condition("OK", "Still here"))
                return
        yield from self._bye("Autologout, idle for too long")

    @property
    def _idles(self) -> bool:
        return self._running is not None and self._running.awaits_news

    def drain(self) -> Iterator[Action]:
        """Ask the client to come back; nothing unacknowledged is lost by it."""
        yield from self._bye("Server is restarting, connect again")

    def eof(self) -> None:
        """Let go of everything."""
        self._closed = True
        if self._running is not None:
            self._running.replies.close()
            self._running = None
        self.session.forget()

    # -- commands -------------------------------------------------------------------------------

    def _on_event(self, event: Event) -> Iterator[Action]:
        if isinstance(event, Command):
            yield from self._on_command(event)
        elif isinstance(event, LiteralOffered):
            refusal = refusal_of(self.session, event.head)
            if refusal is None:
                self._scanner.accept()
                yield Send(b"+ OK\r\n")
            else:
                self._scanner.refuse()
                yield from self._complete(event.head, refusal)
        elif isinstance(event, LiteralTooLarge):
            yield from self._on_large_literal(event)
        else:
            yield from self._complete(event.head, Bad("Command is too long"))

    def _on_large_literal(self, event: LiteralTooLarge) -> Iterator[Action]:
        """Refuse before anything is taken; a literal that comes without waiting leaves only the end."""
        refusal = refusal_of_literal(self.session, event.head)
        if event.fatal:
            if event.head.tag:
                yield Send(refusal.encode(event.head.tag))
            yield from self._bye("Literal is too large")
        else:
            yield from self._complete(event.head, refusal)

    def _on_command(self, command: Command) -> Iterator[Action]:
        head = command.head
        refusal = refusal_of(self.session, head)
        if refusal is not None:
            yield from self._complete(head, refusal)
            return
        if self.session.ended is not None:
            yield from self._bye(self.session.ended)
            return
        row = COMMANDS[head.name]
        outcome = begin(self.session, row, command)
        if isinstance(outcome, Completion):
            yield from self._complete(head, outcome, row)
        else:
            yield from self._step(Running(head.tag, row, outcome), None)

    def _resume(self, running: Running, line: bytes | TooLong) -> Iterator[Action]:
        """Hand the handler the line it waits for."""
        self._running = None
        if running.awaits_news:
            self._holds_notices = False
            yield SetDeadline(self._limits.idle_timeout_s)
        if isinstance(line, TooLong):
            running.replies.close()
            yield from self._complete(Head(running.tag, running.row.name, 0), Bad("Line is too long"), running.row)
        else:
            yield from self._step(running, line)

    def _step(self, running: Running, line: bytes | None) -> Iterator[Action]:
        """Run a handler to its end or to its next Continue."""
        outcome = yield from proceed(self.session, running, line)
        if outcome is None:
            self._closed = True
            yield CLOSE
        elif isinstance(outcome, Continue):
            yield from self._suspend(running, outcome)
        else:
            yield from self._complete(Head(running.tag, running.row.name, 0), outcome, running.row)

    def _suspend(self, running: Running, item: Continue) -> Iterator[Action]:
        """Wait for the client's line."""
        self._running = running
        running.awaits_news = item.awaits_news
        if item.awaits_news:
            self._idle_ticks = 0
            self._holds_notices = False
            yield SetDeadline(STILL_HERE_S)
            yield from self._tell_at_once()

    def _complete(self, head: Head, completion: Completion, row: CommandRow | None = None) -> Iterator[Action]:
        """Tell what else changed, then how the command ended, and do what follows from that."""
        if row is not None:
            try:
                for data in at_completion(self.session, row):
                    yield Send(data)
            except StreamBroken:
                yield from self._break_off(row.name)
                return
        yield Send(completion.encode(head.tag))
        self._count(head, completion)
        if isinstance(completion, Closing):
            self._closed = True
            yield CLOSE
        elif isinstance(completion, BeginTls):
            yield from self._begin_tls()
        elif isinstance(completion, BeginCompression):
            yield from self._begin_compression()
        elif self._is_fault(completion):
            yield from self._on_fault()
        else:
            self._faults = 0
            if self.session.identity is not None and not self._scanner.append_bytes:
                yield from self._signed_in()

    def _count(self, head: Head, completion: Completion) -> None:
        name = head.name if head.name in COMMANDS else "unknown"
        outcome = completion.status.decode()
        metrics.COMMANDS.inc("imap", name, outcome)
        logger.debug("imap.command", extra={"command": name, "outcome": outcome})

    # -- transitions ----------------------------------------------------------------------------

    def _signed_in(self) -> Iterator[Action]:
        """Widen the limits; from now on only silence ends the connection."""
        identity = self.session.identity
        assert identity is not None
        log.bind(user_id=identity.user_id, tenant_id=identity.tenant_id)
        self._scanner.command_bytes = self._limits.command_bytes
        self._scanner.append_bytes = self._limits.message_bytes
        self._holds_notices = False
        yield SetDeadline(self._limits.idle_timeout_s)

    def _begin_tls(self) -> Iterator[Action]:
        """Start the handshake; input that came behind STARTTLS in clear is never looked at."""
        if self._scanner.holds_input:
            logger.info("imap.starttls.injection")
            self._closed = True
            yield CLOSE
        else:
            yield START_TLS

    def _begin_compression(self) -> Iterator[Action]:
        """Compress from now on; whether input that is here already was compressed nobody could tell."""
        if self._scanner.holds_input:
            yield from self._bye("Wait for the answer to COMPRESS")
        else:
            self.session.compressed = True
            yield StartCompression(b"* BYE Compressed input cannot be read, or expands too much\r\n")

    # -- what is told unasked -------------------------------------------------------------------

    def _tell_news(self) -> Iterator[Action]:
        """Tell what woke us; other mailboxes' news wait until APART_S after the last ones."""
        told = False
        try:
            for data in hear(self.session, idles=self._idles):
                yield Send(data)
                told = True
        except MailboxDeleted:
            yield from self._bye("The mailbox was deleted")
            return
        except StreamBroken:
            yield from self._break_off("NOTIFY")
            return
        if told:
            yield FLUSH
        yield from self._tell_notices()

    def _tell_at_once(self) -> Iterator[Action]:
        """Tell a client that begins to idle what is new."""
        told = False
        try:
            for data in changes(self.session, expunge=True):
                yield Send(data)
                told = True
        except StreamBroken:
            yield from self._break_off("IDLE")
            return
        if told:
            yield FLUSH
        yield from self._tell_notices()

    def _tell_notices(self) -> Iterator[Action]:
        notifications = self.session.notifications
        if notifications is None or self._holds_notices or not notifications.pending:
            return
        wait_s = notifications.told_at + APART_S - self.session.clock()
        if wait_s > 0:
            self._holds_notices = True
            yield SetDeadline(wait_s)
            return
        for data in elsewhere(self.session):
            yield Send(data)
        yield FLUSH

    def _tell_held_notices(self) -> Iterator[Action]:
        """Tell what had to wait, and count the client's silence anew."""
        self._holds_notices = False
        yield SetDeadline(STILL_HERE_S if self._idles else self._limits.idle_timeout_s)
        for data in elsewhere(self.session):
            yield Send(data)

    def _break_off(self, command: str) -> Iterator[Action]:
        """Close in the middle of a literal: nothing else could tell the client."""
        logger.warning("imap.stream.broken", extra={"command": command})
        self._closed = True
        yield CLOSE

    # -- faults ---------------------------------------------------------------------------------

    def _is_fault(self, completion: Completion) -> bool:
        if isinstance(completion, Bad):
            return True
        return isinstance(completion, No) and self.session.state is State.NOT_AUTHENTICATED

    def _on_fault(self) -> Iterator[Action]:
        self._faults += 1
        signed_in = self.session.identity is not None
        if self._faults >= (MAX_FAULTS if signed_in else MAX_FAULTS_BEFORE_LOGIN):
            yield from self._bye("Too many bad commands")

    def _bye(self, text: str) -> Iterator[Action]:
        self._closed = True
        yield self._untagged(Condition("BYE", text))
        yield CLOSE

    def _untagged(self, condition: Condition) -> Send:
        return Send(condition.encode(utf8=False))
