"""Changes of a user's tree of mailboxes, each from one tree to the next; nothing is stored here."""

from __future__ import annotations

from dataclasses import replace

from mailcore.errors import (
    MailboxExists,
    MailboxNameInvalid,
    MailboxNotFound,
    MailboxProtected,
    TooManyMailboxes,
)
from mailcore.model.ids import MailboxName
from mailcore.model.limits import DEFAULT_LIMITS
from mailcore.model.mailbox import INBOX, SEPARATOR, MailboxEntry, MailboxTree, SpecialUse, parse_mailbox_name
from mailcore.store.mailbox.tree import TreeChange


def without(tree: MailboxTree, name: MailboxName) -> tuple[TreeChange, MailboxEntry]:
    """Return the tree without a mailbox, and that mailbox.

    Raises:
        MailboxNotFound: there is none of that name.
        MailboxProtected: INBOX, one with a special use, or a hidden one.
    """
    entry = tree.find(name)
    if entry is None:
        raise MailboxNotFound(name)
    if name == INBOX or entry.special_use is not None or entry.hidden:
        raise MailboxProtected(name)
    names = tree.subscribed_names | {name} if entry.subscribed else tree.subscribed_names
    left = tuple(each for each in tree.entries if each.id != entry.id)
    return TreeChange(tree.next_uid_validity, left, names), entry


def with_special_use(tree: MailboxTree, name: MailboxName, special_use: SpecialUse | None) -> TreeChange | None:
    """Return the tree with a mailbox's use changed, taken from whoever had it; None if it is so.

    Raises:
        MailboxNotFound: there is none of that name.
        MailboxProtected: INBOX.
    """
    entry = tree.find(name)
    if entry is None:
        raise MailboxNotFound(name)
    if name == INBOX:
        raise MailboxProtected(name)
    entries = []
    for each in tree.entries:
        if each.id == entry.id:
            each = replace(each, special_use=special_use)
        elif special_use is not None and each.special_use is special_use:
            each = replace(each, special_use=None)
        entries.append(each)
    if tuple(entries) == tree.entries:
        return None
    return TreeChange(tree.next_uid_validity, entries, tree.subscribed_names)


def with_options(
    tree: MailboxTree, name: MailboxName, hidden: bool | None, retention_ms: int | None, encrypts: bool | None
) -> TreeChange | None:
    """Return the tree with options of a mailbox changed, None for those that stay; None if it is so.

    Raises:
        MailboxNotFound: there is none of that name.
        MailboxProtected: INBOX cannot be hidden.
    """
    entry = tree.find(name)
    if entry is None:
        raise MailboxNotFound(name)
    if name == INBOX and hidden:
        raise MailboxProtected(name)
    changed = replace(
        entry,
        hidden=entry.hidden if hidden is None else hidden,
        retention_ms=entry.retention_ms if retention_ms is None else retention_ms,
        encrypts=entry.encrypts if encrypts is None else encrypts,
    )
    if changed == entry:
        return None
    entries = [changed if each.id == entry.id else each for each in tree.entries]
    return TreeChange(tree.next_uid_validity, entries, tree.subscribed_names)


def renamed(tree: MailboxTree, source: MailboxName, target: MailboxName) -> TreeChange:
    """Return the tree with a mailbox, and all below it, under another name.

    Raises:
        MailboxNotFound: neither a mailbox of the old name nor one below it.
        MailboxExists: a new name is taken.
        MailboxNameInvalid: a new name is none, or lies below the old one.
    """
    moving = {entry.name for entry in tree.below(source)}
    if tree.find(source) is not None:
        moving.add(source)
    if not moving:
        raise MailboxNotFound(source)
    if target == source or tree.find(target) is not None:
        raise MailboxExists(target)
    if target.startswith(source + SEPARATOR):
        raise MailboxNameInvalid("below itself", target)
    entries = []
    names = tree.subscribed_names
    for entry in tree.entries:
        if entry.name not in moving:
            entries.append(entry)
            continue
        name = parse_mailbox_name(target + entry.name[len(source) :])
        if tree.find(name) is not None:
            raise MailboxExists(name)
        entries.append(replace(entry, name=name, subscribed=entry.subscribed or name in names))
        names = names - {name}
    return TreeChange(tree.next_uid_validity, entries, names)


def with_subscription(tree: MailboxTree, name: MailboxName, *, subscribed: bool) -> TreeChange | None:
    """Return the tree with a name subscribed or not; None if it is so.

    Raises:
        TooManyMailboxes: as many names without a mailbox are subscribed as may be.
    """
    entry = tree.find(name)
    entries, names = tree.entries, tree.subscribed_names
    if entry is not None:
        entries = tuple(replace(each, subscribed=subscribed) if each.id == entry.id else each for each in entries)
    elif subscribed:
        if len(names) >= DEFAULT_LIMITS.mailboxes and name not in names:
            raise TooManyMailboxes(len(names))
        names = names | {name}
    else:
        names = names - {name}
    if entries == tree.entries and names == tree.subscribed_names:
        return None
    return TreeChange(tree.next_uid_validity, entries, names)
