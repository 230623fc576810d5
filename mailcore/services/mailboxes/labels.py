"""Labels as Gmail has them: a message has those of the other mailboxes in which it lies (decision 31)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from mailcore.model.actor import Actor
from mailcore.model.ids import UserId
from mailcore.model.labels import FLAGS, Label, label_of, mailbox_of
from mailcore.model.mailbox import MailboxEntry
from mailcore.model.rights import Right
from mailcore.model.uid_set import UidSet
from mailcore.services.mailboxes.copies import Mask, Rows, held, ids_of
from mailcore.services.mailboxes.mailboxes import Mailboxes
from mailcore.store.mailbox.view import MailboxView, uid_set_of


@dataclass(frozen=True, slots=True)
class Labelling:
    """Labels of rows: `sets[which[index]]` are those of the row at that index."""

    sets: tuple[tuple[Label, ...], ...]
    which: Rows


class Labels:
    """Tells which labels messages have."""

    def __init__(self, mailboxes: Mailboxes) -> None:
        self._mailboxes = mailboxes

    def of(self, actor: Actor, view: MailboxView, rows: Rows) -> Labelling:
        """Return the labels of rows, but for that of the mailbox itself.

        Three round trips, and what a SELECT costs for each mailbox that is not empty and not in memory.
        """
        ids, where = np.unique(ids_of(view, rows), return_inverse=True)
        which: Rows = np.zeros(len(ids), np.int64)
        sets: list[tuple[Label, ...]] = [()]
        for label, other in self._labelled(actor, view):
            which, sets = _combined(which, sets, held(ids, other), label)
        which = which[where.ravel()]
        for label, flags in FLAGS.items():
            bits = flags.system | sum(view.keyword_mask(name) for name in flags.keywords)
            which, sets = _combined(which, sets, (view.flags[rows] & np.uint64(bits)) != 0, label)
        return Labelling(tuple(sets), which)

    def holding(self, actor: Actor, view: MailboxView, label: Label) -> UidSet:
        """Return which messages of a mailbox have a label that is a mailbox; as many round trips as a SELECT of it."""
        entry = mailbox_of(self._mailboxes.tree(view.user_id), label)
        if entry is None or not self.may_see(actor, view.user_id, entry):
            return UidSet()
        if entry.id == view.mailbox_id:
            return uid_set_of(view.uids)
        other = self._mailboxes.refresh_many(view.user_id, [entry.id]).get(entry.id)
        if other is None:
            return UidSet()
        ids, where = np.unique(ids_of(view), return_inverse=True)
        return uid_set_of(view.uids[held(ids, other)[where.ravel()]])

    def _labelled(self, actor: Actor, view: MailboxView) -> Iterator[tuple[Label, MailboxView]]:
        """Yield the other mailboxes that are labels to the actor, in the order of the tree."""
        tree = self._mailboxes.tree(view.user_id)
        entries = [entry for entry in tree if entry.id != view.mailbox_id and self.may_see(actor, view.user_id, entry)]
        for entry, other in self.filled(view.user_id, entries):
            label = label_of(entry)
            if label is not None:
                yield label, other

    def may_see(self, actor: Actor, owner_id: UserId, entry: MailboxEntry) -> bool:
        """Whether a mailbox is a label to the actor."""
        return not entry.hidden and Right.READ in self._mailboxes.access.rights(owner_id, actor, entry)

    def filled(self, owner_id: UserId, entries: Sequence[MailboxEntry]) -> Iterator[tuple[MailboxEntry, MailboxView]]:
        """Yield what is in mailboxes, the empty ones left out."""
        status = self._mailboxes.status(owner_id, [entry.id for entry in entries])
        filled = [entry for entry in entries if status[entry.id].exists]
        views = self._mailboxes.refresh_many(owner_id, [entry.id for entry in filled])
        return ((entry, views[entry.id]) for entry in filled if entry.id in views)


def _combined(
    which: Rows, sets: list[tuple[Label, ...]], found: Mask, label: Label
) -> tuple[Rows, list[tuple[Label, ...]]]:
    """Give a label to some rows: each combination of labels is there once."""
    combinations, after = np.unique(which * 2 + found, return_inverse=True)
    more = [sets[number >> 1] + ((label,) if number & 1 else ()) for number in combinations.tolist()]
    return after.ravel(), more
