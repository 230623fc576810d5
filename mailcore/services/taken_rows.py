"""What a MOVE brought from one mailbox to another, as the log of the other tells it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from mailcore.model.ids import MailboxId
from mailcore.model.uid_set import UidSet
from mailcore.services.row_changes import KEY_BYTES
from mailcore.store.mailbox.packed import Array, pack_uids
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
