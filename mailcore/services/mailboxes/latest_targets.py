"""Mailboxes that this process brought mail to lately, so that the next COPY or MOVE need not read them first.

What is remembered is only ever what a commit is made to depend on: it happens if the mailbox is still as it was
then, and else the mailbox is read. An epoch known for longer is no weaker a proof (`Heads.bump_collection_epoch`).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from mailcore.model.ids import MailboxId, UserId
from mailcore.store import keys
from mailcore.store.mailbox.head import HeadState

MOST: Final = 10_000
REMEMBERED_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class _Latest:
    state: HeadState
    finished: MailboxId | None
    until: float


class LatestTargets:
    """Heads of mailboxes as they were right after a commit of this process."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._latest: dict[bytes, _Latest] = {}

    def get(self, user_id: UserId, mailbox_id: MailboxId) -> HeadState | None:
        """Return a mailbox's counters and keywords, not its log; None if they are not known."""
        latest = self._latest.get(keys.mailbox_key(user_id, mailbox_id))
        return latest.state if latest is not None and self._clock() < latest.until else None

    def get_finished(self, user_id: UserId, mailbox_id: MailboxId, source: MailboxId) -> HeadState | None:
        """Return the same, if nothing that its log took from `source` until then is in `source` any more."""
        latest = self._latest.get(keys.mailbox_key(user_id, mailbox_id))
        is_known = latest is not None and latest.finished == source and self._clock() < latest.until
        return latest.state if latest is not None and is_known else None

    def put(self, user_id: UserId, mailbox_id: MailboxId, state: HeadState, finished: MailboxId | None = None) -> None:
        """Remember a mailbox: as it is after a commit, and of which source it took nothing that is still there."""
        if len(self._latest) >= MOST:
            self._latest.clear()
        latest = _Latest(state, finished, self._clock() + REMEMBERED_S)
        self._latest[keys.mailbox_key(user_id, mailbox_id)] = latest

    def forget(self, user_id: UserId, mailbox_id: MailboxId) -> None:
        """Have the mailbox read next time."""
        self._latest.pop(keys.mailbox_key(user_id, mailbox_id), None)
