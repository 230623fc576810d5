"""What STATUS can be asked for (RFC 9051 §6.3.11), also within LIST (RFC 5819)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from mailcore.errors import SyntaxFault
from mailcore.imap.session import Session
from mailcore.imap.wire.cursor import Cursor
from mailcore.imap.wire.modseq import shown
from mailcore.imap.wire.object_ids import mailbox_object_id
from mailcore.imap.wire.responses import StatusResponse
from mailcore.model.ids import MailboxId, UserId
from mailcore.model.limits import Limits
from mailcore.model.mailbox import MailboxEntry, MailboxStatus


@dataclass(frozen=True, slots=True)
class Counted:
    """What the items of one mailbox are read from."""

    mailbox_id: MailboxId
    status: MailboxStatus
    limits: Limits
    deleted: tuple[int, int] = (0, 0)
    r"""How many messages are \Deleted, and their bytes; counted only where that is asked for."""


STATUS_ITEMS: dict[str, Callable[[Counted], int | str]] = {
    "MESSAGES": lambda counted: counted.status.exists,
    "RECENT": lambda _counted: 0,
    "UIDNEXT": lambda counted: counted.status.uid_next,
    "UIDVALIDITY": lambda counted: counted.status.uid_validity,
    "UNSEEN": lambda counted: counted.status.unseen,
    "DELETED": lambda counted: counted.deleted[0],
    "DELETED-STORAGE": lambda counted: counted.deleted[1],  # RFC 9208 §4.1.4
    "SIZE": lambda counted: counted.status.size_bytes,
    "HIGHESTMODSEQ": lambda counted: shown(counted.status.highest_modseq),
    "MAILBOXID": lambda counted: f"({mailbox_object_id(counted.mailbox_id).decode()})",
    "APPENDLIMIT": lambda counted: counted.limits.message_bytes,
}
"""Every item by name; an extension adds its row here."""


_COUNTED = frozenset({"DELETED", "DELETED-STORAGE"})


def read_status_items(cursor: Cursor) -> tuple[str, ...]:
    """Read `"(" status-att *(SP status-att) ")"`; the same item twice counts once."""
    return tuple(dict.fromkeys(cursor.parenthesized(lambda: _item(cursor))))


def _item(cursor: Cursor) -> str:
    name = cursor.word()
    if name not in STATUS_ITEMS:
        raise SyntaxFault("unknown STATUS item")
    return name


def status_responses(
    session: Session, owner_id: UserId, entries: Iterable[MailboxEntry], items: tuple[str, ...]
) -> dict[MailboxId, StatusResponse]:
    r"""Return the counters of mailboxes that are there: one round trip, and one each to count what is \Deleted.

    None where nothing is in it or this process knows its newest state; others' turn comes between two.
    """
    named = {entry.id: entry for entry in entries}
    mailboxes = session.services.mailboxes
    found: dict[MailboxId, StatusResponse] = {}
    for mailbox_id, status in mailboxes.status(owner_id, list(named)).items():
        if status.deleted:
            continue
        deleted = (0, 0)
        if status.exists and _COUNTED.intersection(items):
            session.services.offload.pause()
            deleted = mailboxes.count_deleted(owner_id, mailbox_id, status.highest_modseq)
        counted = Counted(mailbox_id, status, session.limits, deleted)
        values = [(item, STATUS_ITEMS[item](counted)) for item in items]
        found[mailbox_id] = StatusResponse(named[mailbox_id].name, values)
    return found
