"""CLOSE and UNSELECT: leave the selected mailbox (RFC 9051 §6.4.1, §6.4.2)."""

from __future__ import annotations

from mailcore.errors import MailboxChanged, NotPermitted
from mailcore.imap.session import Session
from mailcore.imap.wire.responses import Completion, Done


def handle_close(session: Session, _args: None) -> Completion:
    r"""Leave, and remove what is \Deleted without a word unless opened read-only."""
    mailbox = session.mailbox
    if not mailbox.read_only:
        try:
            session.services.messages.expunge(session.owner_id, session.actor, mailbox.mailbox_id, None)
        except MailboxChanged:
            pass  # the mailbox is gone, and all in it
        except NotPermitted:
            pass  # another's mailbox; CLOSE succeeds all the same (RFC 4314 §4)
    session.unselect()
    return Done("CLOSE completed")


def handle_unselect(session: Session, _args: None) -> Completion:
    """Leave and change nothing."""
    session.unselect()
    return Done("UNSELECT completed")
