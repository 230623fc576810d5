"""SEARCH and UID SEARCH (RFC 3501 §6.4.4)."""

from __future__ import annotations

from dataclasses import dataclass

from mailcore.errors import SyntaxFault
from mailcore.imap.selected import SelectedMailbox
from mailcore.imap.session import Replies, Session
from mailcore.imap.wire.cursor import Cursor
from mailcore.imap.wire.responses import Done, No, NumbersResponse
from mailcore.imap.wire.search_key import KeyReader
from mailcore.model import search as model
from mailcore.model.search import Criterion

CHARSETS = {"UTF-8": "utf-8", "US-ASCII": "ascii"}


@dataclass(frozen=True, slots=True)
class SearchArgs:
    """What to look for; None: in a charset that is not supported."""

    criterion: Criterion | None
    by_uid: bool


def parse_search(cursor: Cursor) -> SearchArgs:
    """Read `[SP "CHARSET" SP astring] 1*(SP search-key)`; without a charset strings are read as UTF-8."""
    return SearchArgs(_criterion(cursor), by_uid=False)


def parse_uid_search(cursor: Cursor) -> SearchArgs:
    """Read the same after UID."""
    return SearchArgs(_criterion(cursor), by_uid=True)


def _criterion(cursor: Cursor) -> Criterion | None:
    cursor.space()
    codec = "utf-8"
    if cursor.accept_word(b"CHARSET"):
        if cursor.utf8:
            raise SyntaxFault("CHARSET is not allowed once UTF8=ACCEPT is enabled")  # RFC 6855 §3
        cursor.space()
        name = cursor.astring().decode("ascii", "replace").upper()
        if name not in CHARSETS:
            return None
        codec = CHARSETS[name]
        cursor.space()
    criterion = KeyReader(cursor, codec).keys()
    cursor.end()
    return criterion


def handle_search(session: Session, args: SearchArgs) -> Replies:
    """Answer with the numbers of what matches, among the messages the client counts."""
    if args.criterion is None:
        return No("This charset is not supported", b"BADCHARSET (UTF-8 US-ASCII)")
    mailbox = session.mailbox
    criterion = model.replace_leaves(args.criterion, lambda leaf: _with_uids(mailbox, leaf))
    rows = session.services.search.search(session.owner_id, mailbox.view, criterion)
    positions = mailbox.positions_of_rows(rows)
    numbers = mailbox.uid_array(positions) if args.by_uid else positions + 1
    yield NumbersResponse(b"SEARCH", numbers.tolist())
    return Done("SEARCH completed")


def _with_uids(mailbox: SelectedMailbox, leaf: Criterion) -> Criterion:
    """Turn numbers of this session into UIDs; numbers that name nothing match nothing."""
    match leaf:
        case model.Numbered(numbers):
            return model.Uids(mailbox.uids_at(mailbox.by_number(numbers, clip=True)))
        case model.Identified(uids):
            return model.Uids(mailbox.uids_at(mailbox.by_uid(uids)))
        case _:
            return leaf
