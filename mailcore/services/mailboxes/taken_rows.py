"""What a MOVE brought from one mailbox to another, as the log of the other tells it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mailcore.model.changes import Cause
from mailcore.model.ids import MailboxId, UidValidity
from mailcore.model.uid_set import UidSet
from mailcore.services.mailboxes.commits import Done
from mailcore.services.mailboxes.row_changes import KEY_BYTES
from mailcore.store.mailbox.head import HeadState
from mailcore.store.mailbox.log_entry import LogEntry, appended_count, decode_entry, joined_rows
from mailcore.store.mailbox.packed import Array, pack_uids
from mailcore.store.mailbox.row_blocks import RowBlocks
from mailcore.store.mailbox.view import MailboxView


@dataclass(frozen=True, slots=True)
class Taken:
    """What another mailbox took: UIDs here and there, and whether it took the very message or wrote it anew."""

    here: Array
    there: Array
    same: Array

    def of(self, chosen: Array) -> Taken:
        """Return some of them: by a mask, or by their places in another order."""
        return Taken(self.here[chosen], self.there[chosen], self.same[chosen])

    def among(self, uids: Array, rows: Array) -> tuple[Taken, Array]:
        """Return those that are among the rows of a mailbox with these UIDs, and the other rows."""
        if not len(self.here):
            return self, rows
        return self.of(np.isin(self.here, uids[rows])), rows[~np.isin(uids[rows], self.here)]

    def count_in(self, uids: Array) -> int:
        """Return how many are still in a mailbox with these UIDs."""
        return int(np.isin(self.here, uids).sum()) if len(self.here) else 0

    def with_more(self, more: Taken) -> Taken:
        """Return both, ascending here."""
        if not len(self.here):
            return more
        here = np.concatenate((self.here, more.here))
        both = Taken(here, np.concatenate((self.there, more.there)), np.concatenate((self.same, more.same)))
        return both.of(np.argsort(here))


@dataclass(frozen=True, slots=True)
class Taking:
    """What the target of a MOVE has taken: all that was asked for and is there."""

    taken: Taken
    """UIDs here ascending."""
    uid_validity: UidValidity
    done: Done | None = None
    """The commit, if something was still to be taken."""
    after: HeadState | None = None
    """The target right after it, if nothing else that its log took is still in the source."""


def taken_of(
    row_blocks: RowBlocks, target_id: MailboxId, log: Sequence[bytes], first_uid: int, view: MailboxView
) -> Taken:
    """Return which UIDs of a source the target's log has taken; a round trip only for rows in blocks.

    Raises:
        LookupError: a block is gone: the log was folded since.
    """
    source = view.mailbox_id
    entries: list[LogEntry] = []
    there = [np.empty(0, np.uint32)]
    uid = first_uid
    for stored in log:
        count = appended_count(stored)
        if count and source.binary in stored:
            entry = decode_entry(stored)
            if entry.mailbox == source and entry.stamp.cause is Cause.MOVE_FROM:
                entries.append(entry)
                there.append(np.arange(uid, uid + count, dtype=np.uint32))
        uid += count
    if not entries:
        return Taken(there[0], there[0], np.empty(0, np.bool_))
    rows = joined_rows(row_blocks.resolve(view.user_id, target_id, entries))
    return Taken(rows["source_uid"], np.concatenate(there), are_same(view, rows))


def are_same(view: MailboxView, taken: Array) -> Array:
    """Return which rows that were taken from a mailbox name the message that is there; true of what is gone."""
    rows = np.minimum(np.searchsorted(view.uids, taken["source_uid"]), max(view.exists - 1, 0))
    if not view.exists:
        return np.ones(len(taken), np.bool_)
    gone = view.uids[rows] != taken["source_uid"]
    same: Array = gone | (view.message_oids[rows] == taken["message_oid"]).all(axis=1)
    return same


def move_key(source: MailboxId, target: MailboxId, uids: UidSet) -> bytes:
    """Return the key of a move: the same for the same rows, so that it happens once whoever does it."""
    what = b"move" + source.binary + target.binary + pack_uids(uids)
    return hashlib.blake2b(what, digest_size=KEY_BYTES).digest()
