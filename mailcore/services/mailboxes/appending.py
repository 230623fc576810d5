"""Adding messages to mailboxes: stored first, then named by one commit to the mailbox's head."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from mailcore.errors import MailboxChanged, MailboxMoving, MailboxNotFound
from mailcore.model.actor import Actor
from mailcore.model.changes import Cause, Commit
from mailcore.model.flags import DRAFT, SEEN, SYSTEM_MASK, FlagSet
from mailcore.model.ids import MailboxId, UidValidity, UserId
from mailcore.model.mailbox import MailboxEntry, SpecialUse
from mailcore.model.octets import Octets
from mailcore.model.rights import FLAG_RIGHTS, Right
from mailcore.model.row import NewRow
from mailcore.model.uid_set import UidSet
from mailcore.services.content.content import ContentStore
from mailcore.services.content.encryption import Encryptions
from mailcore.services.mailboxes.access import permitted_flags
from mailcore.services.mailboxes.commits import Commits, ConditionUnmet, Patience
from mailcore.services.mailboxes.keywords import Keywords
from mailcore.services.mailboxes.mailboxes import Mailboxes
from mailcore.services.mailboxes.row_changes import new_key
from mailcore.services.tenants.quotas import Quotas
from mailcore.store.direct import Ahead
from mailcore.store.mailbox.head import Conditions, Counters
from mailcore.store.mailbox.log_entry import append_entry
from mailcore.store.mailbox.packed import pack_rows
from mailcore.store.placement import Home, Placement

MOVING_WAIT_S: Final = 2.0


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


class Appending:
    """Adds messages; `Messages` adds what changes them."""

    def __init__(
        self,
        placement: Placement,
        mailboxes: Mailboxes,
        quotas: Quotas,
        content: ContentStore,
        encryptions: Encryptions | None,
        commits: Commits,
    ) -> None:
        self._placement = placement
        self._mailboxes = mailboxes
        self._quotas = quotas
        self._content = content
        self._encryptions = encryptions
        self._commits = commits
        self._keywords = Keywords(commits, mailboxes)
        self.on_sent_upload: Callable[[UserId, Actor, MailboxId, Sequence[NewRow]], None] = lambda *_: None
        r"""Told of rows appended to \Sent, after their commit."""

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
            rows.append(content.row(message.flags.system & SYSTEM_MASK, now, message.internal_date))
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


def _with_flags(row: NewRow, flags: int) -> NewRow:
    return replace(row, flags=flags)
