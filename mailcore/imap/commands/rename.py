"""RENAME, children too (RFC 9051 §6.3.6)."""

from __future__ import annotations

from dataclasses import dataclass

from mailcore.imap.session import Session
from mailcore.imap.wire.cursor import Cursor
from mailcore.imap.wire.responses import Completion, Done
from mailcore.model.ids import MailboxName


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


def handle_rename(session: Session, args: RenameArgs) -> Completion:
    """Rename; INBOX is not renamed but emptied into the new mailbox."""
    session.services.mailboxes.rename(session.user_id, session.actor, args.old, args.new)
    return Done("RENAME completed")
