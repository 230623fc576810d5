"""STORE and UID STORE: change flags (RFC 9051 §6.4.6)."""

from __future__ import annotations

from dataclasses import dataclass

from mailcore.errors import SyntaxFault
from mailcore.imap.commands.copy import GONE
from mailcore.imap.fetch_items import format_flags
from mailcore.imap.session import Replies, Session
from mailcore.imap.wire.cursor import Cursor
from mailcore.imap.wire.responses import Done, Wire
from mailcore.model.flags import FlagOperation, FlagSet
from mailcore.model.uid_set import SequenceSet

BATCH = 4096
"""Messages whose flags are told in one piece."""


@dataclass(frozen=True, slots=True)
class StoreArgs:
    """Which flags of which messages change how."""

    messages: SequenceSet
    operation: FlagOperation
    silent: bool
    flags: FlagSet
    by_uid: bool


def parse_store(cursor: Cursor) -> StoreArgs:
    """Read `SP sequence-set SP ["+" / "-"] "FLAGS" [".SILENT"] SP flags`."""
    return _parse(cursor, by_uid=False)


def parse_uid_store(cursor: Cursor) -> StoreArgs:
    """Read the same after UID."""
    return _parse(cursor, by_uid=True)


def _parse(cursor: Cursor, *, by_uid: bool) -> StoreArgs:
    cursor.space()
    messages = cursor.sequence_set()
    cursor.space()
    item = cursor.word()
    name = item.removesuffix(".SILENT")
    try:
        operation = FlagOperation(name)
    except ValueError:
        raise SyntaxFault("FLAGS expected") from None
    cursor.space()
    flags = cursor.flag_set()
    cursor.end()
    return StoreArgs(messages, operation, item != name, flags, by_uid)


def handle_store(session: Session, args: StoreArgs) -> Replies:
    """Change the flags of any number of messages by one service call; tell the result unless silent."""
    mailbox = session.writable_mailbox
    positions = mailbox.by_uid(args.messages) if args.by_uid else mailbox.by_number(args.messages)
    if not len(positions):
        return Done("STORE completed, nothing to do")
    result = session.services.messages.store(
        session.owner_id, session.actor, mailbox.mailbox_id, mailbox.uids_at(positions), args.operation, args.flags
    )
    mailbox.adopt(result.view)
    rows = mailbox.rows(positions)
    present = rows >= 0
    some_gone = not present.all()
    if some_gone:
        positions, rows = positions[present], rows[present]
    if args.silent:
        mailbox.expect_flags(positions, args.operation, args.flags)
    else:
        mailbox.flags_told(positions)
        for start in range(0, len(positions), BATCH):
            batch = slice(start, start + BATCH)
            yield Wire(format_flags(mailbox.view, positions[batch], rows[batch], with_uid=args.by_uid))
    return GONE if some_gone and not args.by_uid else Done("STORE completed")
