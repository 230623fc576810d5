"""Expiry: messages leave a mailbox when their time there is over; they can be restored as any that were deleted."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime

import numpy as np

from mailcore.errors import MailboxChanged, MailError
from mailcore.model.actor import Actor
from mailcore.model.changes import Cause
from mailcore.model.ids import MailboxId, UserId
from mailcore.model.uid_set import UidSet
from mailcore.services.mailboxes.mailboxes import Mailboxes
from mailcore.services.mailboxes.messages import Messages
from mailcore.store.placement import Placement

log = logging.getLogger(__name__)

NOTES_AT_ONCE = 10_000


class Expiry:
    """Expunges what has been in its mailbox for as long as that keeps it, and what has an expiry of its own."""

    def __init__(
        self,
        placement: Placement,
        mailboxes: Mailboxes,
        messages: Messages,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._placement = placement
        self._mailboxes = mailboxes
        self._messages = messages
        self._clock = clock

    def run(self, actor: Actor, shard_name: str) -> int:
        """Expunge what is due on a shard, and return how many messages; what fails is left for the next run."""
        shard = self._placement.shard(shard_name)
        expunged = 0
        due = shard.notes.due(datetime.fromtimestamp(self._clock(), UTC), NOTES_AT_ONCE)
        for user_id, mailboxes in due.items():
            for mailbox_id, uids in mailboxes.items():
                try:
                    expunged += self._expunged(actor, user_id, mailbox_id, UidSet.of(uids))
                    shard.notes.delete(user_id, mailbox_id, uids)
                except MailError as error:
                    log.warning("expiry.user.failed", extra={"user": str(user_id), "reason": type(error).__name__})
        expiring = self._placement.directory.users.list_expiring(shard_name)
        for user_id in dict.fromkeys([*shard.trees.users_with_retention(), *expiring]):
            expunged += self._of_user(actor, user_id)
        return expunged

    def _of_user(self, actor: Actor, user_id: UserId) -> int:
        expunged = 0
        try:
            usual_ms = self._placement.home(user_id).settings.expires_after_s * 1000
            for entry in self._mailboxes.tree(user_id):
                retention_ms = entry.retention_ms or usual_ms
                if retention_ms:
                    view = self._mailboxes.refresh(user_id, entry.id)
                    oldest = self._clock() - retention_ms / 1000
                    uids = UidSet.of_ascending(view.uids[view.saved_dates <= np.int64(oldest)])
                    expunged += self._expunged(actor, user_id, entry.id, uids)
        except MailError as error:
            log.warning("expiry.user.failed", extra={"user": str(user_id), "reason": type(error).__name__})
        return expunged

    def _expunged(self, actor: Actor, user_id: UserId, mailbox_id: MailboxId, uids: UidSet) -> int:
        if not uids:
            return 0
        try:
            done = self._messages.expunge(user_id, actor, mailbox_id, uids, only_deleted=False, cause=Cause.RETENTION)
        except MailboxChanged:
            return 0  # deleted, with all that was in it
        return len(done.expunged)
