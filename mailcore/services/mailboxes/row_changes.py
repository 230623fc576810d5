"""Changes of rows: flags and expunges, by compare-and-set on what they were planned from."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from mailcore.errors import MailboxMoving
from mailcore.model.actor import Actor
from mailcore.model.changes import Cause
from mailcore.model.flags import DELETED
from mailcore.model.ids import MailboxId, ModSeq, UserId
from mailcore.model.uid_set import UidSet
from mailcore.services.mailboxes.commits import Commits, ConditionUnmet, Done, Patience
from mailcore.services.mailboxes.mailboxes import Mailboxes
from mailcore.store.mailbox.head import Conditions, Counters
from mailcore.store.mailbox.log_entry import LogEntry, expunge_entry, flags_entry
from mailcore.store.mailbox.packed import uid_set_of
from mailcore.store.mailbox.replay import count_unseen
from mailcore.store.mailbox.view import MailboxView

KEY_BYTES: Final = 16

Masks = Callable[[MailboxView], tuple[int, int] | None]
"""Bits to set and bits to clear, in the keywords of a view; None if it is too old to name them all."""


@dataclass(frozen=True, slots=True)
class StoreResult:
    """Outcome of a flag change; `modified` failed UNCHANGEDSINCE (RFC 7162 §3.1.3)."""

    view: MailboxView
    changed: UidSet
    modified: UidSet


@dataclass(frozen=True, slots=True)
class _Plan:
    """What a change would commit."""

    entry: LogEntry
    changes: Counters


class RowChanges:
    """Changes rows that are there."""

    def __init__(self, commits: Commits, mailboxes: Mailboxes) -> None:
        self._commits = commits
        self._mailboxes = mailboxes

    def change_flags(
        self,
        user_id: UserId,
        actor: Actor,
        mailbox_id: MailboxId,
        uids: UidSet,
        masks: Masks,
        unchanged_since: ModSeq | None,
    ) -> StoreResult:
        """Change flags; what changes nothing writes nothing.

        Raises:
            MailboxChanged: the mailbox is deleted.
            MailboxBusy: others kept changing flags for 3 s.
        """
        key = new_key()
        modified = UidSet()
        changed = UidSet()

        def plan(view: MailboxView) -> _Plan | None:
            nonlocal modified, changed
            rows = view.rows_of(uids)
            if unchanged_since is not None:
                later = view.modseqs[rows] > unchanged_since
                modified = uid_set_of(view.uids[rows[later]])
                rows = rows[~later]
            bits = masks(view)
            if bits is None:
                return None
            set_bits, clear_bits = bits
            before = view.flags[rows]
            after = before & ~np.uint64(clear_bits) | np.uint64(set_bits)
            differ = after != before
            rows = rows[differ]
            changed = uid_set_of(view.uids[rows])
            if not len(rows):
                return None
            stamp = self._commits.stamp(Cause.STORE, actor)
            unseen = count_unseen(after[differ]) - count_unseen(before[differ])
            return _Plan(flags_entry(stamp, key, changed, set_bits, clear_bits), Counters(unseen=unseen))

        view = self._change(user_id, mailbox_id, plan)
        return StoreResult(view, changed, modified)

    def expunge(
        self,
        user_id: UserId,
        actor: Actor,
        mailbox_id: MailboxId,
        uids: UidSet | None,
        cause: Cause,
        *,
        only_deleted: bool = False,
        target: MailboxId | None = None,
        queued: bool = False,
    ) -> tuple[MailboxView, UidSet]:
        """Remove rows; return the mailbox after it and what was removed.

        Args:
            user_id: whose mailbox.
            actor: who removes.
            mailbox_id: which mailbox.
            uids: None for all.
            cause: why.
            only_deleted: spare what is not marked as deleted.
            target: where they went, if they were moved.
            queued: the caller has the mailbox's turn already, and settles.
        """
        key = new_key()
        expunged = UidSet()

        def plan(view: MailboxView) -> _Plan | None:
            nonlocal expunged
            rows = view.rows_of(uids) if uids is not None else np.arange(view.exists)
            if only_deleted:
                rows = rows[view.flags[rows] & np.uint64(DELETED) != 0]
            expunged = uid_set_of(view.uids[rows])
            if not len(rows):
                return None
            return _Plan(
                expunge_entry(self._commits.stamp(cause, actor), key, expunged, target),
                Counters(
                    exists=-len(rows),
                    unseen=-count_unseen(view.flags[rows]),
                    size_bytes=-int(view.sizes[rows].sum(dtype=np.uint64)),
                ),
            )

        return self._change(user_id, mailbox_id, plan, queued=queued), expunged

    def _change(
        self,
        user_id: UserId,
        mailbox_id: MailboxId,
        plan: Callable[[MailboxView], _Plan | None],
        *,
        queued: bool = False,
    ) -> MailboxView:
        """Commit what `plan` makes of the newest view, by compare-and-set on `flag_sequence`.

        The plan is first made on what is in memory, so that one round trip does where nobody else
        changes flags. That nothing is to be done is believed of a fresh view only.
        """
        patience = Patience()
        if not queued:
            with self._commits.queues.turn(user_id, mailbox_id, patience):
                view, done = self._change_queued(user_id, mailbox_id, plan, patience)
        else:
            view, done = self._change_queued(user_id, mailbox_id, plan, patience)
        if done is not None and not queued:
            self._commits.settle(user_id, mailbox_id, done)
        return view

    def _change_queued(
        self,
        user_id: UserId,
        mailbox_id: MailboxId,
        plan: Callable[[MailboxView], _Plan | None],
        patience: Patience,
    ) -> tuple[MailboxView, Done | None]:
        view = self._mailboxes.cached(user_id, mailbox_id)
        fresh = view is None
        if view is None:
            view = self._mailboxes.refresh(user_id, mailbox_id)
        while True:
            wanted = plan(view)
            if wanted is None:
                if fresh:
                    return view, None
            else:
                try:
                    done = self._commits.commit(
                        user_id,
                        mailbox_id,
                        wanted.entry,
                        wanted.changes,
                        Conditions(flag_sequence=view.flag_sequence),
                    )
                except MailboxMoving:
                    patience.wait(mailbox_id)
                except ConditionUnmet:
                    if fresh:
                        patience.wait(mailbox_id)
                else:
                    after = done.view if done.view is not None else self._mailboxes.refresh(user_id, mailbox_id)
                    return after, done
            view = self._mailboxes.refresh(user_id, mailbox_id)
            fresh = True


def new_key() -> bytes:
    """Return a random key for a commit."""
    return secrets.token_bytes(KEY_BYTES)
