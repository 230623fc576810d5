"""What STATUS can be asked for (RFC 9051 §6.3.11), also within LIST (RFC 5819)."""

from __future__ import annotations

from collections.abc import Callable

from mailcore.errors import SyntaxFault
from mailcore.imap.wire.cursor import Cursor
from mailcore.imap.wire.modseq import shown
from mailcore.imap.wire.responses import StatusResponse
from mailcore.model.ids import MailboxName
from mailcore.model.limits import Limits
from mailcore.model.mailbox import MailboxStatus

STATUS_ITEMS: dict[str, Callable[[MailboxStatus, Limits], int]] = {
    "MESSAGES": lambda status, _limits: status.exists,
    "RECENT": lambda _status, _limits: 0,
    "UIDNEXT": lambda status, _limits: status.uid_next,
    "UIDVALIDITY": lambda status, _limits: status.uid_validity,
    "UNSEEN": lambda status, _limits: status.unseen,
    "SIZE": lambda status, _limits: status.size_bytes,
    "HIGHESTMODSEQ": lambda status, _limits: shown(status.highest_modseq),
    "APPENDLIMIT": lambda _status, limits: limits.message_bytes,
}
"""Every item by name; an extension adds its row here."""


def read_status_items(cursor: Cursor) -> tuple[str, ...]:
    """Read `"(" status-att *(SP status-att) ")"`; the same item twice counts once."""
    return tuple(dict.fromkeys(cursor.parenthesized(lambda: _item(cursor))))


def _item(cursor: Cursor) -> str:
    name = cursor.word()
    if name not in STATUS_ITEMS:
        raise SyntaxFault("unknown STATUS item")
    return name


def status_response(name: MailboxName, items: tuple[str, ...], status: MailboxStatus, limits: Limits) -> StatusResponse:
    """Return the counters that were asked for."""
    return StatusResponse(name, [(item, STATUS_ITEMS[item](status, limits)) for item in items])
