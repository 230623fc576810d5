"""Messages in mailboxes: append, flags, expunge, copy and move, each one commit to a mailbox's head."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from mailcore import fault
from mailcore.errors import FlagInvalid, MailboxChanged, MailboxMoving, MailboxNotFound, TooManyKeywords
from mailcore.model.actor import Actor
from mailcore.model.changes import Cause, Commit
from mailcore.model.flags import (
    DELETED,
    HAS_NOTE,
    SEEN,
    SYSTEM_MASK,
    FlagOperation,
    FlagSet,
    keyword_bit,
)
from mailcore.model.ids import MailboxId, MailboxName, ModSeq, UidValidity, UserId
from mailcore.model.limits import DEFAULT_LIMITS
from mailcore.model.row import NewRow
from mailcore.model.uid_set import UidSet
from mailcore.services.commits import Commits, ConditionUnmet, Done, Patience
from mailcore.services.content import ContentStore
from mailcore.services.mailboxes import Mailboxes
from mailcore.services.notices import Notices
from mailcore.services.offload import InlineOffload, Offload
from mailcore.services.quotas import Quotas
from mailcore.store.mailbox.heads import NO_CONDITIONS, Conditions, Counters, Head
from mailcore.store.mailbox.log_entry import (
    LogEntry,
    Op,
    append_entry,
    decode_entry,
    expunge_entry,
    flags_entry,
)
from mailcore.store.mailbox.notes import Note
from mailcore.store.mailbox.packed import LOG_ROW, Array, pack_rows, pack_uids
from mailcore.store.mailbox.replay import count_unseen
from mailcore.store.mailbox.view import MailboxView, uid_set_of
from mailcore.store.mailbox.view_cache import ViewCache
from mailcore.store.placement import Home, Placement

KEY_BYTES: Final = 16
MOVING_WAIT_S: Final = 2.0
BLIND_AFTER_S: Final = 1.5
"""A MOVE into a mailbox that never rests is then pushed without looking who else moved the same."""
_KEEP_NOTE: Final = ((1 << 64) - 1) & ~HAS_NOTE


@dataclass(frozen=True, slots=True)
class NewMessage:
    """A message on its way into a mailbox."""

    raw: bytes = field(repr=False)
    flags: FlagSet = field(default_factory=FlagSet)
    internal_date: int | None = None
    """Seconds since 1970; now if None."""


@dataclass(frozen=True, slots=True)
class AppendResult:
    """What appended messages were given."""

    mailbox_id: MailboxId
    uid_validity: UidValidity
    uids: UidSet


@dataclass(frozen=True, slots=True)
class StoreResult:
    """Outcome of a flag change; `modified` failed UNCHANGEDSINCE (RFC 7162 §3.1.3)."""

    view: MailboxView
    changed: UidSet
    modified: UidSet


@dataclass(frozen=True, slots=True)
class ExpungeResult:
    """Outcome of an expunge."""

    view: MailboxView
    expunged: UidSet


@dataclass(frozen=True, slots=True)
class CopyResult:
    """Which UIDs the copies got: both sets in the same order (COPYUID, RFC 4315 §3)."""

    uid_validity: UidValidity
    source: UidSet
    target: UidSet


@dataclass(frozen=True, slots=True)
class MoveResult:
    """As CopyResult, and the source after the move."""

    uid_validity: UidValidity
    source: UidSet
    target: UidSet
    view: MailboxView


class Messages:
    """The door to messages in mailboxes. Every method works on any number of messages with one commit."""

    def __init__(
        self,
        placement: Placement,
        mailboxes: Mailboxes,
        views: ViewCache,
        notices: Notices,
        quotas: Quotas,
        content: ContentStore,
        offload: Offload | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._placement = placement
        self._mailboxes = mailboxes
        self._quotas = quotas
        self._content = content
        self._commits = Commits(placement, mailboxes, views, notices, offload or InlineOffload(), now)
        self._commits.finish_move = self._finish_move
        mailboxes.use_mover(self._move_all)

    # -- adding ---------------------------------------------------------------------------------

    def append(self, user_id: UserId, actor: Actor, name: str, messages: Sequence[NewMessage]) -> AppendResult:
        """Store messages and add them to a mailbox, all or none (RFC 9051 §6.3.12, RFC 3502).

        Raises:
            MailboxNotFound: there is none of that name.
            OverQuota: they do not fit.
            TooManyKeywords: a flag would be one keyword too many.
            StoreUnavailable: outcome unknown.
        """
        entry = self._mailboxes.find(user_id, name)
        self._quotas.check(user_id, sum(len(message.raw) for message in messages))
        keywords = [message.flags.keywords for message in messages]
        key = _new_key()
        patience = Patience(MOVING_WAIT_S)
        home = self._placement.home(user_id)
        rows = self._stored(home, messages)
        while True:
            try:
                commit = self.commit_rows(user_id, entry.id, rows, Cause.APPEND, actor, key, keywords=keywords)
            except MailboxMoving:
                if patience.left_s <= 0:
                    raise
                patience.wait(entry.id)
                if self._placement.home(user_id).shard.name != home.shard.name:
                    home = self._placement.home(user_id)
                    rows = self._stored(home, messages)
            except MailboxChanged:
                raise MailboxNotFound(name) from None
            else:
                last = commit.first_uid + len(rows) - 1
                return AppendResult(entry.id, commit.uid_validity, UidSet(((commit.first_uid, last),)))

    def _stored(self, home: Home, messages: Sequence[NewMessage]) -> list[NewRow]:
        """Store the content of messages; return their rows."""
        now = self._commits.now_s()
        rows = []
        for message in messages:
            content = self._content.put(home, self._content.prepare(message.raw))
            rows.append(
                NewRow(
                    content.message_oid,
                    message.flags.system & SYSTEM_MASK,
                    content.size_bytes,
                    now if message.internal_date is None else message.internal_date,
                    now,
                    content.header_date,
                    content.thread,
                    content.message_id_hash,
                )
            )
        return rows

    def commit_rows(
        self,
        user_id: UserId,
        mailbox_id: MailboxId,
        rows: Sequence[NewRow],
        cause: Cause,
        actor: Actor,
        key: bytes,
        *,
        keywords: Sequence[Sequence[str]] | None = None,
        collection_epoch: int | None = None,
    ) -> Commit:
        """Add rows whose messages are stored: the one push of delivery, append, import and restore.

        Args:
            user_id: whose mailbox.
            mailbox_id: which mailbox.
            rows: in the order of their UIDs, at least one.
            cause: why they come.
            actor: who brings them.
            key: at most 32 bytes; the same key commits once, however often it is sent.
            keywords: names for each row, in addition to the bits in its flags.
            collection_epoch: commit only while the mailbox has this one (restore).

        Raises:
            MailboxChanged: the mailbox is deleted, or began another collection epoch.
            MailboxMoving: the user's mail is on its way to another shard.
            TooManyKeywords: a keyword would be one too many.
            StoreUnavailable: outcome unknown; call again with the same key.
        """
        if keywords is not None and any(keywords):
            bits = self._keyword_bits(user_id, mailbox_id, [name for names in keywords for name in names])
            rows = [
                _with_flags(row, row.flags | sum({bits[name.lower()] for name in names}))
                for row, names in zip(rows, keywords, strict=True)
            ]
        entry = append_entry(self._commits.stamp(cause, actor), key, pack_rows(rows))
        changes = Counters(
            exists=len(rows),
            unseen=sum(not row.flags & SEEN for row in rows),
            size_bytes=sum(row.size_bytes for row in rows),
            uid_next=len(rows),
        )
        try:
            done = self._commits.commit(
                user_id, mailbox_id, entry, changes, Conditions(collection_epoch=collection_epoch)
            )
        except ConditionUnmet:
            raise MailboxChanged(mailbox_id) from None
        self._commits.settle(user_id, mailbox_id, done)
        return done.committed.commit

    # -- flags ----------------------------------------------------------------------------------

    def store(
        self,
        user_id: UserId,
        actor: Actor,
        mailbox_id: MailboxId,
        uids: UidSet,
        operation: FlagOperation,
        flags: FlagSet,
        unchanged_since: ModSeq | None = None,
    ) -> StoreResult:
        """Change flags of any number of messages (RFC 9051 §6.4.6): one round trip if nobody else does.

        What changes nothing writes nothing. UIDs that are not there are passed over.

        Raises:
            MailboxChanged: the mailbox is deleted.
            MailboxBusy: others kept changing flags for 3 s.
            TooManyKeywords: a keyword would be one too many.
            FlagInvalid: not a keyword.
        """
        names = _distinct(flags.keywords)
        if names and operation is not FlagOperation.REMOVE:
            self._keyword_bits(user_id, mailbox_id, names.values())

        def masks(view: MailboxView) -> tuple[int, int]:
            bits = flags.system & SYSTEM_MASK
            for name in names:
                bits |= view.keyword_mask(name)
            if operation is FlagOperation.ADD:
                return bits, 0
            if operation is FlagOperation.REMOVE:
                return 0, bits
            return bits, _KEEP_NOTE

        return self._change_flags(user_id, actor, mailbox_id, uids, masks, unchanged_since)

    def put_note(self, user_id: UserId, actor: Actor, mailbox_id: MailboxId, uid: int, note: Note | None) -> None:
        """Give one copy of a message a note, or take it away (None).

        Raises:
            MailboxChanged: the mailbox is deleted.
            MailboxBusy: others kept changing flags for 3 s.
        """
        if note is not None:
            self._commits.stores(user_id).notes.put(user_id, mailbox_id, {uid: note})
        wanted = (HAS_NOTE, 0) if note is not None else (0, HAS_NOTE)
        self._change_flags(user_id, actor, mailbox_id, UidSet(((uid, uid),)), lambda _: wanted, None)
        if note is None:
            self._commits.stores(user_id).notes.delete(user_id, mailbox_id, [uid])

    def _change_flags(
        self,
        user_id: UserId,
        actor: Actor,
        mailbox_id: MailboxId,
        uids: UidSet,
        masks: Callable[[MailboxView], tuple[int, int]],
        unchanged_since: ModSeq | None,
    ) -> StoreResult:
        key = _new_key()
        modified = UidSet()
        changed = UidSet()

        def plan(view: MailboxView) -> _Plan | None:
            nonlocal modified, changed
            rows = view.rows_of(uids)
            if unchanged_since is not None:
                later = view.modseqs[rows] > unchanged_since
                modified = uid_set_of(view.uids[rows[later]])
                rows = rows[~later]
            set_bits, clear_bits = masks(view)
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

    # -- expunge --------------------------------------------------------------------------------

    def expunge(
        self,
        user_id: UserId,
        actor: Actor,
        mailbox_id: MailboxId,
        uids: UidSet | None,
        only_deleted: bool = True,
        *,
        cause: Cause = Cause.EXPUNGE,
    ) -> ExpungeResult:
        r"""Remove messages (RFC 9051 §6.4.3): those with \Deleted among `uids`, or all of `uids`.

        Their messages stay until retention lets them go.

        Raises:
            MailboxChanged: the mailbox is deleted.
            MailboxBusy: others kept changing flags for 3 s.
        """
        view, expunged = self._expunge(user_id, actor, mailbox_id, uids, cause, only_deleted=only_deleted)
        if expunged:
            self._quotas.forget(user_id)
        return ExpungeResult(view, expunged)

    def _expunge(
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
        key = _new_key()
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

    # -- copy and move --------------------------------------------------------------------------

    def copy(self, user_id: UserId, actor: Actor, mailbox_id: MailboxId, uids: UidSet, target_name: str) -> CopyResult:
        """Add messages to another mailbox too, any number with one push (RFC 9051 §6.4.7).

        Raises:
            MailboxNotFound: there is no mailbox of the target's name.
            MailboxChanged: the source is deleted.
            OverQuota: the copies do not fit.
            TooManyKeywords: the target has no room for a keyword.
        """
        target_id = self._mailboxes.find(user_id, target_name).id
        patience = Patience()
        key = _new_key()
        while True:
            target = self._target(user_id, target_id, target_name)
            view = self._mailboxes.refresh(user_id, mailbox_id)  # after the target: see bump_collection_epoch
            rows = view.rows_of(uids)
            if not len(rows):
                return CopyResult(target.state.uid_validity, UidSet(), UidSet())
            self._quotas.check(user_id, int(view.sizes[rows].sum(dtype=np.uint64)))
            try:
                done = self._push_rows(user_id, actor, view, rows, target_id, target, key, Cause.COPY, NO_CONDITIONS)
            except (ConditionUnmet, MailboxMoving):
                patience.wait(target_id)
                continue
            except MailboxChanged:
                raise MailboxNotFound(target_name) from None
            first = done.committed.commit.first_uid
            self._copy_notes(user_id, view, rows, target_id, first)
            self._commits.settle(user_id, target_id, done)
            return CopyResult(
                done.committed.commit.uid_validity,
                uid_set_of(view.uids[rows]),
                UidSet(((first, first + len(rows) - 1),)),
            )

    def move(self, user_id: UserId, actor: Actor, mailbox_id: MailboxId, uids: UidSet, target_name: str) -> MoveResult:
        """Move messages to another mailbox (RFC 6851): added there, then expunged here.

        A crash in between leaves them in both; the target's log knows, so the same MOVE again or
        the target's fold finishes it. Nothing is ever lost or, by one target, taken twice.

        Raises:
            MailboxNotFound: there is no mailbox of the target's name.
            MailboxChanged: the source is deleted.
            MailboxBusy: others kept changing the mailboxes for 3 s.
        """
        target_id = self._mailboxes.find(user_id, target_name).id
        return self._move(user_id, actor, mailbox_id, uids, target_id, target_name)

    def _move(
        self,
        user_id: UserId,
        actor: Actor,
        mailbox_id: MailboxId,
        uids: UidSet,
        target_id: MailboxId,
        target_name: str,
    ) -> MoveResult:
        patience = Patience()
        with self._commits.queues.turn(user_id, mailbox_id, patience):
            taken, done, uid_validity = self._take(user_id, actor, mailbox_id, uids, target_id, target_name, patience)
            fault.hit("move.after_copy")
            view, _ = self._expunge(
                user_id, actor, mailbox_id, uid_set_of(taken[0]), Cause.MOVE_TO, target=target_id, queued=True
            )
        if done is not None:
            self._commits.settle(user_id, target_id, done)
            if (np.diff(taken[1].astype(np.int64)) < 0).any():  # COPYUID wants both in order
                new = taken[1] >= done.committed.commit.first_uid
                taken = taken[0][new], taken[1][new]
        return MoveResult(uid_validity, uid_set_of(taken[0]), uid_set_of(taken[1]), view)

    def _take(
        self,
        user_id: UserId,
        actor: Actor,
        mailbox_id: MailboxId,
        uids: UidSet,
        target_id: MailboxId,
        target_name: str,
        patience: Patience,
    ) -> tuple[tuple[Array, Array], Done | None, UidValidity]:
        """Add rows to the target unless its log took them; return their UIDs here, ascending, and there."""
        while True:
            target = self._target(user_id, target_id, target_name)
            view = self._mailboxes.refresh(user_id, mailbox_id)
            rows = view.rows_of(uids)
            try:
                known = self._taken(user_id, target_id, target, mailbox_id)
            except LookupError:
                continue  # folded since, and so finished
            before = known[0][np.isin(known[0], view.uids[rows])], known[1][np.isin(known[0], view.uids[rows])]
            rows = rows[~np.isin(view.uids[rows], known[0])]
            if not len(rows):
                return before, None, target.state.uid_validity
            key = _move_key(mailbox_id, target_id, uid_set_of(view.uids[rows]))
            conditions = Conditions(
                highest_modseq=target.state.highest_modseq if patience.left_s > BLIND_AFTER_S else None
            )
            try:
                done = self._push_rows(user_id, actor, view, rows, target_id, target, key, Cause.MOVE_FROM, conditions)
            except (ConditionUnmet, MailboxMoving):
                patience.wait(target_id)
                continue
            except MailboxChanged:
                raise MailboxNotFound(target_name) from None
            first = done.committed.commit.first_uid
            self._copy_notes(user_id, view, rows, target_id, first)
            here = np.concatenate((before[0], view.uids[rows]))
            there = np.concatenate((before[1], np.arange(first, first + len(rows), dtype=np.uint32)))
            order = np.argsort(here)
            return (here[order], there[order]), done, done.committed.commit.uid_validity

    def _taken(self, user_id: UserId, target_id: MailboxId, target: Head, source: MailboxId) -> tuple[Array, Array]:
        """Return which UIDs of a source the target's log has taken, and the UIDs they got."""
        entries = [decode_entry(stored) for stored in target.state.log]
        here = [np.empty(0, np.uint32)]
        there = [np.empty(0, np.uint32)]
        if any(entry.op is Op.APPEND and entry.mailbox == source for entry in entries):
            uid = target.log_base_uid
            for entry in self._commits.stores(user_id).row_blocks.resolve(user_id, target_id, entries):
                if entry.op is Op.APPEND and entry.mailbox == source and entry.stamp.cause is Cause.MOVE_FROM:
                    here.append(entry.rows()["source_uid"])
                    there.append(np.arange(uid, uid + entry.appended, dtype=np.uint32))
                uid += entry.appended
        return np.concatenate(here), np.concatenate(there)

    def _finish_move(self, user_id: UserId, source: MailboxId, uids: UidSet, target: MailboxId, actor: Actor) -> None:
        """Expunge what another mailbox took, if whoever moved it died before doing so."""
        try:
            self._expunge(user_id, actor, source, uids, Cause.MOVE_TO, target=target)
        except MailboxChanged:
            return  # the source is gone, and with it what was to be expunged

    def _move_all(self, user_id: UserId, actor: Actor, mailbox_id: MailboxId, target: MailboxName) -> None:
        view = self._mailboxes.refresh(user_id, mailbox_id)
        if view.exists:
            self.move(user_id, actor, mailbox_id, uid_set_of(view.uids), target)

    def _target(self, user_id: UserId, target_id: MailboxId, name: str) -> Head:
        head = self._commits.stores(user_id).heads.read(user_id, target_id)
        if head is None or head.state.state == "deleted":
            raise MailboxNotFound(name)
        return head

    def _push_rows(
        self,
        user_id: UserId,
        actor: Actor,
        view: MailboxView,
        rows: Array,
        target_id: MailboxId,
        target: Head,
        key: bytes,
        cause: Cause,
        conditions: Conditions,
    ) -> Done:
        """Push rows of one mailbox to another, their keywords translated, within the target's epoch."""
        packed = np.zeros(len(rows), LOG_ROW)
        packed["message_oid"] = view.message_oids[rows]
        packed["flags"] = self._translated(user_id, view, rows, target_id, target.state.keywords)
        packed["size_bytes"] = view.sizes[rows]
        packed["internal_date"] = view.internal_dates[rows]
        packed["saved_date"] = self._commits.now_s()
        packed["header_date"] = view.header_dates[rows]
        packed["thread"] = view.threads[rows]
        source = None
        if cause is Cause.MOVE_FROM:
            packed["source_uid"] = view.uids[rows]
            source = view.mailbox_id
        entry = append_entry(self._commits.stamp(cause, actor), key, packed.tobytes(), source)
        changes = Counters(
            exists=len(rows),
            unseen=count_unseen(packed["flags"]),
            size_bytes=int(packed["size_bytes"].sum(dtype=np.uint64)),
            uid_next=len(rows),
        )
        conditions = Conditions(
            highest_modseq=conditions.highest_modseq, collection_epoch=target.state.collection_epoch
        )
        return self._commits.commit(user_id, target_id, entry, changes, conditions)

    def _translated(
        self, user_id: UserId, view: MailboxView, rows: Array, target_id: MailboxId, keywords: tuple[str, ...]
    ) -> Array:
        """Return the flags of rows with keyword bits of the target's list."""
        flags = view.flags[rows]
        if view.mailbox_id == target_id or view.keywords == keywords[: len(view.keywords)]:
            return flags
        used = int(np.bitwise_or.reduce(flags))
        names = [(index, name) for index, name in enumerate(view.keywords) if used & keyword_bit(index)]
        result = flags & np.uint64(keyword_bit(0) - 1)
        if names:
            bits = self._keyword_bits(user_id, target_id, [name for _, name in names])
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

    # -- parts ----------------------------------------------------------------------------------

    def fold(self, user_id: UserId, mailbox_id: MailboxId) -> bool:
        """Fold a mailbox's log now; return whether there was anything to fold."""
        return self._commits.fold(user_id, mailbox_id)

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

    def _keyword_bits(self, user_id: UserId, mailbox_id: MailboxId, names: Iterable[str]) -> dict[str, int]:
        """Return the bits of keywords by lower-case name; unknown ones are added to the mailbox first."""
        wanted = _distinct(names)
        for name in wanted.values():
            _check_keyword(name)
        view = self._mailboxes.cached(user_id, mailbox_id)
        if view is not None:
            bits = {name: view.keyword_mask(name) for name in wanted}
            if all(bits.values()):
                return bits
        patience = Patience()
        heads = self._commits.stores(user_id).heads
        while True:
            state = heads.state_of(user_id, mailbox_id)
            if state is None or state.state == "deleted":
                raise MailboxChanged(mailbox_id)
            known = {name.lower(): keyword_bit(index) for index, name in enumerate(state.keywords)}
            missing = [name for lower, name in wanted.items() if lower not in known]
            if not missing:
                if view is not None:
                    self._mailboxes.refresh(user_id, mailbox_id)  # so that the cached view has the names
                return {name: known[name] for name in wanted}
            if len(known) + len(missing) > DEFAULT_LIMITS.keywords:
                raise TooManyKeywords(mailbox_id, len(known))
            if heads.add_keywords(user_id, mailbox_id, len(known), missing) is None:
                patience.wait(mailbox_id)


