"""Messages in mailboxes: append, flags, expunge, copy and move, each one commit to a mailbox's head."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from mailcore import fault
from mailcore.errors import MailboxChanged, MailboxMoving, MailboxNotFound, ValueInvalid
from mailcore.model.actor import Actor
from mailcore.model.changes import Cause, Commit
from mailcore.model.flags import DRAFT, HAS_NOTE, SEEN, SYSTEM_MASK, FlagOperation, FlagSet
from mailcore.model.ids import MailboxId, ModSeq, UidValidity, UserId
from mailcore.model.mailbox import MailboxEntry, SpecialUse, parse_mailbox_name
from mailcore.model.octets import Octets
from mailcore.model.rights import FLAG_RIGHTS, Right
from mailcore.model.row import NewRow
from mailcore.model.uid_set import UidSet
from mailcore.services.access import Place, permitted_change, permitted_flags
from mailcore.services.commits import Commits, ConditionUnmet, Patience
from mailcore.services.content import ContentStore
from mailcore.services.encrypting_copies import EncryptingCopies, Rewriting
from mailcore.services.encryption import Encryptions
from mailcore.services.foreign_copies import ForeignCopies
from mailcore.services.keywords import Keywords, distinct_keywords
from mailcore.services.mailboxes import Mailboxes
from mailcore.services.notices import Notices
from mailcore.services.offload import InlineOffload, Offload
from mailcore.services.quotas import Quotas
from mailcore.services.row_changes import RowChanges, StoreResult, new_key
from mailcore.services.transfers import CopyResult, MoveResult, Transfers
from mailcore.store.direct import Ahead
from mailcore.store.mailbox.head import Conditions, Counters
from mailcore.store.mailbox.log_entry import append_entry
from mailcore.store.mailbox.notes import Note
from mailcore.store.mailbox.packed import pack_rows
from mailcore.store.mailbox.view import MailboxView
from mailcore.store.mailbox.view_cache import ViewCache
from mailcore.store.placement import Home, Placement

__all__ = [
    "AppendResult", "CopyResult", "ExpungeResult", "Messages", "MoveResult", "NewMessage", "ReplaceResult",
    "StoreResult",
]  # fmt: skip

MOVING_WAIT_S: Final = 2.0
_KEEP_NOTE: Final = ((1 << 64) - 1) & ~HAS_NOTE


@dataclass(frozen=True, slots=True)
class NewMessage:
    """A message on its way into a mailbox."""

    raw: Octets = field(repr=False)
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
class ExpungeResult:
    """Outcome of an expunge."""

    view: MailboxView
    expunged: UidSet


@dataclass(frozen=True, slots=True)
class ReplaceResult:
    """Where the new message is, and the mailbox of the old one without it."""

    appended: AppendResult
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
        encryptions: Encryptions | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._placement = placement
        self._mailboxes = mailboxes
        self._quotas = quotas
        self._content = content
        self._encryptions = encryptions
        offload = offload or InlineOffload()
        self._commits = Commits(placement, mailboxes, views, notices, offload, now)
        self._keywords = Keywords(self._commits, mailboxes)
        self._changes = RowChanges(self._commits, mailboxes)
        self._transfers = Transfers(self._commits, mailboxes, quotas, self._keywords, self._changes)
        self._encrypting = EncryptingCopies(placement, content, encryptions, offload)
        self._foreign = ForeignCopies(
            placement, mailboxes, quotas, content, encryptions, self.commit_rows, self._commits.now_s
        )
        self._commits.finish_move = self._transfers.finish_move
        mailboxes.use_mover(self._transfers.move_all)
        self.on_sent_upload: Callable[[UserId, Actor, MailboxId, Sequence[NewRow]], None] = lambda *_: None
        r"""Told of rows appended to \Sent, after their commit."""

    # -- adding ---------------------------------------------------------------------------------

    def append(self, user_id: UserId, actor: Actor, name: str, messages: Sequence[NewMessage]) -> AppendResult:
        """Store messages and add them to a mailbox, all or none (RFC 9051 §6.3.12, RFC 3502).

        Raises:
            MailboxNotFound: there is none of that name.
            OverQuota: they do not fit.
            TooManyKeywords: a flag would be one keyword too many.
            EncryptionFailed: they are to be encrypted, and cannot be.
            StoreUnavailable: outcome unknown.
        """
        return self._append(user_id, actor, name, messages, 0)

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

        What is replaced counts as free already. A crash in between leaves both, never neither.

        Raises:
            MailboxChanged: the source is deleted.
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
        return ReplaceResult(appended, self.expunge(user_id, actor, mailbox_id, uids, only_deleted=False).view)

    def _append(
        self, user_id: UserId, actor: Actor, name: str, messages: Sequence[NewMessage], freed_bytes: int
    ) -> AppendResult:
        entry = self._mailboxes.find(user_id, name, actor, Right.INSERT)
        messages = self._as_permitted(user_id, actor, entry, messages)
        with self._quotas.reserved(user_id, max(0, sum(len(message.raw) for message in messages) - freed_bytes)):
            return self._appended(user_id, actor, entry, messages)

    def _appended(
        self, user_id: UserId, actor: Actor, entry: MailboxEntry, messages: Sequence[NewMessage]
    ) -> AppendResult:
        keywords = [message.flags.keywords for message in messages]
        self._commits.stamp(Cause.APPEND, actor)  # ends a dry run before anything is stored
        key = new_key()
        patience = Patience(MOVING_WAIT_S)
        home = self._placement.home(user_id)
        messages = self._as_stored(home, entry, messages)
        rows, after = self._stored(home, messages)
        while True:
            try:
                commit = self.commit_rows(
                    user_id, entry.id, rows, Cause.APPEND, actor, key, keywords=keywords, after=after
                )
            except MailboxMoving:
                if patience.left_s <= 0:
                    raise
                patience.wait(entry.id)
                if self._placement.home(user_id).shard.name != home.shard.name:
                    home = self._placement.home(user_id)
                    rows, after = self._stored(home, messages)
            except MailboxChanged:
                raise MailboxNotFound(entry.name) from None
            else:
                if entry.special_use is SpecialUse.SENT:
                    self.on_sent_upload(user_id, actor, entry.id, rows)
                last = commit.first_uid + len(rows) - 1
                return AppendResult(entry.id, commit.uid_validity, UidSet(((commit.first_uid, last),)))

    def _as_permitted(
        self, user_id: UserId, actor: Actor, entry: MailboxEntry, messages: Sequence[NewMessage]
    ) -> Sequence[NewMessage]:
        """Return the messages with those flags only that the actor may set (RFC 4314 §4, APPEND)."""
        rights = self._mailboxes.access.rights(user_id, actor, entry)
        if FLAG_RIGHTS in rights:
            return messages
        return [replace(message, flags=permitted_flags(message.flags, rights)) for message in messages]

    def _as_stored(self, home: Home, entry: MailboxEntry, messages: Sequence[NewMessage]) -> Sequence[NewMessage]:
        """Return the messages encrypted, where the user or the mailbox wants that and they are no drafts."""
        if not home.encryption.has_keys or self._encryptions is None:
            return messages
        return [
            message
            if message.flags.system & DRAFT
            else replace(message, raw=self._encryptions.as_stored(home.encryption, entry, message.raw))
            for message in messages
        ]

    def _stored(self, home: Home, messages: Sequence[NewMessage]) -> tuple[list[NewRow], Ahead | None]:
        """Store the content of messages, a single one ahead of its commit; return their rows."""
        now = self._commits.now_s()
        rows = []
        after = None
        for message in messages:
            content = self._content.put(home, self._content.prepare(message.raw), ahead=len(messages) == 1)
            after = content.ahead
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
        return rows, after

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
        as_many_keywords_as_fit: bool = False,
        collection_epoch: int | None = None,
        after: Ahead | None = None,
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
            as_many_keywords_as_fit: leave out those the mailbox has no room for.
            collection_epoch: commit only while the mailbox has this one (restore).
            after: the message of the one row, if it was stored ahead.

        Raises:
            MailboxChanged: the mailbox is deleted, or began another collection epoch.
            MailboxMoving: the user's mail is on its way to another shard.
            TooManyKeywords: a keyword would be one too many.
            StoreUnavailable: outcome unknown; call again with the same key.
        """
        if keywords is not None and any(keywords):
            every = [name for names in keywords for name in names]
            bits = self._keywords.bits(user_id, mailbox_id, every, as_many_as_fit=as_many_keywords_as_fit)
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
                user_id, mailbox_id, entry, changes, Conditions(collection_epoch=collection_epoch), after
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
            return bits, _KEEP_NOTE & may_clear

        return self._changes.change_flags(user_id, actor, mailbox_id, uids, masks, unchanged_since)

    def put_note(self, user_id: UserId, actor: Actor, mailbox_id: MailboxId, uid: int, note: Note | None) -> None:
        """Give one copy of a message a note, or take it away (None).

        Raises:
            MailboxChanged: the mailbox is deleted.
            MailboxBusy: others kept changing flags for 3 s.
        """
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
        left = self.expunge(user_id, actor, mailbox_id, copied.source, only_deleted=False, cause=Cause.MOVE_TO)
        return MoveResult(copied.uid_validity, copied.source, copied.target, left.view)

    def _rewriting(self, user_id: UserId, actor: Actor, target_name: str) -> Rewriting | None:
        """Return what encrypts copies for a mailbox; no round trip for users without keys."""
        if not self._placement.home(user_id).encryption.has_keys:
            return None
        return self._encrypting.into(user_id, self._mailboxes.find(user_id, target_name, actor, Right.INSERT))

    def fold(self, user_id: UserId, mailbox_id: MailboxId) -> bool:
        """Fold a mailbox's log now; return whether there was anything to fold."""
        return self._commits.fold(user_id, mailbox_id)


def _with_flags(row: NewRow, flags: int) -> NewRow:
    return replace(row, flags=flags)
