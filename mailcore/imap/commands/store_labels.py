"""STORE and UID STORE of X-GM-LABELS, as Gmail has it: labels are other mailboxes of a message (decision 31)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mailcore.imap.commands.copy import GONE
from mailcore.imap.fetch_items import COLUMN_ITEMS, format_items
from mailcore.imap.labels import label_item, label_set
from mailcore.imap.selected import Positions
from mailcore.imap.session import Replies, Session
from mailcore.imap.wire.responses import Completion, Done, Wire
from mailcore.model.flags import FlagOperation
from mailcore.model.ids import ModSeq
from mailcore.model.labels import Label
from mailcore.model.uid_set import SequenceSet, UidSet

OPERATIONS = {
    "X-GM-LABELS": FlagOperation.REPLACE,
    "+X-GM-LABELS": FlagOperation.ADD,
    "-X-GM-LABELS": FlagOperation.REMOVE,
}


@dataclass(frozen=True, slots=True)
class StoreLabelsArgs:
    """Which labels of which messages change how."""

    messages: SequenceSet
    operation: FlagOperation
    silent: bool
    labels: tuple[Label, ...]
    by_uid: bool
    unchanged_since: ModSeq | None = None


def store_labels(session: Session, args: StoreLabelsArgs, positions: Positions) -> Replies:
    """Change labels of the messages at `positions` by one service call; tell the result unless silent.

    Messages that leave the mailbox are told as expunged, with UID at once, else by a later command.
    """
    mailbox = session.mailbox
    result = session.services.label_changes.change(
        session.owner_id,
        session.actor,
        mailbox.mailbox_id,
        mailbox.uids_at(positions),
        args.operation,
        label_set(session, args.labels),
        args.unchanged_since,
    )
    mailbox.adopt(result.view)
    refused = mailbox.by_uids(result.modified)
    if not args.silent:
        yield from _tell(session, np.setdiff1d(positions, refused, assume_unique=True), by_uid=args.by_uid)
    return _outcome(session, args, refused, len(positions) > len(mailbox.by_uids(result.found)))


def _tell(session: Session, positions: Positions, *, by_uid: bool) -> Replies:
    mailbox = session.mailbox
    rows = mailbox.rows(positions)
    positions, rows = positions[rows >= 0], rows[rows >= 0]
    if len(rows):
        names = ["UID"] * by_uid + ["MODSEQ"] * session.dialect.condstore
        items = [*(COLUMN_ITEMS[name] for name in names), label_item(session, rows)]
        yield Wire(format_items(mailbox.view, items, positions, rows))
    return Done("")


def _outcome(session: Session, args: StoreLabelsArgs, refused: Positions, some_gone: bool) -> Completion:
    if len(refused):
        numbers = session.mailbox.uid_array(refused) if args.by_uid else refused + 1
        return Done("Conditional STORE failed", b"MODIFIED " + UidSet.of_ascending(numbers).to_wire())
    return GONE if some_gone and not args.by_uid else Done("STORE completed")
