r"""The copy in Sent: filed by us, unless the client uploads its own; in either order one is left, the client's.

Our copy has an id made of its Message-ID. So whoever comes second knows: an upload to \Sent looks for our copy of
the same message and removes it, and we look, after filing, for another copy, and then remove ours. Each
removes only ours, and only after the other is committed: one is left, whatever happens at once.
"""

from __future__ import annotations

import hmac
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from mailcore.errors import MailError
from mailcore.model.actor import Actor
from mailcore.model.changes import Cause
from mailcore.model.flags import SEEN
from mailcore.model.ids import MailboxId, MessageOid, Uid, UserId
from mailcore.model.mailbox import MailboxEntry, SpecialUse
from mailcore.model.row import NewRow
from mailcore.model.uid_set import UidSet
from mailcore.services.content.content import ContentStore
from mailcore.services.content.encryption import Encryptions
from mailcore.services.content.prepared import message_id_hash
from mailcore.services.mailboxes.mailboxes import Mailboxes
from mailcore.services.mailboxes.messages import Messages
from mailcore.services.tenants.quotas import Quotas
from mailcore.store.mailbox.view import MailboxView
from mailcore.store.placement import Placement

log = logging.getLogger(__name__)

UPLOADED_WITHIN_S: Final = 3600
"""A client uploads what it sent within so long; older messages in Sent are not looked at."""


@dataclass(frozen=True, slots=True)
class Filed:
    """Where a copy is."""

    mailbox_id: MailboxId
    uid: Uid


class SentCopies:
    """Files what was submitted, once."""

    def __init__(
        self,
        placement: Placement,
        mailboxes: Mailboxes,
        messages: Messages,
        content: ContentStore,
        quotas: Quotas,
        encryptions: Encryptions,
    ) -> None:
        self._encryptions = encryptions
        self._placement = placement
        self._mailboxes = mailboxes
        self._messages = messages
        self._content = content
        self._quotas = quotas
        messages.on_sent_upload = self.uploaded

    def file(
        self, actor: Actor, user_id: UserId, raw: bytes, name: str, into: MailboxEntry | None = None
    ) -> Filed | None:
        r"""File a message in \Sent; return where it is, once, however often this is called.

        Round trips: three, more with attachments. Nothing is filed for a user whose clients do it, or without \Sent.

        Args:
            actor: who sends.
            user_id: whose mailbox.
            raw: the message.
            name: tells the message from others if it has no Message-ID that can be read.
            into: another mailbox, where it is filed in any case.

        Raises:
            OverQuota: it does not fit.
            EncryptionFailed: the user wants it encrypted, and it cannot be.
            StoreUnavailable: outcome unknown; call again.
        """
        home = self._placement.home(user_id)
        entry = into or self.sent(user_id)
        if entry is None or (into is None and home.settings.uploads_sent):
            return None
        with self._quotas.reserved(user_id, len(raw)):
            return self._filed(actor, user_id, raw, name, entry, gives_way=into is None)

    def _filed(
        self, actor: Actor, user_id: UserId, raw: bytes, name: str, entry: MailboxEntry, *, gives_way: bool
    ) -> Filed:
        home = self._placement.home(user_id)
        prepared = self._content.prepare(self._encryptions.as_stored(home.encryption, entry, raw))
        oid = _oid(user_id, prepared.message_id or name.encode())
        content = self._content.put(home, prepared, oid)
        if content.existed:
            there = self._rows_of(self._mailboxes.refresh(user_id, entry.id), oid)
            if there:
                return Filed(entry.id, there[0])
            content = self._content.put(home, prepared)
        row = content.row(SEEN, int(time.time()))
        try:
            commit = self._messages.commit_rows(user_id, entry.id, [row], Cause.APPEND, actor, oid)
        except MailError:
            self._mailboxes.forget_tree(user_id)
            raise
        if gives_way:
            self._give_way(actor, user_id, entry.id, row, prepared.message_id)
        return Filed(entry.id, commit.first_uid)

    def sent(self, user_id: UserId) -> MailboxEntry | None:
        r"""Return the mailbox with the use \Sent; no round trip if this process knows it."""
        entry = self._mailboxes.tree_cached(user_id).find_special(SpecialUse.SENT)
        if entry is None:
            self._mailboxes.forget_tree(user_id)
            entry = self._mailboxes.tree_cached(user_id).find_special(SpecialUse.SENT)
        return entry

    def uploaded(self, user_id: UserId, actor: Actor, mailbox_id: MailboxId, rows: Sequence[NewRow]) -> None:
        r"""Remove our copies of messages that a client has just uploaded to \Sent; one round trip if there are none.

        Old mail that is brought over is passed by. The upload stands, whatever becomes of ours.
        """
        recent = time.time() - UPLOADED_WITHIN_S
        ids = [row.message_id_hash for row in rows if row.message_id_hash and row.internal_date >= recent]
        if not ids:
            return
        try:
            view = self._mailboxes.refresh(user_id, mailbox_id)
        except MailError as error:
            _log_two(user_id, error)
            return
        uids = [uid for number in ids for uid in self._rows_of(view, _oid_of_number(user_id, number))]
        if uids:
            self._remove(actor, user_id, mailbox_id, uids)

    def _give_way(self, actor: Actor, user_id: UserId, mailbox_id: MailboxId, ours: NewRow, message_id: bytes) -> None:
        """Remove our copy if the client's is there; one round trip, a second if something else of its thread is."""
        view = self._mailboxes.refresh(user_id, mailbox_id)
        recent = (view.threads == ours.thread) & (view.saved_dates >= ours.saved_date - UPLOADED_WITHIN_S)
        others = {view.message_oid(row): row for row in recent.nonzero()[0].tolist()}
        others.pop(MessageOid(ours.message_oid), None)
        if not others or not message_id:
            return
        found = self._placement.home(user_id).shard.messages.find(user_id, list(others), {"header_message_id": 1})
        if any(document.get("header_message_id") == message_id for document in found.values()):
            self._remove(actor, user_id, mailbox_id, self._rows_of(view, ours.message_oid))

    def _remove(self, actor: Actor, user_id: UserId, mailbox_id: MailboxId, uids: Sequence[Uid]) -> None:
        """Remove our copies; where that fails two are left, which is better than none."""
        try:
            for uid in uids:
                self._messages.expunge(user_id, actor, mailbox_id, UidSet(((uid, uid),)), only_deleted=False)
        except MailError as error:
            _log_two(user_id, error)

    @staticmethod
    def _rows_of(view: MailboxView, oid: bytes) -> list[Uid]:
        rows = (view.message_oids == np.frombuffer(oid, np.uint8)).all(axis=1).nonzero()[0]
        return [Uid(uid) for uid in view.uids[rows].tolist()]


def _log_two(user_id: UserId, error: MailError) -> None:
    log.warning("sent_copy.two_left", extra={"user": str(user_id), "reason": type(error).__name__})


def _oid(user_id: UserId, message_id: bytes) -> bytes:
    return _oid_of_number(user_id, message_id_hash(user_id, message_id))


def _oid_of_number(user_id: UserId, number: int) -> bytes:
    """Return the id of our copy of the message with that Message-ID."""
    return hmac.digest(user_id.binary, b"sent" + number.to_bytes(8, "big"), "sha256")[:12]
