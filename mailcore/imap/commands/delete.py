"""DELETE (RFC 9051 §6.3.5)."""

from __future__ import annotations

from mailcore.imap.session import Replies, Session
from mailcore.imap.wire.cursor import Cursor
from mailcore.imap.wire.responses import Done, renamed_response
from mailcore.model.ids import MailboxName


def parse_delete(cursor: Cursor) -> tuple[MailboxName, str]:
    """Read `SP mailbox`; return it, and as the client wrote it."""
    cursor.space()
    name = cursor.mailbox()
    cursor.end()
    return name, cursor.written_name


def handle_delete(session: Session, args: tuple[MailboxName, str]) -> Replies:
    """Delete the mailbox with its messages; a session that has it open loses it.

    IMAP4rev2 is told which one it was, if its name is not as written (RFC 9051 §6.3.9.7).
    """
    name, written = args
    place = session.place(name)
    session.services.mailboxes.delete(place.owner_id, session.actor, place.name)
    if session.dialect.rev2 and written != name:
        yield renamed_response(name, written, utf8=session.utf8, attributes=("\\NonExistent",))
    return Done("DELETE completed")
