"""Copies between mailboxes of different users of one tenant: a message belongs to one user, so each is written anew."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from mailcore.errors import MessageNotFound
from mailcore.model.actor import Actor
from mailcore.model.changes import Cause, Commit
from mailcore.model.flags import DRAFT, SYSTEM_MASK, FlagSet, keyword_bit
from mailcore.model.ids import MailboxId, UserId
from mailcore.model.mailbox import MailboxEntry
from mailcore.model.octets import Octets
from mailcore.model.rights import Right
from mailcore.model.row import NewRow
from mailcore.model.uid_set import UidSet
from mailcore.services.content.content import ContentStore
from mailcore.services.content.encryption import Encryptions
from mailcore.services.mailboxes.access import Place, permitted_flags
from mailcore.services.mailboxes.mailboxes import Mailboxes
from mailcore.services.mailboxes.row_changes import new_key
from mailcore.services.mailboxes.transfers import CopyResult
from mailcore.services.tenants.quotas import Quotas
from mailcore.store.mailbox.packed import uid_set_of
from mailcore.store.placement import Placement

if TYPE_CHECKING:
    from mailcore.store.mailbox.view import MailboxView

CommitRows = Callable[..., Commit]


class ForeignCopies:
    """Copies messages from one user's mailbox to another's; attachments stay stored once for the tenant."""

    def __init__(
        self,
        placement: Placement,
        mailboxes: Mailboxes,
        quotas: Quotas,
        content: ContentStore,
        encryptions: Encryptions | None,
        commit_rows: CommitRows,
        now_s: Callable[[], int],
    ) -> None:
        self._placement = placement
        self._mailboxes = mailboxes
        self._quotas = quotas
        self._content = content
        self._encryptions = encryptions
        self._commit_rows = commit_rows
        self._now_s = now_s

    def copy(self, owner_id: UserId, actor: Actor, mailbox_id: MailboxId, uids: UidSet, target: Place) -> CopyResult:
        """Store the messages for the target's owner, whose quota they count on, then name them in one commit.

        Raises:
            MailboxNotFound: there is no such target, or none the actor may know of.
            NotPermitted: the actor may not insert there.
            MessageNotFound: one is gone meanwhile; nothing was copied.
            EncryptionFailed: the target's owner wants it encrypted, and it cannot be; nothing was copied.
            OverQuota, StoreUnavailable: nothing was copied.
        """
        entry = self._mailboxes.find(target.owner_id, target.name, actor, Right.INSERT)
        rights = self._mailboxes.access.rights(target.owner_id, actor, entry)
        view = self._mailboxes.refresh(owner_id, mailbox_id)
        rows = view.rows_of(uids).tolist()
        if not rows:
            return CopyResult(entry.uid_validity, UidSet(), UidSet())
        with self._quotas.reserved(target.owner_id, int(view.sizes[rows].sum())):
            commit = self._committed(actor, target.owner_id, entry, view, rows, rights)
        last = commit.first_uid + len(rows) - 1
        return CopyResult(commit.uid_validity, uid_set_of(view.uids[rows]), UidSet(((commit.first_uid, last),)))

    def _committed(
        self, actor: Actor, owner_id: UserId, entry: MailboxEntry, view: MailboxView, rows: list[int], rights: Right
    ) -> Commit:
        stored: list[NewRow] = []
        keywords: list[tuple[str, ...]] = []
        for row in rows:
            flags = permitted_flags(_flags(view, row), rights)
            stored.append(self._stored(view, row, flags, owner_id, entry))
            keywords.append(flags.keywords)
        return self._commit_rows(
            owner_id,
            entry.id,
            stored,
            Cause.COPY,
            actor,
            new_key(),
            keywords=keywords,
            as_many_keywords_as_fit=True,
        )

    def _stored(self, view: MailboxView, row: int, flags: FlagSet, owner_id: UserId, entry: MailboxEntry) -> NewRow:
        """Write one message for its new owner, encrypted if that one wants it; return its row."""
        oid = view.message_oids[row : row + 1].tobytes()
        found = next(self._content.open_many(view.user_id, [oid]), None)
        if found is None:
            raise MessageNotFound(view.user_id, oid.hex())
        home = self._placement.home(owner_id)
        raw: Octets = b"".join(found.read())
        if self._encryptions is not None and not flags.system & DRAFT:
            raw = self._encryptions.as_stored(home.encryption, entry, raw)
        content = self._content.put(home, self._content.prepare(raw))
        return content.row(flags.system & SYSTEM_MASK, self._now_s(), int(view.internal_dates[row]))


def _flags(view: MailboxView, row: int) -> FlagSet:
    bits = int(view.flags[row])
    names = tuple(name for index, name in enumerate(view.keywords) if bits & keyword_bit(index))
    return FlagSet(bits & SYSTEM_MASK, names)
