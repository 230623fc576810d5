"""SELECT and EXAMINE: open a mailbox (RFC 9051 §6.3.2, §6.3.3)."""

from __future__ import annotations

import numpy as np

from mailcore.imap.selected import SelectedMailbox, flags_and_permanent_flags
from mailcore.imap.session import Replies, Session
from mailcore.imap.wire.cursor import Cursor
from mailcore.imap.wire.responses import Done, Wire
from mailcore.model import flags
from mailcore.model.ids import MailboxName


def parse_mailbox(cursor: Cursor) -> MailboxName:
    """Read `SP mailbox`, as several commands need it."""
    cursor.space()
    name = cursor.mailbox()
    cursor.end()
    return name


def handle_select(session: Session, args: MailboxName) -> Replies:
    """Open to read and change. Two reads: names and head, segments only where this process lacks them."""
    return _open(session, args, read_only=False)


def handle_examine(session: Session, args: MailboxName) -> Replies:
    """Open to read."""
    return _open(session, args, read_only=True)


def _open(session: Session, name: MailboxName, *, read_only: bool) -> Replies:
    session.unselect()  # also when this fails, RFC 9051 §6.3.2
    view = session.services.mailboxes.open(session.user_id, name)
    lines = [
        flags_and_permanent_flags(view, read_only=read_only),
        b"* %d EXISTS\r\n* 0 RECENT\r\n" % view.exists,
        b"* OK [UIDVALIDITY %d] UIDs valid\r\n* OK [UIDNEXT %d] Predicted next UID\r\n"
        % (view.uid_validity, view.uid_next),
    ]
    unseen = (view.flags & np.uint64(flags.SEEN)) == 0
    if unseen.any():
        lines.append(b"* OK [UNSEEN %d] First unseen\r\n" % (int(unseen.argmax()) + 1))
    session.select(SelectedMailbox(name, view, read_only=read_only))
    yield Wire(b"".join(lines))
    if read_only:
        return Done("EXAMINE completed", b"READ-ONLY")
    return Done("SELECT completed", b"READ-WRITE")
