"""RENAME, children too (RFC 9051 §6.3.6)."""

from __future__ import annotations

from dataclasses import dataclass

from mailcore.imap.session import Replies, Session
from mailcore.imap.wire.cursor import Cursor
from mailcore.imap.wire.responses import Done, No, renamed_response
from mailcore.model.ids import MailboxName
from mailcore.model.mailbox import INBOX


@dataclass(frozen=True, slots=True)
class RenameArgs:
    """From which name to which."""

    old: MailboxName
    new: MailboxName


def parse_rename(cursor: Cursor) -> RenameArgs:
    """Read `SP mailbox SP mailbox`."""
    cursor.space()
    old = cursor.mailbox()
    cursor.space()
    new = cursor.new_mailbox()
    cursor.end()
    return RenameArgs(old, new)


def handle_rename(session: Session, args: RenameArgs) -> Replies:
    """Rename; INBOX is not renamed but emptied into the new mailbox. A mailbox stays with its owner.

    IMAP4rev2 is told both names (RFC 9051 §7.3.1).
    """
    old, new = session.place(args.old), session.place(args.new)
    if old.owner_id != new.owner_id:
        return No("A mailbox stays with its owner", b"CANNOT")
    session.services.mailboxes.rename(old.owner_id, session.actor, old.name, new.name)
    if session.dialect.rev2 and args.old != INBOX:
        yield renamed_response(args.new, args.old, utf8=session.utf8)
    return Done("RENAME completed")
