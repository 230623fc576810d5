"""COPY, MOVE and their UID forms (RFC 9051 §6.4.7, §6.4.8; RFC 4315 COPYUID)."""

from __future__ import annotations

from dataclasses import dataclass

from mailcore.errors import MailboxNotFound
from mailcore.imap.session import Replies, Session
from mailcore.imap.wire.cursor import Cursor
from mailcore.imap.wire.modseq import shown
from mailcore.imap.wire.responses import Completion, Condition, Done, No
from mailcore.model.ids import MailboxName
from mailcore.model.uid_set import SequenceSet, UidSet

GONE = No("Some of the messages are gone", b"EXPUNGEISSUED")
NO_TARGET = No("No such mailbox, create it first", b"TRYCREATE")


@dataclass(frozen=True, slots=True)
class CopyArgs:
    """Which messages, and where to."""

    messages: SequenceSet
    target: MailboxName
    by_uid: bool


def parse_copy(cursor: Cursor) -> CopyArgs:
    """Read `SP sequence-set SP mailbox`."""
    return _parse(cursor, by_uid=False)


def parse_uid_copy(cursor: Cursor) -> CopyArgs:
    """Read the same after UID."""
    return _parse(cursor, by_uid=True)


def _parse(cursor: Cursor, *, by_uid: bool) -> CopyArgs:
    cursor.space()
    messages = cursor.sequence_set()
    cursor.space()
    target = cursor.mailbox()
    cursor.end()
    return CopyArgs(messages, target, by_uid)


def handle_copy(session: Session, args: CopyArgs) -> Completion:
    """Copy all or none; one service call."""
    uids = _uids(session, args)
    if not uids:
        return Done("COPY completed, nothing to do")
    try:
        place = session.place(args.target)
        result = session.services.messages.copy(
            session.owner_id, session.actor, session.mailbox.mailbox_id, uids, place.name, place.owner_id
        )
    except MailboxNotFound:
        return NO_TARGET
    if not result.source:
        return _nothing(args, "COPY")
    return Done("COPY completed", _copyuid(result.uid_validity, result.source, result.target))


def handle_move(session: Session, args: CopyArgs) -> Replies:
    """Move; COPYUID comes before the EXPUNGE responses (RFC 6851 §4.3), which follow from the new view.

    Where the source was deleted meanwhile there is none; that it is gone is told as ever.
    """
    mailbox = session.writable_mailbox
    uids = _uids(session, args)
    if not uids:
        return Done("MOVE completed, nothing to do")
    try:
        place = session.place(args.target)
        result = session.services.messages.move(
            session.owner_id, session.actor, mailbox.mailbox_id, uids, place.name, place.owner_id
        )
    except MailboxNotFound:
        return NO_TARGET
    mailbox.adopt(result.view)
    if not result.source:
        return _nothing(args, "MOVE")
    yield Condition("OK", "Moved", _copyuid(result.uid_validity, result.source, result.target))
    if session.dialect.condstore and result.view is not None:  # RFC 6851 §4.4
        return Done("MOVE completed", b"HIGHESTMODSEQ %d" % shown(result.view.highest_modseq))
    return Done("MOVE completed")


def _uids(session: Session, args: CopyArgs) -> UidSet:
    mailbox = session.mailbox
    positions = mailbox.by_uid(args.messages) if args.by_uid else mailbox.by_number(args.messages)
    return mailbox.uids_at(positions)


def _nothing(args: CopyArgs, verb: str) -> Completion:
    return Done(f"{verb} completed, nothing to do") if args.by_uid else GONE


def _copyuid(uid_validity: int, source: UidSet, target: UidSet) -> bytes:
    return b"COPYUID %d %b %b" % (uid_validity, source.to_wire(), target.to_wire())
