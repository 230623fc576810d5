"""Copies into mailboxes that keep mail encrypted: what is not encrypted yet is written anew (decision 18)."""

from __future__ import annotations

import numpy as np

from mailcore.errors import MessageNotFound
from mailcore.message.encrypted import is_encrypted
from mailcore.model.flags import DRAFT
from mailcore.model.ids import UserId
from mailcore.model.mailbox import MailboxEntry
from mailcore.services.content.content import ContentStore
from mailcore.services.content.encryption import Encryptions
from mailcore.services.content.storing import NewRowContent
from mailcore.services.process.offload import Offload
from mailcore.store.mailbox.packed import Array
from mailcore.store.mailbox.view import MailboxView
from mailcore.store.placement import Placement


class EncryptingCopies:
    """Knows which copies have to be encrypted, and writes those messages anew."""

    def __init__(
        self, placement: Placement, content: ContentStore, encryptions: Encryptions | None, offload: Offload
    ) -> None:
        self._placement = placement
        self._content = content
        self._encryptions = encryptions
        self._offload = offload

    def into(self, user_id: UserId, target: MailboxEntry) -> Rewriting | None:
        """Return what writes messages for a mailbox, None where they stay as they are; no round trip."""
        if self._encryptions is None:
            return None
        if not self._encryptions.applies(self._placement.home(user_id).encryption, target):
            return None
        return Rewriting(self._placement, self._content, self._encryptions, self._offload, user_id)


class Rewriting:
    """What one COPY or MOVE wrote anew so far, however often its commit has to be tried."""

    def __init__(
        self,
        placement: Placement,
        content: ContentStore,
        encryptions: Encryptions,
        offload: Offload,
        user_id: UserId,
    ) -> None:
        self._placement = placement
        self._content = content
        self._encryptions = encryptions
        self._offload = offload
        self._user = user_id
        self._shard = ""
        self._known: dict[bytes, NewRowContent | None] = {}

    def written(self, view: MailboxView, rows: Array) -> dict[bytes, NewRowContent]:
        """Store anew what has to be encrypted, by the id it has where it is; drafts and encrypted mail are left out.

        For each 50 messages one round trip, for each that is not encrypted those of an APPEND.

        Raises:
            EncryptionFailed: the keys have expired, were revoked, or cannot encrypt.
            MessageNotFound: one is gone meanwhile.
            StoreUnavailable: what was stored nonetheless is garbage for the sweep.
        """
        home = self._placement.home(self._user)
        if home.shard.name != self._shard:  # moved: what was written lies on the old one
            self._known.clear()
            self._shard = home.shard.name
        oids = [view.message_oid(row) for row in rows[(view.flags[rows] & np.uint64(DRAFT)) == 0].tolist()]
        wanted = [oid for oid in dict.fromkeys(oids) if oid not in self._known]
        for content in self._content.open_many(view.user_id, wanted):
            self._offload.pause()
            self._known[content.message_oid] = None
            if not is_encrypted(content.header_bytes()):
                raw = self._encryptions.encrypt(home.encryption, b"".join(content.read()))
                self._known[content.message_oid] = self._content.put(home, self._content.prepare(raw))
        for oid in wanted:
            if oid not in self._known:
                raise MessageNotFound(view.user_id, oid.hex())
        return {oid: made for oid in oids if (made := self._known[oid]) is not None}

    def would_write(self, view: MailboxView, rows: Array) -> bool:
        """Whether any of the messages would be written anew; for each 50 one round trip."""
        oids = [view.message_oid(row) for row in rows[(view.flags[rows] & np.uint64(DRAFT)) == 0].tolist()]
        contents = self._content.open_many(view.user_id, dict.fromkeys(oids))
        return any(not is_encrypted(content.header_bytes()) for content in contents)
