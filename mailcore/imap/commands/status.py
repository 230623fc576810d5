"""STATUS: counters of a mailbox without selecting it (RFC 9051 §6.3.11)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from mailcore.errors import MailboxNotFound
from mailcore.imap.session import Replies, Session
from mailcore.imap.status_items import read_status_items, status_responses
from mailcore.imap.wire.cursor import Cursor
from mailcore.imap.wire.responses import Done
from mailcore.model.ids import MailboxName


@dataclass(frozen=True, slots=True)
class StatusArgs:
    """What the client asked for, in the order it asked."""

    name: MailboxName
    items: tuple[str, ...]


def parse_status(cursor: Cursor) -> StatusArgs:
    """Read `SP mailbox SP "(" status-att *(SP status-att) ")"`."""
    cursor.space()
    name = cursor.mailbox()
    cursor.space()
    items = read_status_items(cursor)
    cursor.end()
    return StatusArgs(name, items)


def handle_status(session: Session, args: StatusArgs) -> Replies:
    """Answer with one untagged STATUS; two reads, names and head."""
    if "HIGHESTMODSEQ" in args.items:
        yield from session.use_condstore()  # RFC 7162 §3.1.7
    place = session.place(args.name)
    entry = session.services.mailboxes.find(place.owner_id, place.name, session.actor)
    found = status_responses(session, place.owner_id, [replace(entry, name=args.name)], args.items)
    if not found:
        raise MailboxNotFound(args.name)
    yield from found.values()
    return Done("STATUS completed")
