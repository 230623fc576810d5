"""Carrying out one command: its handler begun, its output in pieces, its faults as answers."""

from __future__ import annotations

import logging
from collections.abc import Generator

from mailcore.errors import MailError, SyntaxFault
from mailcore.imap.commands import CommandRow, Outcome
from mailcore.imap.replies import UNEXPECTED, reply_to
from mailcore.imap.session import Continue, Replies, Session, State, StreamBroken
from mailcore.imap.wire.cursor import Cursor
from mailcore.imap.wire.responses import Bad, Completion, Progress, Response
from mailcore.imap.wire.scanner import Command
from mailcore.model.actions import FLUSH, Action, Send
from mailcore.model.limits import Traffic

SEND_BYTES = 64 * 1024

logger = logging.getLogger(__name__)


class Running:
    """A command whose handler has not ended yet."""

    __slots__ = ("awaits_news", "replies", "row", "tag")

    def __init__(self, tag: str, row: CommandRow, replies: Replies) -> None:
        self.tag = tag
        self.row = row
        self.replies = replies
        self.awaits_news = False
        """Whether it waits for the client's next line and the client for changes (IDLE)."""


def begin(session: Session, row: CommandRow, command: Command) -> Outcome:
    """Parse a command and start it; whatever goes wrong becomes its answer."""
    try:
        run = row.prepare(Cursor(command, utf8=session.utf8))
    except SyntaxFault as fault:
        # the wire's own faults carry fixed text; those of values carry what the client sent
        told = type(fault) is SyntaxFault and fault.details
        return Bad(str(fault.details[0])) if told else reply_to(fault)
    except Exception:
        logger.exception("imap.parse.failed", extra={"command": row.name})
        return UNEXPECTED
    session.tag = command.head.tag
    try:
        if row.states is State.SELECTED:
            session.check_rights()
        return run(session)
    except MailError as error:
        return _answer(error, row)
    except Exception:
        logger.exception("imap.command.failed", extra={"command": row.name})
        return UNEXPECTED


def proceed(
    session: Session, running: Running, line: bytes | None
) -> Generator[Action, None, Continue | Completion | None]:
    """Run a handler to its end or to its next Continue; output leaves in pieces of SEND_BYTES.

    None: the connection has to be closed, for what was begun cannot be finished.
    """
    pending: list[bytes] = []
    size = 0
    outcome: Continue | Completion = UNEXPECTED
    utf8 = session.utf8
    try:
        item: Response | Continue = next(running.replies) if line is None else running.replies.send(line)
        while not isinstance(item, Continue):
            data = item.encode(utf8=utf8)
            pending.append(data)
            size += len(data)
            if size >= SEND_BYTES or isinstance(item, Progress):
                session.note_traffic(Traffic.IMAP_DOWNLOAD, size)
                yield Send(b"".join(pending))
                pending, size = [], 0
                if session.ended is not None:  # no word fits into the middle of a literal
                    running.replies.close()
                    return None
                if isinstance(item, Progress):
                    yield FLUSH
            item = next(running.replies)
        outcome = item
        pending.append(b"+ " + item.text + b"\r\n")
    except StopIteration as stop:
        outcome = stop.value
    except MailError as error:
        outcome = _answer(error, running.row)
    except StreamBroken:
        logger.warning("imap.stream.broken", extra={"command": running.row.name})
        return None
    except Exception:
        logger.exception("imap.command.failed", extra={"command": running.row.name})
    session.note_traffic(Traffic.IMAP_DOWNLOAD, size)
    if pending:
        yield Send(b"".join(pending))
    return outcome


def _answer(error: MailError, row: CommandRow) -> Completion:
    """Return what the client is told about an error that is part of the business."""
    logger.info("imap.command.refused", extra={"command": row.name, "error": type(error).__name__})
    return reply_to(error)
