"""The archive: messages that were expunged and can be restored, one by one, as the API shows them.

Each has a number of its own, made of its mailbox and UID, which never name another message.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import numpy as np
import numpy.typing as npt

from mailcore.errors import MailboxNotFound, MessageNotFound
from mailcore.model.actor import Actor
from mailcore.model.changes import Cause
from mailcore.model.flags import DRAFT
from mailcore.model.ids import MailboxId, UserId
from mailcore.services.keeping.restoring import Restoring
from mailcore.services.mailboxes.mailboxes import Mailboxes
from mailcore.services.tenants.quotas import Quotas
from mailcore.store.mailbox.purge import PurgeBlock

Numbers = npt.NDArray[np.int64]
NUMBER_BITS: Final = 52
"""Larger ones do not survive JavaScript."""
_MASK: Final = np.uint64((1 << NUMBER_BITS) - 1)
_STEP: Final = np.uint64(0x9E3779B97F4A5)


@dataclass(frozen=True, slots=True)
class Archived:
    """Every message of a user's archive.

    Attributes:
        blocks: what was expunged together.
        places: for each message its block, and its row in it.
        numbers: for each message its number.
        instants: for each message when it was expunged, in milliseconds since 1970.
    """

    blocks: Sequence[PurgeBlock]
    places: npt.NDArray[np.int64]
    numbers: Numbers
    instants: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.numbers)

    def at(self, index: int) -> tuple[PurgeBlock, int]:
        """Return block and row of a message."""
        block, row = self.places[index].tolist()
        return self.blocks[block], row

    def find(self, number: int) -> tuple[PurgeBlock, int] | None:
        """Return block and row of the message of that number."""
        found = np.flatnonzero(self.numbers == number)
        return self.at(int(found[0])) if len(found) else None


class Archive:
    """Lists and restores single messages; drafts, and what was discarded, are not in it."""

    def __init__(self, restoring: Restoring, mailboxes: Mailboxes, quotas: Quotas) -> None:
        self._restoring = restoring
        self._mailboxes = mailboxes
        self._quotas = quotas

    def of_user(self, user_id: UserId) -> Archived:
        """Return all that a user can restore: a fold for each mailbox that changed lately, and a read of the purge.

        Raises:
            StoreUnavailable: not known now.
        """
        blocks = [block for block in self._restoring.blocks(user_id) if block.cause is not Cause.DISCARD]
        parts = [(number, *_listed(block)) for number, block in enumerate(blocks)]
        places = [np.stack([np.full(len(rows), number), rows], axis=1) for number, rows, _ in parts]
        instants = [np.full(len(rows), _milliseconds(blocks[number].expunged_at)) for number, rows, _ in parts]
        return Archived(
            blocks,
            np.concatenate(places or [np.empty((0, 2), np.int64)]),
            np.concatenate([numbers for _, _, numbers in parts] or [np.empty(0, np.int64)]),
            np.concatenate(instants or [np.empty(0, np.int64)]),
        )

    def restore(
        self, actor: Actor, user_id: UserId, number: int, mailbox_id: MailboxId | None = None
    ) -> tuple[MailboxId, int]:
        """Put one message back where it was, or into another mailbox, and return where it is.

        Raises:
            MessageNotFound: there is none of that number, or somebody restored it already.
            MailboxNotFound: there is no such mailbox.
            OverQuota: it does not fit.
        """
        found = self.of_user(user_id).find(number)
        if found is None:
            raise MessageNotFound(number)
        block, row = found
        name = block.path
        if mailbox_id is not None:
            entry = self._mailboxes.tree(user_id).find_id(mailbox_id)
            if entry is None:
                raise MailboxNotFound(mailbox_id)
            name = entry.name
        with self._quotas.reserved(user_id, int(block.rows.sizes[row])):
            restored = self._restoring.restore_rows(actor, user_id, block, np.array([row]), name)
        if restored is None:
            raise MessageNotFound(number)
        return restored

    def restore_between(self, actor: Actor, user_id: UserId, start: datetime, end: datetime) -> int:
        """Put back where it was what was expunged from `start` to `end`, and return how many messages that were.

        Raises:
            OverQuota: they do not fit; nothing is restored.
            StoreUnavailable: call again; what was restored already is not there twice.
        """
        wanted = [
            (block, rows)
            for block in self._restoring.blocks(user_id, start)
            if block.cause is not Cause.DISCARD and block.expunged_at <= end and len(rows := _listed(block)[0])
        ]
        restored = 0
        with self._quotas.reserved(user_id, sum(int(block.rows.sizes[rows].sum()) for block, rows in wanted)):
            for block, rows in wanted:
                if self._restoring.restore_rows(actor, user_id, block, rows, block.path) is not None:
                    restored += len(rows)
        self._quotas.forget(user_id)
        return restored


def numbers_of(mailbox_id: MailboxId, uids: npt.NDArray[np.uint32]) -> Numbers:
    """Return the numbers of messages of a mailbox by their UIDs."""
    base = int.from_bytes(hashlib.sha256(b"archive" + mailbox_id.binary).digest()[:8], "big")
    mixed = (uids.astype(np.uint64) * _STEP + np.uint64(base)) & _MASK
    return mixed.astype(np.int64)


def _listed(block: PurgeBlock) -> tuple[npt.NDArray[np.int64], Numbers]:
    """Return the rows of a block that are in the archive, and their numbers."""
    rows = np.flatnonzero((block.rows.flags & np.uint64(DRAFT)) == 0)
    return rows, numbers_of(block.mailbox_id, block.rows.uids[rows])


def _milliseconds(at: datetime) -> int:
    return int(at.timestamp() * 1000)
