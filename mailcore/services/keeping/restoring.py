"""Restoring: bring back what was expunged, while retention still keeps it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

import numpy as np

from mailcore.errors import MailboxChanged, MailboxExists, MailboxNotFound, StoreUnavailable
from mailcore.model.actor import Actor
from mailcore.model.changes import Cause, Commit
from mailcore.model.flags import DELETED, SYSTEM_MASK
from mailcore.model.ids import MailboxId, Uid, UserId
from mailcore.model.row import NewRow
from mailcore.services.mailboxes.mailboxes import Mailboxes
from mailcore.services.mailboxes.messages import Messages
from mailcore.services.tenants.quotas import Quotas
from mailcore.store.mailbox.packed import Array
from mailcore.store.mailbox.purge import Purge, PurgeBlock, restored_number
from mailcore.store.mailbox.view import keyword_names
from mailcore.store.placement import Placement

ATTEMPTS: Final = 6
_NOTHING: Final = np.zeros(0, np.bool_)


@dataclass(frozen=True, slots=True)
class Expunged:
    """Messages that one change expunged and that can be restored."""

    mailbox: str
    cause: Cause
    expunged_at: datetime
    count: int
    size_bytes: int


class Restoring:
    """Lists and restores expunged messages."""

    def __init__(self, placement: Placement, mailboxes: Mailboxes, messages: Messages, quotas: Quotas) -> None:
        self._placement = placement
        self._mailboxes = mailboxes
        self._messages = messages
        self._quotas = quotas

    def list_expunged(self, user_id: UserId, since: datetime | None = None) -> list[Expunged]:
        """Return what can be restored, expunged at or after `since`."""
        return [
            Expunged(block.path, block.cause, block.expunged_at, len(block.rows), int(block.rows.sizes.sum()))
            for block in self.blocks(user_id, since)
        ]

    def restore(self, actor: Actor, user_id: UserId, since: datetime, mailbox: str | None = None) -> int:
        """Put back what was expunged at or after `since`, from one mailbox or from all, and return how many messages.

        Each goes to the mailbox it was in, which is made again if it is gone, with its flags and dates and a new UID.
        About eight round trips for each 1024 messages. What a collection took before is not brought back.

        Raises:
            OverQuota: they do not fit; nothing is restored.
            StoreUnavailable: call again; what was restored already is not there twice.
        """
        blocks = [block for block in self.blocks(user_id, since) if mailbox is None or block.path == mailbox]
        restored = 0
        with self._quotas.reserved(user_id, sum(int(block.rows.sizes.sum()) for block in blocks)):
            for block in blocks:
                everything = np.arange(len(block.rows))
                if self.restore_rows(actor, user_id, block, everything, block.path) is not None:
                    restored += len(block.rows)
        self._quotas.forget(user_id)
        return restored

    def blocks(self, user_id: UserId, since: datetime | None = None) -> Iterator[PurgeBlock]:
        """Yield what is expunged and was not restored, as it was expunged together."""
        shard = self._placement.home(user_id).shard
        for mailbox_id, head in shard.heads.each(user_id):
            if head.state.log:
                self._messages.fold(user_id, mailbox_id)  # what was expunged lately is in the log only
        for block in shard.purge.of_user(user_id, since):
            if not block.is_restored:
                yield block

    def restore_rows(
        self, actor: Actor, user_id: UserId, listed: PurgeBlock, wanted: Array, name: str
    ) -> tuple[MailboxId, Uid] | None:
        """Restore rows of a block into the mailbox of that name; return where the first is, None if they are gone.

        At every moment either it, its restored twin or a mailbox names its messages. The twin stays until it is
        due: a collection that read the mailbox before the commit reads the twin after it. A collection that
        began after the epoch was read makes the commit fail, and the block is looked at again.
        """
        uids = listed.rows.uids[wanted]
        for _ in range(ATTEMPTS):
            try:
                target, epoch = self._target(actor, user_id, name)
            except (MailboxChanged, MailboxNotFound):  # somebody deletes it as often as it is made
                self._mailboxes.forget_tree(user_id)
                continue
            purge = self._placement.home(user_id).shard.purge
            block = self._made_young(purge, user_id, listed.key)
            chosen = np.isin(block.rows.uids, uids) if block is not None else _NOTHING
            if block is None or not chosen.any():
                return None
            part = replace(block, rows=block.rows.take(chosen))
            purge.insert(user_id, [replace(part, number=restored_number(part), revision=0)])
            try:
                commit = self._commit(actor, user_id, part, target, epoch)
            except MailboxChanged:
                self._mailboxes.forget_tree(user_id)
                continue
            purge.keep_rows(block, ~chosen)  # changed meanwhile: listed once more, restored once
            return target, commit.first_uid
        raise StoreUnavailable("collections keep coming in between", user_id)

    @staticmethod
    def _made_young(purge: Purge, user_id: UserId, key: bytes) -> PurgeBlock | None:
        """Return the block as it is once no run under way can take it; None if one was faster."""
        return purge.get(user_id, key) if purge.touch(user_id, key) else None

    def _commit(self, actor: Actor, user_id: UserId, block: PurgeBlock, target: MailboxId, epoch: int) -> Commit:
        commit_key = hashlib.sha256(b"restore" + block.key + block.rows.uids.tobytes()).digest()
        rows, keywords = _rows(block)
        return self._messages.commit_rows(
            user_id,
            target,
            rows,
            Cause.RESTORE,
            actor,
            commit_key,
            keywords=keywords,
            as_many_keywords_as_fit=True,
            collection_epoch=epoch,
        )

    def _target(self, actor: Actor, user_id: UserId, name: str) -> tuple[MailboxId, int]:
        try:
            mailbox_id = self._mailboxes.find(user_id, name).id
        except MailboxNotFound:
            try:
                mailbox_id = self._mailboxes.create(user_id, actor, name)
            except MailboxExists:
                mailbox_id = self._mailboxes.find(user_id, name).id
        state = self._placement.home(user_id).shard.heads.state_of(user_id, mailbox_id)
        if state is None:
            raise MailboxChanged(mailbox_id)
        return mailbox_id, state.collection_epoch


def _rows(block: PurgeBlock) -> tuple[list[NewRow], Sequence[Sequence[str]]]:
    r"""Return rows to append, without \Deleted, and the keywords of each by name."""
    rows = block.rows
    kept = np.uint64(SYSTEM_MASK & ~DELETED)
    made = [
        NewRow(
            block.message_oid(index),
            int(rows.flags[index] & kept),
            int(rows.sizes[index]),
            int(rows.internal_dates[index]),
            int(rows.saved_dates[index]),
            int(rows.header_dates[index]),
            int(rows.threads[index]),
        )
        for index in range(len(rows))
    ]
    return made, [keyword_names(int(flags), block.keywords) for flags in rows.flags]
