"""STORE and UID STORE: change flags (RFC 9051 §6.4.6; RFC 7162 §3.1.3 UNCHANGEDSINCE)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from mailcore.errors import SyntaxFault
from mailcore.imap.commands.copy import GONE
from mailcore.imap.commands.store_labels import OPERATIONS, StoreLabelsArgs, store_labels
from mailcore.imap.fetch_items import format_columns
from mailcore.imap.selected import Positions, SelectedMailbox
from mailcore.imap.session import Replies, Session
from mailcore.imap.wire.cursor import Cursor
from mailcore.imap.wire.labels import read_labels
from mailcore.imap.wire.modseq import read_modseq
from mailcore.imap.wire.responses import Completion, Done, No, Wire
from mailcore.model.flags import FlagOperation, FlagSet
from mailcore.model.ids import ModSeq
from mailcore.model.uid_set import SequenceSet, UidSet

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
    unchanged_since: ModSeq | None = None


def parse_store(cursor: Cursor) -> StoreArgs | StoreLabelsArgs:
    """Read `SP sequence-set [store-modifiers] SP ["+" / "-"] "FLAGS" [".SILENT"] SP flags`, or labels."""
    return _parse(cursor, by_uid=False)


def parse_uid_store(cursor: Cursor) -> StoreArgs | StoreLabelsArgs:
    """Read the same after UID."""
    return _parse(cursor, by_uid=True)


def _parse(cursor: Cursor, *, by_uid: bool) -> StoreArgs | StoreLabelsArgs:
    cursor.space()
    messages = cursor.sequence_set()
    cursor.space()
    unchanged_since = None
    if cursor.peek() == b"(":
        unchanged_since = _unchanged_since(cursor)
        cursor.space()
    item = cursor.word()
    name = item.removesuffix(".SILENT")
    of_labels = OPERATIONS.get(name)
    if of_labels is not None:
        cursor.space()
        labels = read_labels(cursor)
        cursor.end()
        return StoreLabelsArgs(messages, of_labels, item != name, labels, by_uid, unchanged_since)
    try:
        operation = FlagOperation(name)
    except ValueError:
        raise SyntaxFault("FLAGS expected") from None
    cursor.space()
    flags = cursor.flag_set()
    cursor.end()
    return StoreArgs(messages, operation, item != name, flags, by_uid, unchanged_since)


def _unchanged_since(cursor: Cursor) -> ModSeq:
    """Read `"(" "UNCHANGEDSINCE" SP mod-sequence-valzer ")"`."""
    cursor.expect(b"(")
    if not cursor.accept_word(b"UNCHANGEDSINCE"):
        raise SyntaxFault("unknown STORE modifier")
    cursor.space()
    modseq = read_modseq(cursor)
    cursor.expect(b")")
    return modseq


def handle_store(session: Session, args: StoreArgs | StoreLabelsArgs) -> Replies:
    """Change flags, or labels, of any number of messages by one service call; tell the result unless silent."""
    mailbox = session.writable_mailbox
    if args.unchanged_since is not None:
        yield from session.use_condstore()
    positions = mailbox.by_uid(args.messages) if args.by_uid else mailbox.by_number(args.messages)
    if not len(positions):
        return Done("STORE completed, nothing to do")
    if isinstance(args, StoreLabelsArgs):
        return (yield from store_labels(session, args, positions))
    return (yield from _store_flags(session, args, positions))


def _store_flags(session: Session, args: StoreArgs, positions: Positions) -> Replies:
    mailbox = session.mailbox
    result = session.services.messages.store(
        session.owner_id,
        session.actor,
        mailbox.mailbox_id,
        mailbox.uids_at(positions),
        args.operation,
        args.flags,
        args.unchanged_since,
    )
    mailbox.adopt(result.view)
    refused = mailbox.by_uids(result.modified)
    gone = positions[mailbox.rows(positions) < 0]
    if len(refused) or len(gone):
        positions = np.setdiff1d(positions, np.concatenate((refused, gone)), assume_unique=True)
    if args.silent:
        mailbox.expect_flags(positions, args.operation, args.flags)
        if session.dialect.condstore:
            yield from _tell(mailbox, mailbox.by_uids(result.changed), ("UID", "MODSEQ"))
    else:
        mailbox.flags_told(positions)
        names = ["UID"] * args.by_uid + ["FLAGS"] + ["MODSEQ"] * session.dialect.condstore
        yield from _tell(mailbox, positions, names)
    return _outcome(mailbox, args, refused, gone)


def _tell(mailbox: SelectedMailbox, positions: Positions, names: Sequence[str]) -> Iterator[Wire]:
    """Yield the new state of messages; of those that somebody removed meanwhile there is none."""
    rows = mailbox.rows(positions)
    here = rows >= 0
    positions, rows = positions[here], rows[here]
    for start in range(0, len(positions), BATCH):
        batch = slice(start, start + BATCH)
        yield Wire(format_columns(mailbox.view, names, positions[batch], rows[batch]))


def _outcome(mailbox: SelectedMailbox, args: StoreArgs, refused: Positions, gone: Positions) -> Completion:
    """Say which messages were left as they are: somebody else had changed or removed them (RFC 7162 §3.1.3)."""
    if args.unchanged_since is not None and len(gone) and not args.by_uid:
        failed = UidSet.of_ascending(np.union1d(refused, gone) + 1)
        return No("Some of the messages are gone", b"MODIFIED " + failed.to_wire())
    if len(refused):
        numbers = mailbox.uid_array(refused) if args.by_uid else refused + 1
        return Done("Conditional STORE failed", b"MODIFIED " + UidSet.of_ascending(numbers).to_wire())
    return GONE if len(gone) and not args.by_uid else Done("STORE completed")
