"""DELETE (RFC 9051 §6.3.5)."""

from __future__ import annotations

from mailcore.imap.session import Session
from mailcore.imap.wire.responses import Completion, Done
from mailcore.model.ids import MailboxName


def handle_delete(session: Session, args: MailboxName) -> Completion:
    """Delete the mailbox with its messages; a session that has it open loses it."""
    place = session.place(args)
    session.services.mailboxes.delete(place.owner_id, session.actor, place.name)
    return Done("DELETE completed")
