"""APPEND: put messages into a mailbox, all or none (RFC 9051 §6.3.12, RFC 3502, RFC 4469)."""

from __future__ import annotations

from dataclasses import dataclass

from mailcore.errors import MailboxNotFound, MailError
from mailcore.imap.catenation import Unfit, assemble
from mailcore.imap.commands.copy import NO_TARGET
from mailcore.imap.session import Session
from mailcore.imap.wire.append_message import AppendMessage, read_append_message
from mailcore.imap.wire.cursor import Cursor
from mailcore.imap.wire.responses import Completion, Done
from mailcore.model.ids import MailboxName
from mailcore.services.mailboxes.messages import AppendResult


@dataclass(frozen=True, slots=True)
class AppendArgs:
    """The messages, and where they go."""

    name: MailboxName
    messages: tuple[AppendMessage, ...]


def parse_append(cursor: Cursor) -> AppendArgs:
    """Read `SP mailbox 1*append-message`."""
    cursor.space()
    name = cursor.mailbox()
    messages = [read_append_message(cursor)]
    while not cursor.at_end():
        messages.append(read_append_message(cursor))
    return AppendArgs(name, tuple(messages))


def handle_append(session: Session, args: AppendArgs) -> Completion:
    """Store the messages byte for byte with one commit; APPENDUID tells where they are (RFC 4315 §3)."""
    try:
        messages = assemble(session, args.messages)
    except Unfit as unfit:
        return unfit.completion()
    try:
        place = session.place(args.name)
        result = session.services.messages.append(place.owner_id, session.actor, place.name, messages)
    except MailboxNotFound:
        return NO_TARGET
    show_appended(session, result)
    return Done("APPEND completed", appenduid(result))


def show_appended(session: Session, result: AppendResult) -> None:
    """Let a client that appended to its selected mailbox see it at once; one round trip only if others did too.

    Whatever is wrong with that mailbox now: the messages are stored, and a client that is told NO stores them again.
    """
    selected = session.selected
    if selected is None or selected.mailbox_id != result.mailbox_id:
        return
    try:
        session.take_news()
        if selected.view.uid_next <= result.uids.ranges[-1][1]:
            session.refresh()
    except MailError:
        pass  # the next command says so


def appenduid(result: AppendResult) -> bytes:
    """Return the response code that tells the UIDs."""
    return b"APPENDUID %d %b" % (result.uid_validity, result.uids.to_wire())
