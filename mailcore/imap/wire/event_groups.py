"""What NOTIFY can be asked for (RFC 5465 §8): events by groups of mailboxes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from mailcore.errors import SyntaxFault
from mailcore.imap.wire.cursor import Cursor
from mailcore.imap.wire.fetch_att import FetchAtt, read_fetch_atts
from mailcore.model.ids import MailboxName


class MailboxFilter(StrEnum):
    """Which mailboxes a group is about (RFC 5465 §6)."""

    SELECTED = "SELECTED"
    SELECTED_DELAYED = "SELECTED-DELAYED"
    INBOXES = "INBOXES"
    PERSONAL = "PERSONAL"
    SUBSCRIBED = "SUBSCRIBED"
    SUBTREE = "SUBTREE"
    MAILBOXES = "MAILBOXES"


OF_SELECTED = frozenset({MailboxFilter.SELECTED, MailboxFilter.SELECTED_DELAYED})
_WITH_NAMES = frozenset({MailboxFilter.SUBTREE, MailboxFilter.MAILBOXES})

MESSAGE_NEW = "MESSAGENEW"
MESSAGE_EXPUNGE = "MESSAGEEXPUNGE"
FLAG_CHANGE = "FLAGCHANGE"
MAILBOX_NAME = "MAILBOXNAME"
SUBSCRIPTION_CHANGE = "SUBSCRIPTIONCHANGE"
MAILBOX_METADATA_CHANGE = "MAILBOXMETADATACHANGE"
SERVER_METADATA_CHANGE = "SERVERMETADATACHANGE"
METADATA_EVENTS = frozenset({MAILBOX_METADATA_CHANGE, SERVER_METADATA_CHANGE})
SPELLINGS = {
    MESSAGE_NEW: "MessageNew",
    MESSAGE_EXPUNGE: "MessageExpunge",
    FLAG_CHANGE: "FlagChange",
    MAILBOX_NAME: "MailboxName",
    SUBSCRIPTION_CHANGE: "SubscriptionChange",
    MAILBOX_METADATA_CHANGE: "MailboxMetadataChange",
    SERVER_METADATA_CHANGE: "ServerMetadataChange",
}
"""Every event that is told, as the RFC writes it."""
MESSAGE_EVENTS = frozenset({MESSAGE_NEW, MESSAGE_EXPUNGE, FLAG_CHANGE})


@dataclass(frozen=True, slots=True)
class EventGroup:
    """Events of some mailboxes.

    Attributes:
        names: of SUBTREE and MAILBOXES.
        events: in capitals, unknown ones too; none for NONE.
        atts: what is fetched of new messages in the selected mailbox.
    """

    filter: MailboxFilter
    names: tuple[MailboxName, ...]
    events: frozenset[str]
    atts: tuple[FetchAtt, ...] = ()


@dataclass(frozen=True, slots=True)
class NotifyArgs:
    """The groups, none for NONE; `status`: tell the counters of their mailboxes first."""

    groups: tuple[EventGroup, ...] = ()
    status: bool = False


def read_notify(cursor: Cursor) -> NotifyArgs:
    """Read `SP ("NONE" / "SET" [SP "STATUS"] SP event-group *(SP event-group))`."""
    cursor.space()
    if cursor.accept_word(b"NONE"):
        cursor.end()
        return NotifyArgs()
    if not cursor.accept_word(b"SET"):
        raise SyntaxFault("SET or NONE expected")
    cursor.space()
    status = cursor.accept_word(b"STATUS")
    if status:
        cursor.space()
    groups = [_group(cursor)]
    while not cursor.at_end():
        cursor.space()
        groups.append(_group(cursor))
    if sum(group.filter in OF_SELECTED for group in groups) > 1:
        raise SyntaxFault("the selected mailbox twice")
    return NotifyArgs(tuple(groups), status)


def _group(cursor: Cursor) -> EventGroup:
    cursor.expect(b"(")
    try:
        kind = MailboxFilter(cursor.word())
    except ValueError:
        raise SyntaxFault("unknown mailbox filter") from None
    names: list[MailboxName] = []
    if kind in _WITH_NAMES:
        cursor.space()
        names = cursor.parenthesized(cursor.mailbox) if cursor.peek() == b"(" else [cursor.mailbox()]
    cursor.space()
    events, atts = _events(cursor)
    cursor.expect(b")")
    if atts and kind not in OF_SELECTED:
        raise SyntaxFault("FETCH items are told of the selected mailbox only")
    return EventGroup(kind, tuple(dict.fromkeys(names)), events, atts)


def _events(cursor: Cursor) -> tuple[frozenset[str], tuple[FetchAtt, ...]]:
    """Read `events`: NONE, or names in parentheses, MessageNew with FETCH items behind it."""
    if cursor.accept_word(b"NONE"):
        return frozenset(), ()
    events: set[str] = set()
    atts: tuple[FetchAtt, ...] = ()
    cursor.expect(b"(")
    while True:
        event = cursor.word()
        events.add(event)
        if cursor.accept(b")"):
            return frozenset(events), atts
        cursor.space()
        if event == MESSAGE_NEW and cursor.peek() == b"(":
            atts = read_fetch_atts(cursor)
            if cursor.accept(b")"):
                return frozenset(events), atts
            cursor.space()
