"""SUBSCRIBE and UNSUBSCRIBE (RFC 9051 §6.3.7, §6.3.8)."""

from __future__ import annotations

from mailcore.imap.session import Session
from mailcore.imap.wire.responses import Completion, Done
from mailcore.model.ids import MailboxName


def handle_subscribe(session: Session, args: MailboxName) -> Completion:
    """Add to the subscriptions; the mailbox need not exist."""
    session.services.mailboxes.subscribe(session.user_id, session.actor, args)
    return Done("SUBSCRIBE completed")


def handle_unsubscribe(session: Session, args: MailboxName) -> Completion:
    """Remove from the subscriptions."""
    session.services.mailboxes.unsubscribe(session.user_id, session.actor, args)
    return Done("UNSUBSCRIBE completed")
