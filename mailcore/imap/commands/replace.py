"""REPLACE and UID REPLACE: a new version in place of a message, such as a draft (RFC 8508)."""

from __future__ import annotations

from dataclasses import dataclass

from mailcore.errors import MailboxNotFound
from mailcore.imap.catenation import Unfit, assemble
from mailcore.imap.commands.append import appenduid, show_appended
from mailcore.imap.commands.copy import NO_TARGET
from mailcore.imap.session import Replies, Session
from mailcore.imap.wire.append_message import AppendMessage, read_append_message
from mailcore.imap.wire.cursor import Cursor
from mailcore.imap.wire.responses import Condition, Done, No
from mailcore.model.ids import MailboxName
from mailcore.model.uid_set import SequenceSet

NOT_THERE = No("The message to be replaced is not there", b"NONEXISTENT")


@dataclass(frozen=True, slots=True)
class ReplaceArgs:
    """Which message, by what, and where the new one goes."""

    number: int
    name: MailboxName
    message: AppendMessage
    by_uid: bool


def parse_replace(cursor: Cursor) -> ReplaceArgs:
    """Read `SP seq-number SP mailbox append-message`."""
    return _parse(cursor, by_uid=False)


def parse_uid_replace(cursor: Cursor) -> ReplaceArgs:
    """Read the same after UID."""
    return _parse(cursor, by_uid=True)


def _parse(cursor: Cursor, *, by_uid: bool) -> ReplaceArgs:
    cursor.space()
    number = cursor.nz_number()
    cursor.space()
    name = cursor.mailbox()
    message = read_append_message(cursor)
    cursor.end()
    return ReplaceArgs(number, name, message, by_uid)


def handle_replace(session: Session, args: ReplaceArgs) -> Replies:
    """Append the new one, then remove the old; APPENDUID comes before EXPUNGE (RFC 8508 §4.3)."""
    mailbox = session.writable_mailbox
    numbers = SequenceSet(((args.number, args.number),))
    uids = mailbox.uids_at(mailbox.by_uid(numbers) if args.by_uid else mailbox.by_number(numbers))
    if not uids:
        return NOT_THERE
    try:
        messages = assemble(session, [args.message])
    except Unfit as unfit:
        return unfit.completion()
    services = session.services.messages
    try:
        place = session.place(args.name)
        result = services.replace(
            session.owner_id, session.actor, mailbox.mailbox_id, uids, place.name, messages[0], place.owner_id
        )
    except MailboxNotFound:
        return NO_TARGET
    if result is None:
        return NOT_THERE
    mailbox.adopt(result.view)
    show_appended(session, result.appended)
    yield Condition("OK", "Replacement message ready", appenduid(result.appended))
    return Done("REPLACE completed")
