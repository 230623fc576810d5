"""What a client is told unasked: at the end of a command, while it idles, and after NOTIFY at any time."""

from __future__ import annotations

from collections.abc import Iterator

from mailcore.errors import MailboxChanged, MailError, NotFound, Refused
from mailcore.imap.commands import CommandRow
from mailcore.imap.fetching import fetch
from mailcore.imap.session import Session
from mailcore.imap.wire.event_groups import FLAG_CHANGE

_OWN_FLAGS = frozenset({"FETCH", "UID FETCH"})
r"""Commands that set \Seen by themselves: their client hears of it whatever it wants to be told."""
_OWN_CHANGES = frozenset({"CREATE", "DELETE", "RENAME", "SUBSCRIBE", "UNSUBSCRIBE", "SETMETADATA"})


def at_completion(session: Session, row: CommandRow) -> Iterator[bytes]:
    """Tell what else changed before a command's own answer; no round trip without NOTIFY.

    Raises:
        StreamBroken: a literal could not be finished.
    """
    if session.selected is not None:
        if session.hears_selected:
            try:
                session.take_news()
            except MailError:
                pass  # news can wait; the command's own answer must not be lost
        yield from changes(session, expunge=row.expunge, own_flags=row.name in _OWN_FLAGS)
    notifications = session.notifications
    if notifications is not None and notifications.pending:
        yield from elsewhere(session, own=row.name in _OWN_CHANGES)


def hear(session: Session, *, idles: bool) -> Iterator[bytes]:
    """Tell of the change in the selected mailbox that woke us, if the client listens.

    The database is asked only if this process has not been told it.

    Raises:
        MailboxDeleted: an idling client's mailbox is gone.
        StreamBroken: a literal could not be finished.
    """
    notifications = session.notifications
    if session.selected is None or not session.hears_selected or not (idles or notifications is not None):
        return
    try:
        session.check_rights()
        session.hear_news()
    except (MailboxChanged, NotFound, Refused):
        if idles:
            raise MailboxDeleted from None
        return  # the next command says so
    except MailError:
        return  # the next poll wakes us again
    yield from changes(session, expunge=idles or not (notifications is not None and notifications.delayed))


class MailboxDeleted(Exception):
    """The selected mailbox is gone, or may not be read any more."""


def changes(session: Session, *, expunge: bool, own_flags: bool = False) -> Iterator[bytes]:
    """Announce what is new in the selected mailbox; new messages with what NOTIFY wants of them.

    Raises:
        StreamBroken: a literal could not be finished.
    """
    selected, notifications = session.selected, session.notifications
    if selected is None:
        return
    last_uid = selected.last_uid
    flags_too = notifications is None or own_flags or FLAG_CHANGE in notifications.events
    output = selected.announce(expunge=expunge, dialect=session.dialect, flags_too=flags_too)
    if output:
        yield output
    if notifications is None or notifications.plan is None:
        return
    positions = selected.positions_after(last_uid)
    if not len(positions):
        return
    plan = notifications.plan.with_modseq() if session.dialect.condstore else notifications.plan
    if "FLAGS" in plan.columns:
        selected.flags_told(positions)
    try:
        for wire in fetch(session, plan, positions, selected.rows(positions)):
            yield wire.data
    except MailError:
        pass  # the client knows that they are there and can fetch them itself


def elsewhere(session: Session, *, own: bool = False) -> Iterator[bytes]:
    """Tell what happened to other mailboxes; see `Notifications.news`."""
    if session.notifications is not None:
        for response in session.notifications.news(session, own=own):
            yield response.encode(utf8=session.utf8)
