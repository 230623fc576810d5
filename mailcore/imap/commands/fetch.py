"""FETCH and UID FETCH (RFC 9051 §6.4.5)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mailcore.errors import MessageNotFound
from mailcore.imap.commands.copy import GONE
from mailcore.imap.fetching import FetchPlan, fetch
from mailcore.imap.selected import Positions
from mailcore.imap.session import Replies, Session
from mailcore.imap.wire.cursor import Cursor
from mailcore.imap.wire.fetch_att import FetchAtt, SimpleAtt, read_fetch_atts
from mailcore.imap.wire.responses import Done
from mailcore.model import flags
from mailcore.model.flags import FlagOperation, FlagSet
from mailcore.model.uid_set import SequenceSet

_UID = SimpleAtt("UID")


@dataclass(frozen=True, slots=True)
class FetchArgs:
    """Which items of which messages."""

    messages: SequenceSet
    atts: tuple[FetchAtt, ...]
    by_uid: bool


def parse_fetch(cursor: Cursor) -> FetchArgs:
    """Read `SP sequence-set SP (macro / fetch-att / "(" fetch-att *(SP fetch-att) ")")`."""
    return _parse(cursor, by_uid=False)


def parse_uid_fetch(cursor: Cursor) -> FetchArgs:
    """Read the same after UID; the answer always has the UID."""
    return _parse(cursor, by_uid=True)


def _parse(cursor: Cursor, *, by_uid: bool) -> FetchArgs:
    cursor.space()
    messages = cursor.sequence_set()
    cursor.space()
    atts = read_fetch_atts(cursor)
    cursor.end()
    if by_uid and _UID not in atts:
        atts = (_UID, *atts)
    return FetchArgs(messages, atts, by_uid)


def handle_fetch(session: Session, args: FetchArgs) -> Replies:
    r"""Answer in the order of the mailbox; then one STORE for those that become \Seen."""
    mailbox = session.mailbox
    positions = mailbox.by_uid(args.messages) if args.by_uid else mailbox.by_number(args.messages)
    rows = mailbox.rows(positions)
    present = rows >= 0
    some_gone = not present.all()
    if some_gone:
        positions, rows = positions[present], rows[present]
    plan = FetchPlan.of(args.atts)
    if "FLAGS" in plan.columns:
        mailbox.flags_told(positions)
    try:
        yield from fetch(session, plan, positions, rows)
    except MessageNotFound:
        some_gone = True
    if plan.sets_seen and not mailbox.read_only:
        _set_seen(session, positions[(mailbox.view.flags[rows] & np.uint64(flags.SEEN)) == 0])
    return GONE if some_gone and not args.by_uid else Done("FETCH completed")


def _set_seen(session: Session, positions: Positions) -> None:
    r"""Set \Seen; the new flags are told by the FETCH responses that follow every command."""
    if not len(positions):
        return
    mailbox = session.mailbox
    result = session.services.messages.store(
        session.owner_id,
        session.actor,
        mailbox.mailbox_id,
        mailbox.uids_at(positions),
        FlagOperation.ADD,
        FlagSet(flags.SEEN),
    )
    mailbox.adopt(result.view)
