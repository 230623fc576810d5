"""APPEND: put a message into a mailbox (RFC 9051 §6.3.12, RFC 6855 §4)."""

from __future__ import annotations

from dataclasses import dataclass

from mailcore.errors import MailboxNotFound, SyntaxFault
from mailcore.imap.commands.copy import NO_TARGET
from mailcore.imap.session import Session
from mailcore.imap.wire.cursor import Cursor
from mailcore.imap.wire.responses import Completion, Done, No
from mailcore.model.flags import FlagSet
from mailcore.model.ids import MailboxName
from mailcore.services.messages import NewMessage


@dataclass(frozen=True, slots=True)
class AppendArgs:
    """The message and where it goes; `internal_date` in seconds since 1970 UTC."""

    name: MailboxName
    flags: FlagSet
    internal_date: int | None
    raw_message: bytes


def parse_append(cursor: Cursor) -> AppendArgs:
    """Read `SP mailbox [SP flag-list] [SP date-time] SP (literal / "UTF8" SP "(" literal8 ")")`."""
    cursor.space()
    name = cursor.mailbox()
    cursor.space()
    flags = FlagSet()
    if cursor.peek() == b"(":
        flags = cursor.flag_set()
        cursor.space()
    internal_date = None
    if cursor.peek() == b'"':
        internal_date = cursor.date_time()
        cursor.space()
    raw_message = _message(cursor)
    cursor.end()
    return AppendArgs(name, flags, internal_date, raw_message)


def _message(cursor: Cursor) -> bytes:
    if cursor.utf8 and cursor.accept_word(b"UTF8"):
        cursor.space()
        cursor.expect(b"(")
        literal = cursor.literal()
        if not literal.binary:
            raise SyntaxFault("literal8 expected")
        cursor.expect(b")")
        return literal.data
    literal = cursor.literal()
    if literal.binary:
        raise SyntaxFault("literal expected")
    return literal.data


def handle_append(session: Session, args: AppendArgs) -> Completion:
    """Store the message byte for byte; APPENDUID tells where it is (RFC 4315 §3)."""
    if not args.raw_message:
        return No("An empty message cannot be stored", b"CANNOT")
    message = NewMessage(args.raw_message, args.flags, args.internal_date)
    try:
        result = session.services.messages.append(session.user_id, session.actor, args.name, [message])
    except MailboxNotFound:
        return NO_TARGET
    selected = session.selected
    if selected is not None and selected.mailbox_id == result.mailbox_id:
        session.take_news()
        if selected.view.uid_next <= result.uids.ranges[-1][1]:
            session.refresh()
    return Done("APPEND completed", b"APPENDUID %d %b" % (result.uid_validity, result.uids.to_wire()))
