"""Transfers: COPY and MOVE, any number of messages with one push to the target."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from mailcore import fault
from mailcore.errors import MailboxChanged, MailboxMoving, MailboxNotFound
from mailcore.model.actor import SYSTEM, Actor
from mailcore.model.changes import Cause
from mailcore.model.flags import HAS_NOTE, LEAVING, keyword_bit
from mailcore.model.ids import MailboxId, MailboxName, UidValidity, UserId
from mailcore.model.rights import Right
from mailcore.model.uid_set import UidSet
from mailcore.services.content.storing import NewRowContent
from mailcore.services.mailboxes.access import flag_mask
from mailcore.services.mailboxes.commits import Commits, ConditionUnmet, Done, Patience
from mailcore.services.mailboxes.copies import ids_of
from mailcore.services.mailboxes.encrypting_copies import Rewriting
from mailcore.services.mailboxes.keywords import Keywords
from mailcore.services.mailboxes.latest_targets import LatestTargets
from mailcore.services.mailboxes.mailboxes import Mailboxes
from mailcore.services.mailboxes.row_changes import RowChanges, new_key
from mailcore.services.mailboxes.taken_rows import Taken, Taking, are_same, move_key, taken_of
from mailcore.services.tenants.quotas import Quotas
from mailcore.store.mailbox.head import DELETED, NO_CONDITIONS, Conditions, Counters, HeadState
from mailcore.store.mailbox.log_entry import LogEntry, append_entry
from mailcore.store.mailbox.packed import LOG_ROW, Array, uid_set_of
from mailcore.store.mailbox.replay import count_unseen
from mailcore.store.mailbox.view import MailboxView

Written = Mapping[bytes, NewRowContent]
BLIND_AFTER_S: Final = 1.5
"""A MOVE into a mailbox that never rests is then pushed without looking who else moved the same."""


@dataclass(frozen=True, slots=True)
class CopyResult:
    """Which UIDs the copies got: both sets in the same order (COPYUID, RFC 4315 §3)."""

    uid_validity: UidValidity
    source: UidSet
    target: UidSet


@dataclass(frozen=True, slots=True)
class MoveResult:
    """As CopyResult, and the source after the move; `view` is None if it was deleted meanwhile."""

    uid_validity: UidValidity
    source: UidSet
    target: UidSet
    view: MailboxView | None


class Transfers:
    """Brings rows from one mailbox of a user to another."""

    def __init__(
        self, commits: Commits, mailboxes: Mailboxes, quotas: Quotas, keywords: Keywords, changes: RowChanges
    ) -> None:
        self._commits = commits
        self._mailboxes = mailboxes
        self._quotas = quotas
        self._keywords = keywords
        self._changes = changes
        self._latest = LatestTargets()

    def copy(
        self,
        user_id: UserId,
        actor: Actor,
        mailbox_id: MailboxId,
        uids: UidSet,
        target_name: str,
        rewriting: Rewriting | None = None,
        *,
        missing_only: bool = False,
    ) -> CopyResult:
        """Add messages to another mailbox too, any number with one push (RFC 9051 §6.4.7).

        Keywords that the target has no room for are left behind: nobody's mail stays out of Trash for them.
        `rewriting` writes those anew that the target does not keep as they are. `missing_only` leaves out what the
        target has; in one that others never let rest it may come a second time, as in a MOVE.

        Four round trips, three into a mailbox that this process has just brought mail to.

        Raises:
            EncryptionFailed: the target encrypts, and one cannot be encrypted.
            MailboxNotFound: there is no mailbox of the target's name.
            MailboxChanged: the source is deleted.
            OverQuota: the copies do not fit.
        """
        target_id = self._mailboxes.find(user_id, target_name, actor, Right.INSERT).id
        self._write_ahead(user_id, actor, mailbox_id, uids, rewriting)
        patience = Patience()
        key = new_key()
        while True:
            target = self._latest.get(user_id, target_id) or self._state_of(user_id, target_id, target_name)
            view = self._mailboxes.refresh(user_id, mailbox_id)  # after the target: see bump_collection_epoch
            rows = view.rows_of(uids)
            conditions = NO_CONDITIONS
            if missing_only:
                there = self._mailboxes.refresh(user_id, target_id)
                rows = rows[~np.isin(ids_of(view, rows), ids_of(there))]
                still = there.highest_modseq if patience.left_s > BLIND_AFTER_S else None
                conditions = Conditions(highest_modseq=still)
            if not len(rows):
                return CopyResult(target.uid_validity, UidSet(), UidSet())
            written = _written(rewriting, view, rows)
            try:
                with self._quotas.reserved(user_id, int(view.sizes[rows].sum(dtype=np.uint64))):
                    done = self._push_rows(
                        user_id, actor, view, rows, target_id, target, key, Cause.COPY, conditions, written
                    )
            except (ConditionUnmet, MailboxMoving):
                self._latest.forget(user_id, target_id)
                patience.wait(target_id)
                continue
            except MailboxChanged:
                self._latest.forget(user_id, target_id)
                raise MailboxNotFound(target_name) from None
            after = _after(target, done)
            if after is not None:
                self._latest.put(user_id, target_id, after)
            first = done.committed.commit.first_uid
            self._copy_notes(user_id, view, rows, target_id, first)
            self._commits.settle(user_id, target_id, done)
            return CopyResult(
                done.committed.commit.uid_validity,
                uid_set_of(view.uids[rows]),
                UidSet(((first, first + len(rows) - 1),)),
            )

    def move(
        self,
        user_id: UserId,
        actor: Actor,
        mailbox_id: MailboxId,
        uids: UidSet,
        target_name: str,
        rewriting: Rewriting | None = None,
    ) -> MoveResult:
        """Move messages to another mailbox (RFC 6851): added there, then expunged here.

        Where somebody deletes the source in between they are moved all the same: the target has them.
        A crash in between leaves them in both; the target's log knows, so the same MOVE again or
        the target's fold finishes it. Nothing is ever lost or, by one target, taken twice.
        What was written anew stays here as anything that is expunged, and under any hold, but is offered to nobody.

        Five round trips, four after a MOVE between the same two if the target has not changed since.

        Raises:
            EncryptionFailed: the target encrypts, and one cannot be encrypted.
            MailboxNotFound: there is no mailbox of the target's name.
            MailboxChanged: the source is deleted before anything was taken from it.
            MailboxBusy: others kept changing the mailboxes for 3 s.
        """
        target_id = self._mailboxes.find(user_id, target_name, actor, Right.INSERT).id
        self._write_ahead(user_id, actor, mailbox_id, uids, rewriting)
        return self._move(user_id, actor, mailbox_id, uids, target_id, target_name, rewriting)

    def _write_ahead(
        self, user_id: UserId, actor: Actor, mailbox_id: MailboxId, uids: UidSet, rewriting: Rewriting | None
    ) -> None:
        """Write anew what has to be, which may take long, before anything waits for it; in a dry run nothing."""
        if rewriting is not None:
            self._commits.stamp(Cause.COPY, actor)
            view = self._mailboxes.refresh(user_id, mailbox_id)
            rewriting.written(view, view.rows_of(uids))

    def _move(
        self,
        user_id: UserId,
        actor: Actor,
        mailbox_id: MailboxId,
        uids: UidSet,
        target_id: MailboxId,
        target_name: str,
        rewriting: Rewriting | None,
    ) -> MoveResult:
        patience = Patience()
        with self._commits.queues.turn(user_id, mailbox_id, patience):
            taking = self._take(user_id, actor, mailbox_id, uids, target_id, target_name, patience, rewriting)
            fault.hit("move.after_copy")
            taken, done = taking.taken, taking.done
            view = self._expunge_taken(user_id, actor, mailbox_id, taken, target_id)
            if taking.after is not None and target_id != mailbox_id:
                self._latest.put(user_id, target_id, taking.after, finished=mailbox_id)
        here, there = taken.here, taken.there
        if done is not None:
            self._commits.settle(user_id, target_id, done)
            if (np.diff(there.astype(np.int64)) < 0).any():  # COPYUID wants both in order
                new = there >= done.committed.commit.first_uid
                here, there = here[new], there[new]
        return MoveResult(taking.uid_validity, uid_set_of(here), uid_set_of(there), view)

    def _expunge_taken(
        self, user_id: UserId, actor: Actor, mailbox_id: MailboxId, taken: Taken, target_id: MailboxId
    ) -> MailboxView | None:
        """Expunge what another mailbox took: the very messages as moved, those it took encrypted as discarded.

        None if the mailbox was deleted meanwhile, and with it what was to be expunged.
        """
        same, view = taken.same, None
        for uids, cause in ((taken.here[same], Cause.MOVE_TO), (taken.here[~same], Cause.DISCARD)):
            if len(uids) or (view is None and cause is Cause.DISCARD):
                try:
                    view, _ = self._changes.expunge(
                        user_id, actor, mailbox_id, uid_set_of(uids), cause, target=target_id, queued=True
                    )
                except MailboxChanged:
                    return None
        return view

    def _take(
        self,
        user_id: UserId,
        actor: Actor,
        mailbox_id: MailboxId,
        uids: UidSet,
        target_id: MailboxId,
        target_name: str,
        patience: Patience,
        rewriting: Rewriting | None,
    ) -> Taking:
        """Add rows to the target unless its log took them."""
        while True:
            is_watched = patience.left_s > BLIND_AFTER_S
            finished = self._latest.get_finished(user_id, target_id, mailbox_id) if is_watched else None
            target, log_base_uid = (finished, 0) if finished else self._target(user_id, target_id, target_name)
            view = self._mailboxes.refresh(user_id, mailbox_id)
            rows = view.rows_of(uids)
            try:
                row_blocks = self._commits.stores(user_id).row_blocks
                known = taken_of(row_blocks, target_id, target.log, log_base_uid, view)
            except LookupError:
                patience.wait(target_id)  # folded since, and so finished; unless its log is damaged
                continue
            before, rows = known.among(view.uids, rows)
            if not len(rows):
                return Taking(before, target.uid_validity)
            written = _written(rewriting, view, rows)
            key = move_key(mailbox_id, target_id, uid_set_of(view.uids[rows]))
            conditions = Conditions(highest_modseq=target.highest_modseq if is_watched else None)
            try:
                done = self._push_rows(
                    user_id, actor, view, rows, target_id, target, key, Cause.MOVE_FROM, conditions, written
                )
            except (ConditionUnmet, MailboxMoving):
                self._latest.forget(user_id, target_id)
                patience.wait(target_id)
                continue
            except MailboxChanged:
                self._latest.forget(user_id, target_id)
                raise MailboxNotFound(target_name) from None
            first = done.committed.commit.first_uid
            self._copy_notes(user_id, view, rows, target_id, first)
            same = np.ones(len(rows), np.bool_)
            if written:
                same = np.array([view.message_oid(row) not in written for row in rows.tolist()])
            taken = before.with_more(Taken(view.uids[rows], np.arange(first, first + len(rows), dtype=np.uint32), same))
            is_all = is_watched and len(before.here) == known.count_in(view.uids)
            return Taking(taken, done.committed.commit.uid_validity, done, _after(target, done) if is_all else None)

    def finish_move(self, user_id: UserId, target_id: MailboxId, entry: LogEntry, first_uid: int) -> None:
        """Expunge what another mailbox took, if whoever moved it died before doing so.

        Called by the target's fold, perhaps in the midst of another change of the source: so it
        takes no turn in the source's queue.
        """
        if entry.mailbox is None:
            return
        source = MailboxId(entry.mailbox)
        rows = entry.rows()
        try:
            view = self._mailboxes.refresh(user_id, source)
            left = np.flatnonzero(np.isin(rows["source_uid"], view.uids))
            if not len(left):
                return
            noted = left[rows["flags"][left] & np.uint64(HAS_NOTE) != 0]
            uids = {int(rows["source_uid"][index]): first_uid + int(index) for index in noted}
            self._commits.stores(user_id).notes.copy(user_id, source, target_id, uids)
            actor = replace(SYSTEM, identity=entry.stamp.party.partition("\n")[0] or SYSTEM.identity)
            taken = Taken(rows["source_uid"], np.empty(0, np.uint32), are_same(view, rows))
            self._expunge_taken(
                user_id, actor, source, replace(taken, here=taken.here[left], same=taken.same[left]), target_id
            )
        except MailboxChanged:
            return  # the source is gone, and with it what was to be expunged

    def move_all(self, user_id: UserId, actor: Actor, mailbox_id: MailboxId, target: MailboxName) -> None:
        """Move everything that is in a mailbox."""
        view = self._mailboxes.refresh(user_id, mailbox_id)
        if view.exists:
            self.move(user_id, actor, mailbox_id, uid_set_of(view.uids), target)

    def _state_of(self, user_id: UserId, target_id: MailboxId, name: str) -> HeadState:
        found = self._commits.stores(user_id).heads.state_of(user_id, target_id)
        if found is None or found.state == DELETED:
            raise MailboxNotFound(name)
        return found

    def _target(self, user_id: UserId, target_id: MailboxId, name: str) -> tuple[HeadState, int]:
        found = self._commits.stores(user_id).heads.log_of(user_id, target_id)
        if found is None or found[0].state == DELETED:
            raise MailboxNotFound(name)
        return found

    def _push_rows(
        self,
        user_id: UserId,
        actor: Actor,
        view: MailboxView,
        rows: Array,
        target_id: MailboxId,
        target: HeadState,
        key: bytes,
        cause: Cause,
        conditions: Conditions,
        written: Written,
    ) -> Done:
        """Push rows of one mailbox to another, their keywords translated, within the target's epoch."""
        stamp = self._commits.stamp(cause, actor)
        packed = np.zeros(len(rows), LOG_ROW)
        packed["message_oid"] = view.message_oids[rows]
        rights = self._mailboxes.access.require(user_id, actor, target_id, Right.NONE)
        packed["flags"] = self._translated(user_id, view, rows, target_id, target.keywords)
        packed["flags"] &= np.uint64(flag_mask(rights) & ~LEAVING)
        packed["size_bytes"] = view.sizes[rows]
        packed["internal_date"] = view.internal_dates[rows]
        packed["saved_date"] = self._commits.now_s()
        packed["header_date"] = view.header_dates[rows]
        packed["thread"] = view.threads[rows]
        for index, row in enumerate(rows.tolist() if written else ()):
            made = written.get(view.message_oid(row))
            if made is not None:
                packed["message_oid"][index] = np.frombuffer(made.message_oid, np.uint8)
                packed["size_bytes"][index] = made.size_bytes
        source = None
        if cause is Cause.MOVE_FROM:
            packed["source_uid"] = view.uids[rows]
            source = view.mailbox_id
        entry = append_entry(stamp, key, packed.tobytes(), source)
        changes = Counters(
            exists=len(rows),
            unseen=count_unseen(packed["flags"]),
            size_bytes=int(packed["size_bytes"].sum(dtype=np.uint64)),
            uid_next=len(rows),
        )
        conditions = Conditions(highest_modseq=conditions.highest_modseq, collection_epoch=target.collection_epoch)
        return self._commits.commit(user_id, target_id, entry, changes, conditions)

    def _translated(
        self, user_id: UserId, view: MailboxView, rows: Array, target_id: MailboxId, keywords: tuple[str, ...]
    ) -> Array:
        """Return the flags of rows with keyword bits of the target's list, as far as that has room."""
        flags = view.flags[rows]
        if view.mailbox_id == target_id or view.keywords == keywords[: len(view.keywords)]:
            return flags
        used = int(np.bitwise_or.reduce(flags))
        names = [(index, name) for index, name in enumerate(view.keywords) if used & keyword_bit(index)]
        result = flags & np.uint64(keyword_bit(0) - 1)
        if names:
            bits = self._keywords.bits(user_id, target_id, [name for _, name in names], as_many_as_fit=True)
            for index, name in names:
                result[flags & np.uint64(keyword_bit(index)) != 0] |= np.uint64(bits[name.lower()])
        return result

    def _copy_notes(
        self, user_id: UserId, view: MailboxView, rows: Array, target_id: MailboxId, first_uid: int
    ) -> None:
        noted = np.flatnonzero(view.flags[rows] & np.uint64(HAS_NOTE))
        if len(noted):
            uids = {int(view.uids[rows[index]]): first_uid + int(index) for index in noted}
            self._commits.stores(user_id).notes.copy(user_id, view.mailbox_id, target_id, uids)


def _written(rewriting: Rewriting | None, view: MailboxView, rows: Array) -> Written:
    """Return what stands for messages in the other mailbox, by their ids."""
    return {} if rewriting is None else rewriting.written(view, rows)


def _after(target: HeadState, done: Done) -> HeadState | None:
    """Return the target right after a commit, with the keywords it had before at least: names are only ever added.

    None if the commit is an earlier one, found again: others may have come since.
    """
    return None if done.committed.repeated else replace(done.committed.after, keywords=target.keywords)
