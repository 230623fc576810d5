"""SORT and UID SORT (RFC 5256 §3; RFC 5957 DISPLAY; RFC 5267 §3 RETURN)."""

from __future__ import annotations

from dataclasses import dataclass

from mailcore.imap.commands.search import bad_charset, found, read_charset, read_criterion
from mailcore.imap.progress import reported
from mailcore.imap.search_results import answer
from mailcore.imap.session import Replies, Session
from mailcore.imap.wire.cursor import Cursor
from mailcore.imap.wire.responses import Done
from mailcore.imap.wire.search_return import ReturnOptions, read_return_options
from mailcore.imap.wire.sort_key import read_sort_order
from mailcore.model import search as model
from mailcore.model.search import Criterion
from mailcore.model.sorting import SortOrder


@dataclass(frozen=True, slots=True)
class SortArgs:
    """What to look for and in which order to answer; the criterion is None in an unknown charset."""

    order: tuple[SortOrder, ...]
    criterion: Criterion | None
    by_uid: bool
    options: ReturnOptions | None


def parse_sort(cursor: Cursor) -> SortArgs:
    """Read `[SP search-return-opts] SP sort-criteria SP charset 1*(SP search-key)`."""
    return _parse(cursor, by_uid=False)


def parse_uid_sort(cursor: Cursor) -> SortArgs:
    """Read the same after UID."""
    return _parse(cursor, by_uid=True)


def _parse(cursor: Cursor, *, by_uid: bool) -> SortArgs:
    cursor.space()
    options = read_return_options(cursor)
    order = read_sort_order(cursor)
    cursor.space()
    codec = read_charset(cursor)
    return SortArgs(order, read_criterion(cursor, codec), by_uid, options)


def handle_sort(session: Session, args: SortArgs) -> Replies:
    """Answer with what matches in the order asked for; see `Sorting.sort` for the round trips."""
    mailbox = session.mailbox
    saves = args.options is not None and args.options.saves
    if args.criterion is None:
        return bad_charset(mailbox, saves=saves)
    with_modseq = model.any_leaf(args.criterion, lambda leaf: isinstance(leaf, model.ChangedFrom))
    if with_modseq:
        yield from session.use_condstore()
    positions = yield from found(session, args.criterion, saves=saves)
    steps = session.services.sorting.sort(session.owner_id, mailbox.view, mailbox.rows(positions), args.order)
    rows = yield from reported(session, steps)
    ordered = mailbox.positions_of_rows(rows)
    yield from answer(session, b"SORT", ordered, args.options, by_uid=args.by_uid, with_modseq=with_modseq)
    return Done("SORT completed")
