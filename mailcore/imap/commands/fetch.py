"""FETCH and UID FETCH (RFC 9051 §6.4.5; RFC 7162 CHANGEDSINCE and VANISHED)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from mailcore.errors import MessageNotFound, NotPermitted
from mailcore.imap.commands.copy import GONE
from mailcore.imap.fetching import FetchPlan, fetch
from mailcore.imap.labels import label_item
from mailcore.imap.resynchronisation import vanished_since
from mailcore.imap.selected import Positions, SelectedMailbox
from mailcore.imap.session import Replies, Session
from mailcore.imap.traffic import check_download
from mailcore.imap.wire.cursor import Cursor
from mailcore.imap.wire.fetch_att import FetchAtt, SimpleAtt, read_fetch_atts
from mailcore.imap.wire.fetch_modifiers import FetchModifiers, read_fetch_modifiers
from mailcore.imap.wire.responses import Bad, Done, Wire
from mailcore.imap.wire.scanner import Command, Head
from mailcore.model import flags
from mailcore.model.flags import FlagOperation, FlagSet
from mailcore.model.uid_set import SequenceSet, UidSet

REMEMBERED_BYTES = 256
"""Items that take longer to write are read each time."""
_UID = SimpleAtt("UID")
_MODSEQ = SimpleAtt("MODSEQ")


@dataclass(frozen=True, slots=True)
class FetchArgs:
    """Which items of which messages."""

    messages: SequenceSet
    atts: tuple[FetchAtt, ...]
    by_uid: bool
    modifiers: FetchModifiers


def parse_fetch(cursor: Cursor) -> FetchArgs:
    """Read `SP sequence-set SP (macro / fetch-att / "(" fetch-att *(SP fetch-att) ")") [fetch-modifiers]`."""
    return _parse(cursor, by_uid=False)


def parse_uid_fetch(cursor: Cursor) -> FetchArgs:
    """Read the same after UID; the answer always has the UID."""
    return _parse(cursor, by_uid=True)


def _parse(cursor: Cursor, *, by_uid: bool) -> FetchArgs:
    cursor.space()
    messages = cursor.sequence_set()
    cursor.space()
    text = cursor.rest()
    if len(text) > REMEMBERED_BYTES or cursor.holds_literals:
        atts, modifiers = _read_items(cursor, by_uid)
    else:
        atts, modifiers = _known_items(text, by_uid, cursor.utf8)
    return FetchArgs(messages, atts, by_uid, modifiers)


@lru_cache(maxsize=128)
def _known_items(text: bytes, by_uid: bool, utf8: bool) -> tuple[tuple[FetchAtt, ...], FetchModifiers]:
    """Read what clients write again and again the first time only."""
    return _read_items(Cursor(Command(Head("", "", 0), text, ()), utf8=utf8), by_uid)


def _read_items(cursor: Cursor, by_uid: bool) -> tuple[tuple[FetchAtt, ...], FetchModifiers]:
    """Read what is asked of each message, and the modifiers."""
    atts = read_fetch_atts(cursor)
    modifiers = read_fetch_modifiers(cursor, by_uid=by_uid)
    cursor.end()
    if by_uid and _UID not in atts:
        atts = (_UID, *atts)
    if modifiers.changed_since is not None and _MODSEQ not in atts:
        atts = (*atts, _MODSEQ)
    return atts, modifiers


def handle_fetch(session: Session, args: FetchArgs) -> Replies:
    r"""Answer in the order of the mailbox; then one STORE for those that become \Seen.

    Raises:
        RateExceeded: parts of messages are asked for, and the user has fetched as much as a day allows.
    """
    mailbox = session.mailbox
    plan = FetchPlan.of(args.atts)
    if plan.bodies:
        check_download(session)
    modifiers = args.modifiers
    if modifiers.vanished and not session.dialect.qresync:
        return Bad("ENABLE QRESYNC first")
    if _MODSEQ in args.atts:
        yield from session.use_condstore()
    positions = mailbox.by_uid(args.messages) if args.by_uid else mailbox.by_number(args.messages)
    if modifiers.vanished and modifiers.changed_since is not None:
        gone = vanished_since(session, mailbox, modifiers.changed_since) & _written(mailbox, args.messages)
        if gone:
            yield Wire(b"* VANISHED (EARLIER) " + gone.to_wire() + b"\r\n")
    rows = mailbox.rows(positions)
    present = rows >= 0
    some_gone = not present.all()
    if some_gone:
        positions, rows = positions[present], rows[present]
    if modifiers.changed_since is not None:
        changed = mailbox.view.modseqs[rows].astype(np.int64) > modifiers.changed_since
        positions, rows = positions[changed], rows[changed]
    if modifiers.partial is not None:
        page = modifiers.partial.slice(len(rows))
        positions, rows = positions[page], rows[page]
    if "FLAGS" in plan.columns:
        mailbox.flags_told(positions)
    if plan.wants_labels:
        plan = replace(plan, labels=label_item(session, rows))
    try:
        yield from fetch(session, plan, positions, rows)
    except MessageNotFound:
        some_gone = True
    if plan.sets_seen and not mailbox.read_only:
        _set_seen(session, positions[(mailbox.view.flags[rows] & np.uint64(flags.SEEN)) == 0])
    return GONE if some_gone and not args.by_uid else Done("FETCH completed")


def _written(mailbox: SelectedMailbox, uids: SequenceSet) -> UidSet:
    """Return the UIDs a client named, whether there are such messages or not; `*` is the last one given."""
    return mailbox.saved if uids.saved else uids.resolve(max(mailbox.view.uid_next - 1, 1))


def _set_seen(session: Session, positions: Positions) -> None:
    r"""Set \Seen; the new flags are told by the FETCH responses that follow every command."""
    if not len(positions):
        return
    mailbox = session.mailbox
    try:
        result = session.services.messages.store(
            session.owner_id,
            session.actor,
            mailbox.mailbox_id,
            mailbox.uids_at(positions),
            FlagOperation.ADD,
            FlagSet(flags.SEEN),
        )
    except NotPermitted:
        return  # another's mailbox, to be read only (RFC 4314 §4)
    mailbox.adopt(result.view)
