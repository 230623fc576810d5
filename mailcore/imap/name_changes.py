"""What became of the names and uses of mailboxes between two looks at them (RFC 5465 §5.4 to §5.6)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from mailcore.imap.mailbox_list import ListedNames, in_order
from mailcore.imap.wire.event_groups import MAILBOX_METADATA_CHANGE, MAILBOX_NAME, SUBSCRIPTION_CHANGE
from mailcore.imap.wire.responses import ListResponse, MailboxResponse, renamed_response
from mailcore.model.ids import MailboxName
from mailcore.model.mailbox import SEPARATOR, MailboxEntry, MailboxTree

SPECIAL_USE_ENTRY = "/private/specialuse"
"""The annotation that is not stored as one: it is the mailbox's special use (RFC 6154 §4)."""
EventsOf = Callable[[MailboxName, bool], frozenset[str]]
"""Which events are told of a name, by whether it is subscribed."""


def name_changes(old: MailboxTree, new: MailboxTree, events_of: EventsOf, *, utf8: bool) -> list[ListResponse]:
    """Return a LIST for each name that came, went, was renamed or (un)subscribed, where that is to be told."""
    before, after = ListedNames(old), ListedNames(new)

    def told(event: str, *names: MailboxName) -> bool:
        return any(event in events_of(name, name in listed.subscribed) for name in names for listed in (before, after))

    affected: dict[MailboxName, MailboxName | None] = {}
    renamed = [(was.name, entry.name) for was, entry in _in_both(old, new) if was.name != entry.name]
    for name in _came_or_went(old, new):
        for each in (name, _parent(name)):
            if each is not None and told(MAILBOX_NAME, each):
                affected.setdefault(each, None)
    affected |= {
        new_name: old_name
        for old_name, new_name in _without_children(renamed)
        if told(MAILBOX_NAME, old_name, new_name)
    }
    for name in _subscription_changes(before, after, old, new, renamed):
        if told(SUBSCRIPTION_CHANGE, name):
            affected.setdefault(name, None)
    found = []
    for name in sorted(affected, key=in_order):
        attributes, was_name = after.attributes(name, subscription=True), affected[name]
        if was_name is None:
            found.append(ListResponse(b"LIST", attributes, name))
        else:
            found.append(renamed_response(name, was_name, utf8=utf8, attributes=attributes))
    return found


def use_changes(old: MailboxTree, new: MailboxTree, events_of: EventsOf) -> list[MailboxResponse]:
    """Return a METADATA for each mailbox whose special use changed, where that is to be told (RFC 6154 §4)."""
    return [
        MailboxResponse(b"METADATA", entry.name, SPECIAL_USE_ENTRY.encode("ascii"))
        for was, entry in _in_both(old, new)
        if was.special_use is not entry.special_use
        and MAILBOX_METADATA_CHANGE in events_of(entry.name, entry.subscribed)
    ]


def _in_both(old: MailboxTree, new: MailboxTree) -> Iterator[tuple[MailboxEntry, MailboxEntry]]:
    for entry in new:
        was = old.find_id(entry.id)
        if was is not None:
            yield was, entry


def _came_or_went(old: MailboxTree, new: MailboxTree) -> list[MailboxName]:
    came = [entry.name for entry in new if old.find_id(entry.id) is None]
    return came + [entry.name for entry in old if new.find_id(entry.id) is None]


def _parent(name: MailboxName) -> MailboxName | None:
    parent = name.rpartition(SEPARATOR)[0]
    return MailboxName(parent) if parent else None


def _without_children(renamed: list[tuple[MailboxName, MailboxName]]) -> list[tuple[MailboxName, MailboxName]]:
    """Leave out what was renamed only with its parent: no event is sent for it."""
    pairs = set(renamed)

    def follows(old_name: str, new_name: str) -> bool:
        while True:
            old_name, _, old_part = old_name.rpartition(SEPARATOR)
            new_name, _, new_part = new_name.rpartition(SEPARATOR)
            if not old_name or not new_name or old_part != new_part:
                return False
            if (old_name, new_name) in pairs:
                return True

    return [pair for pair in renamed if not follows(*pair)]


def _subscription_changes(
    before: ListedNames,
    after: ListedNames,
    old: MailboxTree,
    new: MailboxTree,
    renamed: list[tuple[MailboxName, MailboxName]],
) -> set[MailboxName]:
    """Return the names whose subscription changed; one that goes with its renamed mailbox did not."""
    of_renamed = {name for pair in renamed for name in pair}
    changed = set(before.subscribed ^ after.subscribed) - of_renamed
    return changed | {entry.name for was, entry in _in_both(old, new) if was.subscribed != entry.subscribed}
