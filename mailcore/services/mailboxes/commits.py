"""Commits: pushes changes to the heads of mailboxes, tells of them, and folds logs that grew long."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from random import SystemRandom
from typing import Final

from mailcore.errors import Conflict, MailboxBusy, MailboxChanged, MailboxMoving, MailError, StoreDamaged, UidsExhausted
from mailcore.model.actor import Actor
from mailcore.model.changes import Cause
from mailcore.model.ids import MailboxId, UserId
from mailcore.model.limits import DEFAULT_LIMITS
from mailcore.model.uid_set import MAX_NUMBER
from mailcore.services.events.audit import Planned
from mailcore.services.mailboxes.mailboxes import Mailboxes
from mailcore.services.mailboxes.notices import Notices
from mailcore.services.process.offload import Offload
from mailcore.services.process.turns import Turns
from mailcore.services.tenants.standing import check_mail_change
from mailcore.store import keys
from mailcore.store.direct import Ahead
from mailcore.store.mailbox.fold import Fold, fold_is_due
from mailcore.store.mailbox.head import MOVING, NO_CONDITIONS, OPEN, Committed, Conditions, Counters, HeadState, NoMatch
from mailcore.store.mailbox.log_entry import LogEntry, Stamp, fits
from mailcore.store.mailbox.row_blocks import pieces_of
from mailcore.store.mailbox.view import MailboxView
from mailcore.store.mailbox.view_cache import ViewCache
from mailcore.store.placement import Placement
from mailcore.store.shard import ShardStores

log = logging.getLogger(__name__)

BUSY_AFTER_S: Final = 3.0
FIRST_WAIT_S: Final = 0.002
LONGEST_WAIT_S: Final = 0.2
_RANDOM = SystemRandom()


class ConditionUnmet(Conflict):
    """Somebody else changed the mailbox first: read it again. Never leaves the services."""


class Patience:
    """Random, growing waits between attempts, until the time is up."""

    __slots__ = ("_until", "_wait_s")

    def __init__(self, seconds: float = BUSY_AFTER_S) -> None:
        self._until = time.monotonic() + seconds
        self._wait_s = FIRST_WAIT_S

    @property
    def left_s(self) -> float:
        """Seconds until the time is up."""
        return self._until - time.monotonic()

    def wait(self, mailbox_id: MailboxId) -> None:
        """Wait a while.

        Raises:
            MailboxBusy: the time is up.
        """
        if self.left_s <= 0:
            raise MailboxBusy(mailbox_id)
        time.sleep(_RANDOM.uniform(0, self._wait_s))
        self._wait_s = min(LONGEST_WAIT_S, self._wait_s * 1.6)


class MailboxQueues:
    """Lets one flag change at a time of a mailbox happen in this process, for the others would only conflict."""

    def __init__(self) -> None:
        self._turns: Turns[bytes] = Turns()

    def turn(self, user_id: UserId, mailbox_id: MailboxId, patience: Patience) -> AbstractContextManager[None]:
        """Wait for the mailbox's turn.

        Raises:
            MailboxBusy: it did not come in time.
        """
        key = keys.mailbox_key(user_id, mailbox_id)
        return self._turns.take(key, max(0.001, patience.left_s), MailboxBusy(mailbox_id))


@dataclass(frozen=True, slots=True)
class Done:
    """A change that is committed."""

    committed: Committed
    entry: LogEntry
    """With its payload, wherever that is stored."""
    view: MailboxView | None
    """The mailbox right after it, if this process knew the mailbox right before."""


class Commits:
    """Commits entries to mailboxes; what every changing service method goes through.

    Args:
        now: seconds since 1970, for the information in entries; order never comes from it.
    """

    def __init__(
        self,
        placement: Placement,
        mailboxes: Mailboxes,
        views: ViewCache,
        notices: Notices,
        offload: Offload,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.queues = MailboxQueues()
        self._placement = placement
        self._mailboxes = mailboxes
        self._views = views
        self._notices = notices
        self._offload = offload
        self._now = now
        self._folding: set[bytes] = set()
        self.finish_move: Callable[[UserId, MailboxId, LogEntry, int], None] | None = None
        """Expunges from its source what an entry of a target's log took: (user, target, entry, first UID there)."""

    def now_s(self) -> int:
        """Return this process's clock, in whole seconds."""
        return int(self._now())

    def stamp(self, cause: Cause, actor: Actor) -> Stamp:
        """Return what an entry says of why, by whom and when.

        Raises:
            MailReadOnly: the tenant's users change nothing now.
            Planned: the actor only wants to know what would be done.
        """
        if actor.on_behalf_of is not None:
            check_mail_change(self._placement.home(actor.on_behalf_of), actor)
        if actor.dry_run:
            raise Planned(f"mail.{cause.value}", {})
        return Stamp.of(cause, actor, int(self._now() * 1000))

    def stores(self, user_id: UserId) -> ShardStores:
        """Return the stores of the user's shard."""
        return self._placement.home(user_id).shard

    # -- commit ---------------------------------------------------------------------------------

    def commit(
        self,
        user_id: UserId,
        mailbox_id: MailboxId,
        entry: LogEntry,
        changes: Counters,
        conditions: Conditions = NO_CONDITIONS,
        after: Ahead | None = None,
    ) -> Done:
        """Commit one entry, then tell of it: one round trip, one more where the entry is large.

        The caller calls `settle` afterwards, outside of any queue.

        Raises:
            ConditionUnmet: a condition no longer holds.
            MailboxChanged: the mailbox is deleted.
            MailboxMoving: the user's mail is on its way to another shard. What was stored there may
                have to be stored again, so the caller begins anew.
            MailboxBusy: its log is full, and could not be folded for 3 s.
            UidsExhausted: it has no UIDs left for so many.
            StoreUnavailable: outcome unknown; send the same entry again.
        """
        stores = self.stores(user_id)
        stored = self._with_block(stores, user_id, mailbox_id, entry)
        patience = Patience()
        while True:
            try:
                committed = stores.heads.commit(user_id, mailbox_id, stored, changes, conditions, after)
            except NoMatch as unmatched:
                try:
                    self._after_no_match(user_id, mailbox_id, unmatched, changes, conditions)
                except (ConditionUnmet, MailboxChanged, MailboxMoving, UidsExhausted):
                    stores.row_blocks.delete(user_id, mailbox_id, pieces_of(stored))
                    raise
                patience.wait(mailbox_id)
                continue
            if committed.repeated and not _is_named(stored, committed.after):
                stores.row_blocks.delete(user_id, mailbox_id, pieces_of(stored))
            view = self._apply(user_id, mailbox_id, committed, entry)
            self._notices.publish(
                user_id,
                mailbox_id,
                committed.commit.modseq,
                committed.stored if stored.block is None else None,
            )
            return Done(committed, entry, view)

    def _with_block(self, stores: ShardStores, user_id: UserId, mailbox_id: MailboxId, entry: LogEntry) -> LogEntry:
        return entry if fits(entry) else stores.row_blocks.insert(user_id, mailbox_id, entry)

    def _after_no_match(
        self, user_id: UserId, mailbox_id: MailboxId, unmatched: NoMatch, changes: Counters, conditions: Conditions
    ) -> None:
        """Find out why a commit did not happen; return if it is worth sending again."""
        state = unmatched.head.state if unmatched.head is not None else None
        if state is None or state.state not in {OPEN, MOVING}:
            self._views.forget(user_id, mailbox_id)
            self._placement.forget(user_id)
            raise MailboxChanged(mailbox_id)
        if state.state == MOVING:
            self._placement.forget(user_id)
            raise MailboxMoving(user_id)
        if state.log_bytes >= DEFAULT_LIMITS.log_bytes:
            self.fold(user_id, mailbox_id)
            return
        if state.uid_next + changes.uid_next > MAX_NUMBER:
            raise UidsExhausted(mailbox_id)
        if _unmet(state, conditions):
            raise ConditionUnmet(mailbox_id)
        # everything fits now: a fold or another writer came between the commit and the look at why

    def _apply(
        self, user_id: UserId, mailbox_id: MailboxId, committed: Committed, entry: LogEntry
    ) -> MailboxView | None:
        view = self._views.get(user_id, mailbox_id)
        if committed.repeated or view is None or view.highest_modseq != committed.commit.modseq - 1:
            return None
        if not view.names_flags_of(entry):
            return None
        return self._views.put(view.applied([entry]))

    def settle(self, user_id: UserId, mailbox_id: MailboxId, done: Done) -> None:
        """Fold the mailbox if its log is long; a fault is logged only, for the commit stands."""
        if not fold_is_due(done.committed.after):
            return
        try:
            self.fold(user_id, mailbox_id)
        except MailError as error:
            log.warning(
                "mailbox.fold.failed",
                extra={"user_id": str(user_id), "mailbox_id": str(mailbox_id), "reason": repr(error)},
                exc_info=isinstance(error, StoreDamaged),
            )

    # -- fold -----------------------------------------------------------------------------------

    def fold(self, user_id: UserId, mailbox_id: MailboxId) -> bool:
        """Fold a mailbox's log now, unless this process is at it; return whether it was folded.

        One that is being deleted is left to whoever does so, and knows its name.
        """
        key = keys.mailbox_key(user_id, mailbox_id)
        if key in self._folding:
            time.sleep(FIRST_WAIT_S)
            return False
        self._folding.add(key)
        try:
            self._catch_up(user_id, mailbox_id)
            return Fold(
                self.stores(user_id),
                user_id,
                mailbox_id,
                lambda: self._name_of(user_id, mailbox_id),
                lambda entry, first_uid: self._finish(user_id, mailbox_id, entry, first_uid),
                self._offload.pause,
            ).run()
        except MailboxChanged:
            return False
        finally:
            self._folding.discard(key)

    def _catch_up(self, user_id: UserId, mailbox_id: MailboxId) -> None:
        """Bring the view in memory up to date: one that is behind a folded log has to be read whole."""
        if self._views.get(user_id, mailbox_id) is not None:
            try:
                self._mailboxes.refresh(user_id, mailbox_id)
            except MailboxChanged:
                return  # deleted, and to be folded into purge

    def _name_of(self, user_id: UserId, mailbox_id: MailboxId) -> str:
        """Raises: MailboxChanged, where its name has just been taken from it."""
        found = self._mailboxes.tree(user_id).find_id(mailbox_id)
        if found is None:
            raise MailboxChanged(mailbox_id)
        return found.name

    def _finish(self, user_id: UserId, target: MailboxId, entry: LogEntry, first_uid: int) -> None:
        if self.finish_move is not None:
            self.finish_move(user_id, target, entry, first_uid)


def _is_named(stored: LogEntry, state: HeadState) -> bool:
    """Return whether the log names the entry's row block: then this very entry was committed by a lost sending."""
    return stored.block is not None and any(entry.endswith(stored.block) for entry in state.log)


def _unmet(state: HeadState, conditions: Conditions) -> bool:
    return (
        conditions.flag_sequence not in {None, state.flag_sequence}
        or conditions.highest_modseq not in {None, state.highest_modseq}
        or conditions.collection_epoch not in {None, state.collection_epoch}
    )
