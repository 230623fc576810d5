"""Changing labels: a copy adds one, an expunge takes it away (decision 31).

Who takes the last one away archives, so that no message goes for want of a label.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np

from mailcore import fault
from mailcore.errors import MailboxExists
from mailcore.model.actor import Actor
from mailcore.model.flags import LEAVING, FlagOperation, FlagSet
from mailcore.model.ids import MailboxId, ModSeq, UserId
from mailcore.model.labels import FLAGS, NAMES, Label, LabelSet, SystemLabel, label_of, mailbox_of
from mailcore.model.mailbox import MailboxEntry, MailboxTree, SpecialUse
from mailcore.model.rights import Right
from mailcore.model.uid_set import UidSet
from mailcore.services.keeping.restoring import Restoring
from mailcore.services.mailboxes.copies import Ids, Mask, held, ids_of, rows_of
from mailcore.services.mailboxes.labels import Labels
from mailcore.services.mailboxes.mailboxes import Mailboxes
from mailcore.services.mailboxes.messages import Messages
from mailcore.store.mailbox.view import MailboxView, uid_set_of

log = logging.getLogger(__name__)

LOOK_BACK: Final = timedelta(hours=1)
_DISCARDS: Final = (SystemLabel.TRASH, SystemLabel.SPAM)
_EMPTIED: Final = frozenset({SpecialUse.TRASH, SpecialUse.JUNK})
"""What lies there alone is on its way out."""
_LEAVE: Final = Right.READ | Right.DELETE_MESSAGES | Right.EXPUNGE


@dataclass(frozen=True, slots=True)
class LabelResult:
    """The mailbox after a change of labels, which messages were there, and which had failed UNCHANGEDSINCE."""

    view: MailboxView
    found: UidSet
    modified: UidSet


@dataclass(frozen=True, slots=True)
class _Chosen:
    """The messages whose labels change."""

    actor: Actor
    view: MailboxView
    uids: UidSet
    ids: Ids

    @property
    def owner_id(self) -> UserId:
        return self.view.user_id

    @property
    def mailbox_id(self) -> MailboxId:
        return self.view.mailbox_id


class LabelChanges:
    """Adds labels to messages and takes them away."""

    def __init__(self, mailboxes: Mailboxes, messages: Messages, labels: Labels, restoring: Restoring) -> None:
        self._mailboxes = mailboxes
        self._messages = messages
        self._labels = labels
        self._restoring = restoring

    def change(
        self,
        owner_id: UserId,
        actor: Actor,
        mailbox_id: MailboxId,
        uids: UidSet,
        operation: FlagOperation,
        labels: LabelSet,
        unchanged_since: ModSeq | None = None,
    ) -> LabelResult:
        r"""Add, take away or replace labels of messages of a mailbox; \Trash and \Spam move them there.

        A mailbox that a new label needs is made. Who takes away the last label archives. A crash leaves a message in
        more mailboxes than were meant, never in none.

        Raises:
            MailboxChanged: the mailbox is deleted.
            MailboxBusy: others kept changing the mailboxes for 3 s.
            NotPermitted, MailboxNotFound: the actor may not insert, or expunge, in one of the mailboxes.
            ValueInvalid: a mailbox encrypts what comes in, so that it would be another message there.
            OverQuota, TooManyMailboxes, MailboxNameInvalid: for what would be added.
        """
        self._mailboxes.access.require(owner_id, actor, mailbox_id, Right.READ)
        view = self._mailboxes.refresh(owner_id, mailbox_id)
        rows = view.rows_of(uids)
        found = uid_set_of(view.uids[rows])
        later = np.zeros(len(rows), np.bool_) if unchanged_since is None else view.modseqs[rows] > unchanged_since
        chosen = _Chosen(actor, view, uid_set_of(view.uids[rows[~later]]), np.unique(ids_of(view, rows[~later])))
        if chosen.uids:
            if operation is FlagOperation.REMOVE:
                self._take_away(chosen, labels)
            else:
                self._add(chosen, labels)
            if operation is FlagOperation.REPLACE and not labels.system & frozenset(_DISCARDS):
                self._take_away_others(chosen, labels)
        return LabelResult(self._mailboxes.refresh(owner_id, mailbox_id), found, uid_set_of(view.uids[rows[later]]))

    def _add(self, chosen: _Chosen, labels: LabelSet) -> None:
        self._change_flags(chosen, FlagOperation.ADD, labels.system)
        for label in _mailbox_labels(labels):
            if label not in _DISCARDS:
                target = self._target(chosen, label)
                if target.id != chosen.mailbox_id:
                    messages = self._messages
                    messages.copy_missing(chosen.owner_id, chosen.actor, chosen.mailbox_id, chosen.uids, target.name)
        for label in _DISCARDS:
            if label in labels.system:
                self._discard(chosen, self._target(chosen, label))
                return

    def _take_away(self, chosen: _Chosen, labels: LabelSet) -> None:
        self._change_flags(chosen, FlagOperation.REMOVE, labels.system)
        tree = self._mailboxes.tree(chosen.owner_id)
        found = [mailbox_of(tree, label) for label in _mailbox_labels(labels)]
        self._leave(chosen, tree, [entry for entry in found if entry is not None])

    def _take_away_others(self, chosen: _Chosen, labels: LabelSet) -> None:
        """Take away what is not among the labels: the mailbox itself is none of them, nor is what cannot be seen."""
        self._change_flags(chosen, FlagOperation.REMOVE, frozenset(FLAGS) - labels.system)
        tree = self._mailboxes.tree(chosen.owner_id)
        wanted = {mailbox_of(tree, label) for label in _mailbox_labels(labels)}
        leaving = [
            entry
            for entry in tree
            if entry.id != chosen.mailbox_id
            and entry not in wanted
            and label_of(entry) is not None
            and self._labels.may_see(chosen.actor, chosen.owner_id, entry)
        ]
        holding = [
            entry for entry, view in self._labels.filled(chosen.owner_id, leaving) if held(chosen.ids, view).any()
        ]
        self._leave(chosen, tree, holding)

    def _change_flags(self, chosen: _Chosen, operation: FlagOperation, labels: frozenset[SystemLabel]) -> None:
        wanted = [flags for label, flags in FLAGS.items() if label in labels]
        if wanted:
            flags = FlagSet(
                sum(each.system for each in wanted), tuple(name for each in wanted for name in each.keywords)
            )
            self._messages.store(chosen.owner_id, chosen.actor, chosen.mailbox_id, chosen.uids, operation, flags)

    def _target(self, chosen: _Chosen, label: Label) -> MailboxEntry:
        """Return the mailbox of a label, made if there is none."""
        found = mailbox_of(self._mailboxes.tree(chosen.owner_id), label)
        if found is not None:
            return found
        name, use = NAMES[label] if isinstance(label, SystemLabel) else (label, None)
        return self._made(chosen, name, use)

    def _made(self, chosen: _Chosen, name: str, use: SpecialUse | None) -> MailboxEntry:
        try:
            self._mailboxes.create(chosen.owner_id, chosen.actor, name, use, subscribed=True)
        except MailboxExists:
            pass  # by another session just now, or one of that name without that use
        return self._mailboxes.find(chosen.owner_id, name, chosen.actor)

    # -- leaving mailboxes ----------------------------------------------------------------------

    def _discard(self, chosen: _Chosen, target: MailboxEntry) -> None:
        """Move to Trash or Junk, where a message lies alone; what others took meanwhile stays where they put it."""
        ids = chosen.ids if target.id == chosen.mailbox_id else self._moved(chosen, chosen.view, chosen.uids, target)
        others = [
            entry
            for entry in self._mailboxes.tree(chosen.owner_id)
            if entry.id not in {target.id, chosen.mailbox_id}
            and _LEAVE in self._mailboxes.access.rights(chosen.owner_id, chosen.actor, entry)
        ]
        self._mark(chosen, others, ids)
        staying = np.zeros(len(ids), np.bool_)
        for _, view in self._labels.filled(chosen.owner_id, [target]):
            staying = held(ids, view, without=LEAVING)
        for entry, view in self._labels.filled(chosen.owner_id, others):
            self._expunge(chosen, entry, view, ids[staying])
        self._mark(chosen, others, ids[~staying], is_leaving=False)

    def _mark(self, chosen: _Chosen, entries: Sequence[MailboxEntry], ids: Ids, *, is_leaving: bool = True) -> None:
        """Mark the copies of messages that mailboxes hold, or take the mark off."""
        for entry, view in self._labels.filled(chosen.owner_id, entries):
            rows = rows_of(ids, view)
            if len(rows):
                uids = uid_set_of(view.uids[rows])
                self._messages.mark_leaving(chosen.owner_id, chosen.actor, entry.id, uids, is_leaving=is_leaving)

    def _moved(self, chosen: _Chosen, view: MailboxView, uids: UidSet, target: MailboxEntry) -> Ids:
        """Move messages out of a mailbox; return the ids of those that were still there."""
        moved = self._messages.move(chosen.owner_id, chosen.actor, view.mailbox_id, uids, target.name)
        return np.unique(ids_of(view, view.rows_of(moved.source)))

    def _leave(self, chosen: _Chosen, tree: MailboxTree, leaving: Sequence[MailboxEntry]) -> None:
        """Expunge copies; those that nothing else keeps are moved to the archive.

        Whoever takes a copy away marks it first and then looks who keeps the message; a marked copy keeps nobody's. Of
        two who take away each other's last label, the later one to look sees the mark of the other, and archives. So
        a message lies somewhere at every moment, whoever dies where; a mark that is left behind harms nothing.

        Who expunges by other commands marks nothing. So whoever took copies away looks again, and brings back.
        """
        for entry in leaving:
            self._mailboxes.access.require_on(chosen.owner_id, chosen.actor, entry, _LEAVE)
        self._mark(chosen, leaving, chosen.ids)
        fault.hit("labels.marked")
        kept, emptied = self._places(chosen, tree, leaving, marked=LEAVING)
        archive, archived = self._archive(chosen, leaving, chosen.ids[~kept])
        fault.hit("labels.before_expunge")
        expunged = np.zeros(len(chosen.ids), np.bool_)
        for entry, view in self._labels.filled(chosen.owner_id, leaving):
            ids = chosen.ids[kept] if entry == archive else chosen.ids
            expunged |= self._expunge(chosen, entry, view, ids)
        expunged &= ~np.isin(chosen.ids, archived)
        if expunged.any():
            fault.hit("labels.after_expunge")
            kept_now, emptied_now = self._places(chosen, self._mailboxes.tree(chosen.owner_id), ())
            self._bring_back(chosen, chosen.ids[expunged & ~kept_now & ~(emptied_now & ~emptied)])

    def _places(
        self, chosen: _Chosen, tree: MailboxTree, without: Sequence[MailboxEntry], *, marked: int = 0
    ) -> tuple[Mask, Mask]:
        """Return which messages a mailbox keeps, `marked` copies aside, and which lie in one that is emptied."""
        kept, emptied = np.zeros((2, len(chosen.ids)), np.bool_)
        others = [entry for entry in tree if entry not in without]
        for entry, view in self._labels.filled(chosen.owner_id, others):
            mask = emptied if entry.special_use in _EMPTIED else kept
            mask |= held(chosen.ids, view, without=marked)
        return kept, emptied

    def _archive(
        self, chosen: _Chosen, leaving: Sequence[MailboxEntry], lonely: Ids
    ) -> tuple[MailboxEntry | None, Ids]:
        """Move messages from where they lie to the archive, unless they lie there; return it, and what was moved."""
        if not len(lonely):
            return None, lonely
        archive = self._archive_of(chosen)
        left = lonely
        for entry, view in sorted(
            self._labels.filled(chosen.owner_id, leaving), key=lambda each: each[0].id != archive.id
        ):
            rows = rows_of(left, view)
            if entry.id == archive.id:
                self._mark(chosen, [archive], left, is_leaving=False)
                lonely = left = left[~held(left, view)]
            elif len(rows):
                left = np.setdiff1d(left, self._moved(chosen, view, uid_set_of(view.uids[rows]), archive))
        return archive, np.setdiff1d(lonely, left)

    def _archive_of(self, chosen: _Chosen) -> MailboxEntry:
        found = self._mailboxes.tree(chosen.owner_id).find_special(SpecialUse.ARCHIVE)
        return found if found is not None else self._made(chosen, "Archive", SpecialUse.ARCHIVE)

    def _expunge(self, chosen: _Chosen, entry: MailboxEntry, view: MailboxView, ids: Ids) -> Mask:
        """Remove the copies of messages from a mailbox; return which of the chosen messages had one."""
        rows = rows_of(ids, view)
        if not len(rows):
            return np.zeros(len(chosen.ids), np.bool_)
        uids = uid_set_of(view.uids[rows])
        self._messages.expunge(chosen.owner_id, chosen.actor, entry.id, uids, only_deleted=False)
        return np.isin(chosen.ids, ids_of(view, rows))

    def _bring_back(self, chosen: _Chosen, lost: Ids) -> None:
        """Restore messages to the archive: of what was expunged last, so that two who do so take the same."""
        if not len(lost):
            return
        archive = self._archive_of(chosen)
        blocks = self._restoring.blocks(chosen.owner_id, datetime.now(UTC) - LOOK_BACK)
        for block in sorted(blocks, key=lambda each: (each.expunged_at, each.key), reverse=True):
            ids, rows = np.unique(ids_of(block.rows), return_index=True)
            wanted = np.isin(ids, lost)
            if wanted.any():
                self._restoring.restore_rows(chosen.actor, chosen.owner_id, block, np.sort(rows[wanted]), archive.name)
                lost = lost[~np.isin(lost, ids)]
        if len(lost):
            log.error("labels.not_found", extra={"user_id": str(chosen.owner_id), "messages": len(lost)})


def _mailbox_labels(labels: LabelSet) -> list[Label]:
    """Return the labels that are mailboxes, each once."""
    system: list[Label] = [label for label in SystemLabel if label in labels.system and label not in FLAGS]
    return system + list(dict.fromkeys(labels.names))
