"""Messages in mailboxes: append, flags, expunge, copy and move, each one commit to a mailbox's head."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from mailcore import fault
from mailcore.errors import MailboxChanged, ValueInvalid
from mailcore.model.actor import Actor
from mailcore.model.changes import Cause
from mailcore.model.flags import HAS_NOTE, INTERNAL_MASK, LEAVING, SYSTEM_MASK, FlagOperation, FlagSet
from mailcore.model.ids import MailboxId, ModSeq, UserId
from mailcore.model.mailbox import parse_mailbox_name
from mailcore.model.rights import Right
from mailcore.model.uid_set import UidSet
from mailcore.services.content.content import ContentStore
from mailcore.services.content.encryption import Encryptions
from mailcore.services.mailboxes.access import Place, permitted_change
from mailcore.services.mailboxes.appending import Appending, AppendResult, NewMessage
from mailcore.services.mailboxes.commits import Commits
from mailcore.services.mailboxes.encrypting_copies import EncryptingCopies, Rewriting
from mailcore.services.mailboxes.foreign_copies import ForeignCopies
from mailcore.services.mailboxes.keywords import distinct_keywords
from mailcore.services.mailboxes.mailboxes import Mailboxes
from mailcore.services.mailboxes.notices import Notices
from mailcore.services.mailboxes.row_changes import RowChanges, StoreResult
from mailcore.services.mailboxes.transfers import CopyResult, MoveResult, Transfers
from mailcore.services.process.offload import InlineOffload, Offload
from mailcore.services.tenants.quotas import Quotas
from mailcore.store.mailbox.notes import Note
from mailcore.store.mailbox.view import MailboxView
from mailcore.store.mailbox.view_cache import ViewCache
from mailcore.store.placement import Placement

__all__ = [
    "AppendResult", "CopyResult", "ExpungeResult", "Messages", "MoveResult", "NewMessage", "ReplaceResult",
    "StoreResult",
]  # fmt: skip

_CLEAR_ALL: Final = ((1 << 64) - 1) & ~INTERNAL_MASK


@dataclass(frozen=True, slots=True)
class ExpungeResult:
    """Outcome of an expunge."""

    view: MailboxView
    expunged: UidSet


@dataclass(frozen=True, slots=True)
class ReplaceResult:
    """Where the new message is, and the mailbox of the old one without it."""

    appended: AppendResult
    view: MailboxView


class Messages(Appending):
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
        encryptions: Encryptions | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        offload = offload or InlineOffload()
        commits = Commits(placement, mailboxes, views, notices, offload, now)
        super().__init__(placement, mailboxes, quotas, content, encryptions, commits)
        self._changes = RowChanges(self._commits, mailboxes)
        self._transfers = Transfers(self._commits, mailboxes, quotas, self._keywords, self._changes)
        self._encrypting = EncryptingCopies(placement, content, encryptions, offload)
        self._foreign = ForeignCopies(
            placement, mailboxes, quotas, content, encryptions, self.commit_rows, self._commits.now_s
        )
        self._commits.finish_move = self._transfers.finish_move
        mailboxes.use_mover(self._transfers.move_all)

    # -- replacing ------------------------------------------------------------------------------

    def replace(
        self,
        user_id: UserId,
        actor: Actor,
        mailbox_id: MailboxId,
        uids: UidSet,
        name: str,
        message: NewMessage,
        target_owner_id: UserId | None = None,
    ) -> ReplaceResult | None:
        r"""Append a message, then remove those it replaces, \Deleted or not (RFC 8508); None if they are not there.

        What is replaced counts as free already. A crash in between leaves both, never neither. Where the source is
        deleted in between, what was to be replaced is gone, and so all is done.

        Raises:
            MailboxChanged: the source was deleted before.
            MailboxBusy: others kept changing flags for 3 s; the new message is there.
            NotPermitted: the actor may not expunge here, or insert there.
            And as `append`.
        """
        self._mailboxes.access.require(user_id, actor, mailbox_id, Right.DELETE_MESSAGES | Right.EXPUNGE)
        view = self._mailboxes.refresh(user_id, mailbox_id)
        rows = view.rows_of(uids)
        if not len(rows):
            return None
        owner_id = target_owner_id or user_id
        freed_bytes = int(view.sizes[rows].sum()) if owner_id == user_id else 0
        appended = self._append(owner_id, actor, name, [message], freed_bytes)
        fault.hit("replace.after_append")
        try:
            view = self.expunge(user_id, actor, mailbox_id, uids, only_deleted=False).view
        except MailboxChanged:
            pass
        return ReplaceResult(appended, view)

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
            NotPermitted: the actor may change none of these flags; others it may not change are left alone.
        """
        rights = self._mailboxes.access.require(user_id, actor, mailbox_id, Right.NONE)
        flags, may_clear = permitted_change(flags, operation, rights)
        names = distinct_keywords(flags.keywords)
        if names and operation is not FlagOperation.REMOVE:
            self._keywords.bits(user_id, mailbox_id, names.values())

        def masks(view: MailboxView) -> tuple[int, int] | None:
            bits = flags.system & SYSTEM_MASK
            for name in names:
                mask = view.keyword_mask(name)
                if not mask and operation is not FlagOperation.REMOVE:
                    return None
                bits |= mask
            if operation is FlagOperation.ADD:
                return bits, 0
            if operation is FlagOperation.REMOVE:
                return 0, bits
            return bits, _CLEAR_ALL & may_clear

        return self._changes.change_flags(user_id, actor, mailbox_id, uids, masks, unchanged_since)

    def mark_leaving(
        self, user_id: UserId, actor: Actor, mailbox_id: MailboxId, uids: UidSet, *, is_leaving: bool
    ) -> None:
        """Mark copies that are about to be taken away, or take the mark off; one round trip, as a rule.

        Raises:
            MailboxChanged: the mailbox is deleted.
            MailboxBusy: others kept changing flags for 3 s.
        """
        wanted = (LEAVING, 0) if is_leaving else (0, LEAVING)
        self._changes.change_flags(user_id, actor, mailbox_id, uids, lambda _: wanted, None)

    def put_note(self, user_id: UserId, actor: Actor, mailbox_id: MailboxId, uid: int, note: Note | None) -> None:
        """Give one copy of a message a note, or take it away (None).

        Raises:
            MailboxChanged: the mailbox is deleted.
            MailboxBusy: others kept changing flags for 3 s.
            MailReadOnly: the tenant's users change nothing now.
        """
        self._commits.stamp(Cause.STORE, actor)  # a note that takes another's place is no entry of the log
        if note is not None:
            self._commits.stores(user_id).notes.put(user_id, mailbox_id, {uid: note})
        wanted = (HAS_NOTE, 0) if note is not None else (0, HAS_NOTE)
        self._changes.change_flags(user_id, actor, mailbox_id, UidSet(((uid, uid),)), lambda _: wanted, None)
        if note is None:
            self._commits.stores(user_id).notes.delete(user_id, mailbox_id, [uid])

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
            NotPermitted: the actor may not expunge.
        """
        self._mailboxes.access.require(user_id, actor, mailbox_id, Right.EXPUNGE)
        view, expunged = self._changes.expunge(user_id, actor, mailbox_id, uids, cause, only_deleted=only_deleted)
        if expunged:
            self._quotas.forget(user_id)
        return ExpungeResult(view, expunged)

    # -- copy and move --------------------------------------------------------------------------

    def copy(
        self,
        user_id: UserId,
        actor: Actor,
        mailbox_id: MailboxId,
        uids: UidSet,
        target_name: str,
        target_owner_id: UserId | None = None,
    ) -> CopyResult:
        """Add messages to another mailbox too; see `Transfers.copy`, and `ForeignCopies.copy` for another's mailbox.

        A mailbox that keeps mail encrypted gets them encrypted, drafts aside.

        Raises:
            EncryptionFailed: they are to be encrypted, and cannot be.
            NotPermitted: the actor may not read here or insert there.
            And as those.
        """
        self._mailboxes.access.require(user_id, actor, mailbox_id, Right.READ)
        if target_owner_id not in {None, user_id}:
            place = Place(target_owner_id or user_id, parse_mailbox_name(target_name))
            return self._foreign.copy(user_id, actor, mailbox_id, uids, place)
        return self._transfers.copy(
            user_id, actor, mailbox_id, uids, target_name, self._rewriting(user_id, actor, target_name)
        )

    def copy_missing(
        self, user_id: UserId, actor: Actor, mailbox_id: MailboxId, uids: UidSet, target_name: str
    ) -> CopyResult:
        """Add those messages to another mailbox of the user that are not in it, each as the very message it is.

        Raises:
            ValueInvalid: the other mailbox encrypts what comes in, which would make others of them.
            And as `copy`.
        """
        self._mailboxes.access.require(user_id, actor, mailbox_id, Right.READ)
        rewriting = self._rewriting(user_id, actor, target_name)
        if rewriting is not None:
            view = self._mailboxes.refresh(user_id, mailbox_id)
            if rewriting.would_write(view, view.rows_of(uids)):
                raise ValueInvalid("mail comes in encrypted there: move it, or copy it")
        return self._transfers.copy(user_id, actor, mailbox_id, uids, target_name, missing_only=True)

    def move(
        self,
        user_id: UserId,
        actor: Actor,
        mailbox_id: MailboxId,
        uids: UidSet,
        target_name: str,
        target_owner_id: UserId | None = None,
    ) -> MoveResult:
        """Move messages to another mailbox; see `Transfers.move`. To another user's: copied, then expunged.

        What went to another user is another message there: the one it was stays here as long as expunged ones do and
        under any hold, and is offered to nobody.

        Raises:
            NotPermitted: the actor may not read and expunge here, or insert there.
            And as `copy`.
        """
        needed = Right.READ | Right.DELETE_MESSAGES | Right.EXPUNGE
        self._mailboxes.access.require(user_id, actor, mailbox_id, needed)
        if target_owner_id in {None, user_id}:
            rewriting = self._rewriting(user_id, actor, target_name)
            return self._transfers.move(user_id, actor, mailbox_id, uids, target_name, rewriting)
        copied = self.copy(user_id, actor, mailbox_id, uids, target_name, target_owner_id)
        try:
            left = self.expunge(user_id, actor, mailbox_id, copied.source, only_deleted=False, cause=Cause.DISCARD).view
        except MailboxChanged:
            left = None  # deleted meanwhile, and with it what was to be expunged
        return MoveResult(copied.uid_validity, copied.source, copied.target, left)

    def _rewriting(self, user_id: UserId, actor: Actor, target_name: str) -> Rewriting | None:
        """Return what encrypts copies for a mailbox; no round trip for users without keys."""
        if not self._placement.home(user_id).encryption.has_keys:
            return None
        return self._encrypting.into(user_id, self._mailboxes.find(user_id, target_name, actor, Right.INSERT))

    def fold(self, user_id: UserId, mailbox_id: MailboxId) -> bool:
        """Fold a mailbox's log now; return whether there was anything to fold."""
        return self._commits.fold(user_id, mailbox_id)
