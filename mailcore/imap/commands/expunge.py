r"""EXPUNGE and UID EXPUNGE: remove messages that are \Deleted (RFC 9051 §6.4.3, §6.4.9)."""

from __future__ import annotations

from mailcore.imap.session import Session
from mailcore.imap.wire.cursor import Cursor
from mailcore.imap.wire.modseq import shown
from mailcore.imap.wire.responses import Completion, Done
from mailcore.model.uid_set import SequenceSet, UidSet


def parse_uid_expunge(cursor: Cursor) -> SequenceSet:
    """Read `SP sequence-set`."""
    cursor.space()
    uids = cursor.sequence_set()
    cursor.end()
    return uids


def handle_expunge(session: Session, _args: None) -> Completion:
    """Remove all that are deleted; one service call, the EXPUNGE responses follow from the new view."""
    return _expunge(session, None)


def handle_uid_expunge(session: Session, args: SequenceSet) -> Completion:
    """Remove those of the given UIDs that are deleted."""
    mailbox = session.mailbox
    return _expunge(session, mailbox.uids_at(mailbox.by_uid(args)))


def _expunge(session: Session, uids: UidSet | None) -> Completion:
    mailbox = session.writable_mailbox
    if uids is None or uids:
        result = session.services.messages.expunge(session.owner_id, session.actor, mailbox.mailbox_id, uids)
        mailbox.adopt(result.view)
        if result.expunged and session.dialect.condstore:
            return Done("EXPUNGE completed", b"HIGHESTMODSEQ %d" % shown(result.view.highest_modseq))
    return Done("EXPUNGE completed")
