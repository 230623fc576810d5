"""SEARCH and UID SEARCH (RFC 3501 §6.4.4; RFC 4731 RETURN, RFC 5182 SAVE and `$`, RFC 7162 MODSEQ)."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

from mailcore.errors import MailError
from mailcore.imap.labels import label_criterion
from mailcore.imap.progress import reported
from mailcore.imap.search_results import answer
from mailcore.imap.selected import Positions, SelectedMailbox
from mailcore.imap.session import Replies, Session
from mailcore.imap.wire.cursor import Cursor
from mailcore.imap.wire.responses import Bad, Completion, Done, No, Progress
from mailcore.imap.wire.search_key import KeyReader
from mailcore.imap.wire.search_return import ReturnOptions, read_return_options
from mailcore.model import search as model
from mailcore.model.search import Criterion
from mailcore.model.uid_set import UidSet

CHARSETS = {"UTF-8": "utf-8", "US-ASCII": "ascii"}


@dataclass(frozen=True, slots=True)
class SearchArgs:
    """What to look for; None: in a charset that is not supported.

    Attributes:
        criterion: which messages.
        by_uid: whether UIDs are answered.
        options: what is answered; None: as RFC 3501 does.
        names_charset: the client said which charset.
    """

    criterion: Criterion | None
    by_uid: bool
    options: ReturnOptions | None = None
    names_charset: bool = False


def parse_search(cursor: Cursor) -> SearchArgs:
    """Read `[SP search-return-opts] [SP "CHARSET" SP astring] 1*(SP search-key)`; strings are UTF-8 by default."""
    return _parse(cursor, by_uid=False)


def parse_uid_search(cursor: Cursor) -> SearchArgs:
    """Read the same after UID."""
    return _parse(cursor, by_uid=True)


def _parse(cursor: Cursor, *, by_uid: bool) -> SearchArgs:
    cursor.space()
    options = read_return_options(cursor)
    codec: str | None = "utf-8"
    if cursor.accept_word(b"CHARSET"):
        cursor.space()
        codec = read_charset(cursor)
        return SearchArgs(read_criterion(cursor, codec), by_uid, options, names_charset=True)
    return SearchArgs(read_criterion(cursor, codec), by_uid, options)


def read_charset(cursor: Cursor) -> str | None:
    """Read `astring SP`; return the codec, None if there is none for it."""
    name = cursor.astring().decode("ascii", "replace").upper()
    cursor.space()
    return CHARSETS.get(name)


def read_criterion(cursor: Cursor, codec: str | None) -> Criterion | None:
    """Read `search-key *(SP search-key)` to the end; None if the charset of its strings is not known.

    UTF-8 may be quoted before it is enabled (RFC 9051 §9; imaplib and what is built on it send it so).
    """
    if codec is None:
        return None
    cursor.utf8 = True
    criterion = KeyReader(cursor, codec).keys()
    cursor.end()
    return criterion


def handle_search(session: Session, args: SearchArgs) -> Replies:
    """Answer with what matches, among the messages the client counts."""
    if args.names_charset and "UTF8=ACCEPT" in session.enabled:
        return Bad("CHARSET is not allowed once UTF8=ACCEPT is enabled")  # RFC 6855 §3
    mailbox = session.mailbox
    saves = args.options is not None and args.options.saves
    if args.criterion is None:
        return bad_charset(mailbox, saves=saves)
    with_modseq = model.any_leaf(args.criterion, lambda leaf: isinstance(leaf, model.ChangedFrom))
    if with_modseq:
        yield from session.use_condstore()
    options = args.options
    if options is None and session.dialect.rev2:
        options = ReturnOptions()
    positions = yield from found(session, args.criterion, saves=saves)
    yield from answer(session, b"SEARCH", positions, options, by_uid=args.by_uid, with_modseq=with_modseq)
    return Done("SEARCH completed")


def found(session: Session, criterion: Criterion, *, saves: bool) -> Generator[Progress, None, Positions]:
    """Find what matches; `saves`: nothing stays saved if that fails (RFC 5182 §2.1)."""
    mailbox = session.mailbox
    asked = model.replace_leaves(criterion, lambda leaf: _with_uids(session, leaf))
    try:
        rows = yield from reported(session, session.services.search.steps(session.owner_id, mailbox.view, asked))
    except MailError:
        if saves:
            mailbox.saved = UidSet()
        raise
    return mailbox.positions_of_rows(rows)


def bad_charset(mailbox: SelectedMailbox, *, saves: bool) -> Completion:
    """Refuse a charset."""
    if saves:
        mailbox.saved = UidSet()
    return No("This charset is not supported", b"BADCHARSET (UTF-8 US-ASCII)")


def _with_uids(session: Session, leaf: Criterion) -> Criterion:
    """Turn numbers and labels of this session into UIDs; numbers that name nothing match nothing."""
    mailbox = session.mailbox
    match leaf:
        case model.Numbered(numbers):
            return model.Uids(mailbox.uids_at(mailbox.by_number(numbers, clip=True)))
        case model.Identified(uids):
            return model.Uids(mailbox.uids_at(mailbox.by_uid(uids)))
        case model.Labelled(label):
            return label_criterion(session, label)
        case _:
            return leaf
