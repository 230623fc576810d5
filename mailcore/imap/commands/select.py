"""SELECT and EXAMINE: open a mailbox (RFC 9051 §6.3.2, §6.3.3; RFC 7162 CONDSTORE and QRESYNC)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from mailcore.errors import SyntaxFault
from mailcore.imap.dialect import Dialect
from mailcore.imap.fetch_items import format_flags
from mailcore.imap.fetching import COLUMN_BATCH
from mailcore.imap.resynchronisation import QresyncArgs, changed_rows, read_qresync, vanished
from mailcore.imap.selected import SelectedMailbox
from mailcore.imap.session import Replies, Session
from mailcore.imap.wire.cursor import Cursor
from mailcore.imap.wire.modseq import shown
from mailcore.imap.wire.object_ids import mailbox_object_id
from mailcore.imap.wire.responses import Bad, Condition, Done, ListResponse, Response, Wire, renamed_response
from mailcore.model import flags
from mailcore.model.ids import MailboxName
from mailcore.model.rights import FLAG_RIGHTS, Right
from mailcore.services.mailboxes.access import flag_mask


@dataclass(frozen=True, slots=True)
class SelectArgs:
    """Which mailbox, `written` as the client wrote it, and how it is to be brought up to date."""

    name: MailboxName
    written: str
    condstore: bool = False
    qresync: QresyncArgs | None = None


def parse_mailbox(cursor: Cursor) -> MailboxName:
    """Read `SP mailbox`, as several commands need it."""
    cursor.space()
    name = cursor.mailbox()
    cursor.end()
    return name


def parse_select(cursor: Cursor) -> SelectArgs:
    """Read `SP mailbox [SP "(" select-param *(SP select-param) ")"]`."""
    cursor.space()
    name = cursor.mailbox()
    written = cursor.written_name
    parameters: dict[str, QresyncArgs | None] = {}
    if cursor.accept(b" "):
        for word, qresync in cursor.parenthesized(lambda: _parameter(cursor)):
            if word in parameters:
                raise SyntaxFault("the same parameter twice")
            parameters[word] = qresync
    cursor.end()
    return SelectArgs(name, written, bool(parameters), parameters.get("QRESYNC"))


def _parameter(cursor: Cursor) -> tuple[str, QresyncArgs | None]:
    word = cursor.word()
    if word == "CONDSTORE":
        return word, None
    if word == "QRESYNC":
        cursor.space()
        return word, read_qresync(cursor)
    raise SyntaxFault("unknown SELECT parameter")


def handle_select(session: Session, args: SelectArgs) -> Replies:
    """Open to read and change. Two reads: names and head, segments only where this process lacks them."""
    return _open(session, args, read_only=False)


def handle_examine(session: Session, args: SelectArgs) -> Replies:
    """Open to read."""
    return _open(session, args, read_only=True)


def _open(session: Session, args: SelectArgs, *, read_only: bool) -> Replies:
    if args.qresync is not None and not session.dialect.qresync:
        return Bad("ENABLE QRESYNC first")
    if session.selected is not None:
        session.unselect()  # also when this fails, RFC 9051 §6.3.2
        yield Condition("OK", "Previous mailbox is closed", b"CLOSED")
    place = session.place(args.name)
    view = session.services.mailboxes.open(place.owner_id, place.name, session.actor)
    rights = session.rights(view.user_id, view.mailbox_id)
    read_only = read_only or not rights & (FLAG_RIGHTS | Right.INSERT | Right.EXPUNGE)  # RFC 4314 §4
    selected = SelectedMailbox(args.name, view, read_only=read_only, permanent=flag_mask(rights))
    yield _state(selected, session.dialect)
    if session.dialect.rev2:
        same = args.written == args.name
        yield (
            ListResponse(b"LIST", (), args.name)
            if same
            else renamed_response(args.name, args.written, utf8=session.utf8)
        )
    session.select(selected)
    if args.condstore:
        session.use_condstore()
    if args.qresync is not None and args.qresync.uid_validity == view.uid_validity:
        yield from _resynchronise(session, selected, args.qresync)
    if session.notifications is not None and session.hears_selected:
        session.refresh()  # it is listened to since it was read
    if read_only:
        return Done("EXAMINE completed", b"READ-ONLY")
    return Done("SELECT completed", b"READ-WRITE")


def _state(selected: SelectedMailbox, dialect: Dialect) -> Wire:
    """Say what the mailbox is like; IMAP4rev2 has no RECENT and no UNSEEN (RFC 9051 appendix E)."""
    view = selected.view
    rev2 = dialect.rev2
    lines = [
        selected.flags_and_permanent_flags(),
        b"* %d EXISTS\r\n" % view.exists,
        b"" if rev2 else b"* 0 RECENT\r\n",
        b"* OK [UIDVALIDITY %d] UIDs valid\r\n* OK [UIDNEXT %d] Predicted next UID\r\n"
        % (view.uid_validity, view.uid_next),
        b"* OK [HIGHESTMODSEQ %d] Highest\r\n" % shown(view.highest_modseq),
        b"* OK [MAILBOXID (%b)] Its id\r\n" % mailbox_object_id(view.mailbox_id),  # RFC 8474 §4.2
    ]
    unseen = (view.flags & np.uint64(flags.SEEN)) == 0
    if unseen.any() and not rev2:
        lines.append(b"* OK [UNSEEN %d] First unseen\r\n" % (int(unseen.argmax()) + 1))
    return Wire(b"".join(lines))


def _resynchronise(session: Session, selected: SelectedMailbox, args: QresyncArgs) -> Iterator[Response]:
    """Tell what went and what changed since the client looked (RFC 7162 §3.2.5); three round trips."""
    gone = vanished(session, selected, args)
    if gone:
        yield Wire(b"* VANISHED (EARLIER) " + gone.to_wire() + b"\r\n")
    rows = changed_rows(selected.view, args)
    for start in range(0, len(rows), COLUMN_BATCH):
        batch = rows[start : start + COLUMN_BATCH]
        yield Wire(format_flags(selected.view, batch, batch, with_uid=True, with_modseq=True))
        session.services.offload.pause()
