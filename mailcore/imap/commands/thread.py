"""THREAD and UID THREAD (RFC 5256 §4)."""

from __future__ import annotations

from dataclasses import dataclass

from mailcore.imap.commands.search import bad_charset, found, read_charset, read_criterion
from mailcore.imap.progress import reported
from mailcore.imap.session import Replies, Session
from mailcore.imap.threads import thread_list
from mailcore.imap.wire.cursor import Cursor
from mailcore.imap.wire.responses import Done, Wire
from mailcore.imap.wire.sort_key import read_thread_algorithm
from mailcore.model.search import Criterion
from mailcore.model.sorting import ThreadAlgorithm


@dataclass(frozen=True, slots=True)
class ThreadArgs:
    """What to look for and how to find the threads; the criterion is None in an unknown charset."""

    algorithm: ThreadAlgorithm
    criterion: Criterion | None
    by_uid: bool


def parse_thread(cursor: Cursor) -> ThreadArgs:
    """Read `SP thread-alg SP charset 1*(SP search-key)`."""
    return _parse(cursor, by_uid=False)


def parse_uid_thread(cursor: Cursor) -> ThreadArgs:
    """Read the same after UID."""
    return _parse(cursor, by_uid=True)


def _parse(cursor: Cursor, *, by_uid: bool) -> ThreadArgs:
    cursor.space()
    algorithm = read_thread_algorithm(cursor)
    cursor.space()
    codec = read_charset(cursor)
    return ThreadArgs(algorithm, read_criterion(cursor, codec), by_uid)


def handle_thread(session: Session, args: ThreadArgs) -> Replies:
    """Answer with the threads of what matches; see `Sorting.thread` for the round trips."""
    mailbox = session.mailbox
    if args.criterion is None:
        return bad_charset(mailbox, saves=False)
    positions = yield from found(session, args.criterion, saves=False)
    rows = mailbox.rows(positions)
    steps = session.services.sorting.thread(session.owner_id, mailbox.view, rows, args.algorithm)
    forest = yield from reported(session, steps)
    numbers = mailbox.uid_array(positions) if args.by_uid else positions + 1
    shown = dict(zip(rows.tolist(), numbers.tolist(), strict=True))
    listed = thread_list(forest, shown, session.services.offload.pause)
    yield Wire(b"* THREAD" + listed + b"\r\n")
    return Done("THREAD completed")