@dataclass(frozen=True, slots=True)
class _Plan:
    """What a change of flags or an expunge would commit."""

    entry: LogEntry
    changes: Counters


def _new_key() -> bytes:
    return secrets.token_bytes(KEY_BYTES)


def _move_key(source: MailboxId, target: MailboxId, uids: UidSet) -> bytes:
    """Return the key of a move: the same for the same rows, so that it happens once whoever does it."""
    what = b"move" + source.binary + target.binary + pack_uids(uids)
    return hashlib.blake2b(what, digest_size=KEY_BYTES).digest()


def _distinct(names: Iterable[str]) -> dict[str, str]:
    """Return keywords by lower-case name; of several spellings the first."""
    distinct: dict[str, str] = {}
    for name in names:
        distinct.setdefault(name.lower(), name)
    return distinct


def _with_flags(row: NewRow, flags: int) -> NewRow:
    return NewRow(
        row.message_oid, flags, row.size_bytes, row.internal_date, row.saved_date, row.header_date, row.thread,
        row.message_id_hash,
    )  # fmt: skip


def _check_keyword(name: str) -> None:
    r"""Refuse what is no keyword: the grammar's atom of at most 255 bytes without "\" in front (RFC 9051 §9)."""
    if not name or len(name.encode()) > DEFAULT_LIMITS.keyword_bytes or not name.isascii() or not name.isprintable():
        raise FlagInvalid(name[:40])
    if any(character in '(){ %*"\\]' for character in name):
        raise FlagInvalid(name[:40])
