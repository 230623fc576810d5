"""NOTIFY: be told of changes in any mailbox, at any time (RFC 5465)."""

from __future__ import annotations

from mailcore.errors import SyntaxFault
from mailcore.imap.notifications import Notifications, TooMuch
from mailcore.imap.session import Replies, Session
from mailcore.imap.wire.event_groups import (
    FLAG_CHANGE,
    MESSAGE_EVENTS,
    MESSAGE_EXPUNGE,
    MESSAGE_NEW,
    OF_SELECTED,
    SPELLINGS,
    EventGroup,
    NotifyArgs,
)
from mailcore.imap.wire.fetch_att import SimpleAtt
from mailcore.imap.wire.responses import Completion, Done, No
from mailcore.model.limits import DEFAULT_LIMITS

BAD_EVENT = b"BADEVENT (" + " ".join(SPELLINGS.values()).encode("ascii") + b")"
_OVERFLOW = No("That is more than can be watched", b"NOTIFICATIONOVERFLOW")


def handle_notify(session: Session, args: NotifyArgs) -> Replies:
    """Replace what is told. SET is a NOOP as well; it reads names, and counters once for each owner."""
    refusal = _refusal(args)
    if refusal is not None:
        return refusal
    if any(SimpleAtt("MODSEQ") in group.atts for group in args.groups):
        yield from session.use_condstore()
    notifications = Notifications(args.groups)
    try:
        yield from notifications.begin(session, tell_status=args.status)
    except TooMuch:
        notifications.close()
        return _OVERFLOW
    except BaseException:
        notifications.close()
        raise
    session.notify(notifications)
    if args.groups and session.selected is not None and session.hears_selected:
        session.refresh()
    return Done("NOTIFY completed")


def _refusal(args: NotifyArgs) -> Completion | None:
    """Return why nobody can be told so, None if one can; what clients must not combine is a fault of syntax."""
    if any(group.events - SPELLINGS.keys() for group in args.groups):
        return No("Some of the events are not told", BAD_EVENT)
    for group in args.groups:
        _check(group)
    if sum(1 + len(group.names) for group in args.groups) > DEFAULT_LIMITS.watched_mailboxes:
        return _OVERFLOW
    return None


def _check(group: EventGroup) -> None:
    if group.filter in OF_SELECTED and group.events - MESSAGE_EVENTS:
        raise SyntaxFault("only events of messages are told of the selected mailbox")
    both = {MESSAGE_NEW, MESSAGE_EXPUNGE}
    if both & group.events not in (both, set()):
        raise SyntaxFault("MessageNew and MessageExpunge go together")
    if FLAG_CHANGE in group.events and not both <= group.events:
        raise SyntaxFault("FlagChange needs MessageNew and MessageExpunge")
