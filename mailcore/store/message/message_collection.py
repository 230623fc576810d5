"""Removing messages that no mailbox, log entry or purge row names any more.

A candidate is removed only after a new collection epoch was opened in every head of its user (so that a copy
under way begins again) and then all heads, logs, segments and purge rows were read without naming it. Purge rows
that are due are taken out by compare-and-set before their messages go: a restore is faster or too late, never both.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
from bson import ObjectId

from mailcore import fault
from mailcore.errors import MailError, StoreUnavailable
from mailcore.model.ids import MailboxId, UserId
from mailcore.store.keys import message_key
from mailcore.store.mailbox.head import DELETED, Head
from mailcore.store.mailbox.log_entry import Op, decode_entry
from mailcore.store.mailbox.purge import PurgeBlock, put_back_number
from mailcore.store.message.blob_refs import OwnerKind, RefOwner
from mailcore.store.message.collection import BlobCollector
from mailcore.store.message.skeleton import unpack_splices
from mailcore.store.shard import ShardStores

log = logging.getLogger(__name__)

Oids = npt.NDArray[np.bytes_]
"""Message ids as an array of 12-byte strings."""
Mask = npt.NDArray[np.bool_]

BATCH = 500
PASSES = 50
"""So often heads that changed meanwhile are read again before a user is left for the next run."""
ATTEMPTS = 6
OID_TYPE = np.dtype("S12")
NO_OIDS: Oids = np.empty(0, OID_TYPE)


@dataclass(frozen=True, slots=True)
class DueRows:
    """The rows of a purge block that retention lets go."""

    block: PurgeBlock
    mask: Mask

    @property
    def oids(self) -> Oids:
        """The messages they name."""
        return oid_array(self.block.rows.message_oids[self.mask])


class _Permission:
    """What `may_go_on` says; an error counts as no, and is raised when everything is in its place again."""

    def __init__(self, may_go_on: Callable[[], bool]) -> None:
        self._may_go_on = may_go_on
        self._error: MailError | None = None

    def holds(self) -> bool:
        """Return whether the run may go on, asked afresh."""
        try:
            return self._may_go_on()
        except MailError as error:
            self._error = error
            return False

    def raise_error(self) -> None:
        """Raise what kept it from being asked."""
        if self._error is not None:
            raise self._error


class MessageCollector:
    """Collects the messages of one user after the other."""

    def __init__(self, stores: ShardStores, blobs: BlobCollector, pause: Callable[[], None] = lambda: None) -> None:
        self._stores = stores
        self._blobs = blobs
        self._pause = pause

    def collect(
        self,
        tenant_id: ObjectId,
        user_id: UserId,
        due: Sequence[DueRows],
        unnamed: Oids,
        stored_before: datetime,
        may_go_on: Callable[[], bool] = lambda: True,
    ) -> int:
        """Remove messages that nothing names any more and return how many went.

        Args:
            tenant_id: the user's tenant, whose blobs they refer to.
            user_id: whose messages.
            due: purge rows that may go, as read just before; what else names their messages is found out here.
            unnamed: further messages, of which the caller has seen nothing that names them.
            stored_before: a message stored later is not touched: it is on its way into a mailbox.
            may_go_on: asked right before rows are taken out and before messages go; False or an error stops the
                run, and rows whose messages are still there are put back.

        Raises:
            StoreUnavailable: the next run goes on; `unnamed` finds what was left half done.
            MailError: what `may_go_on` raised.
        """
        candidates = np.unique(np.concatenate([unnamed, *(rows.oids for rows in due)]))
        if not len(candidates):
            return 0
        self._stores.heads.bump_collection_epoch(user_id)
        fault.hit("gc.after_epoch")
        named = self._named_in_mailboxes(user_id, candidates)
        named |= self._named_in_purge(user_id, candidates, due)
        permission = _Permission(may_go_on)
        taken: list[DueRows] = []
        for rows in due:
            if not permission.holds():
                self._put_back(user_id, taken, candidates)
                permission.raise_error()
                return 0
            if self._stores.purge.keep_rows(rows.block, ~rows.mask):
                taken.append(rows)
            else:
                _note(named, candidates, rows.oids)  # somebody changed it: restored, or collected elsewhere
            self._pause()
        dead = candidates[~named]
        removed, left = self._destroy(tenant_id, user_id, dead, stored_before, permission)
        if len(left):
            self._put_back(user_id, taken, left)
        permission.raise_error()
        return removed

    # -- what names a message ---------------------------------------------------------------

    def _named_in_mailboxes(self, user_id: UserId, candidates: Oids) -> Mask:
        """Which candidates a log or segment names, live or expunged, at one moment for all mailboxes.

        Heads that changed while others were read are read again, until none has: else a message that moves from
        a mailbox not read yet into one read already would be missed.
        """
        named = np.zeros(len(candidates), np.bool_)
        seen: dict[MailboxId, int] = {}
        for _ in range(PASSES):
            states = self._stores.heads.list_mailboxes(user_id)
            modseqs = self._stores.heads.highest_modseqs([user_id.binary + id_.binary for id_, _ in states])
            changed = [
                id_ for id_, _ in states if id_ not in seen or seen[id_] != modseqs.get(user_id.binary + id_.binary)
            ]
            if not changed:
                return named
            for mailbox_id in changed:
                head = self._read_head(user_id, mailbox_id, candidates, named)
                if head is not None:
                    seen[mailbox_id] = -1 if head.state.state == DELETED else head.state.highest_modseq
        raise StoreUnavailable("mailboxes keep changing", user_id)

    def _read_head(self, user_id: UserId, mailbox_id: MailboxId, candidates: Oids, named: Mask) -> Head | None:
        for _ in range(ATTEMPTS):
            head = self._stores.heads.read(user_id, mailbox_id)
            if head is None:
                return None
            try:
                for oids in self._oids_of(user_id, mailbox_id, head):
                    _note(named, candidates, oids)
                    self._pause()
            except LookupError:
                continue  # folded meanwhile
            return head
        raise StoreUnavailable("mailbox cannot be read whole", mailbox_id)

    def _oids_of(self, user_id: UserId, mailbox_id: MailboxId, head: Head) -> Iterator[Oids]:
        for columns in self._stores.segments.load(user_id, mailbox_id, head.segments):
            yield oid_array(columns.message_oids)
        entries = [decode_entry(stored) for stored in head.state.log]
        appended = [entry for entry in entries if entry.op is Op.APPEND]
        for entry in self._stores.row_blocks.resolve(user_id, mailbox_id, appended):
            yield oid_array(entry.rows()["message_oid"])

    def _named_in_purge(self, user_id: UserId, candidates: Oids, due: Sequence[DueRows]) -> Mask:
        """Which candidates a purge row names that is not due: from it they can still be restored."""
        masks = {rows.block.key: rows for rows in due}
        named = np.zeros(len(candidates), np.bool_)
        for block in self._stores.purge.of_user(user_id):
            rows = masks.get(block.key)
            oids = oid_array(block.rows.message_oids)
            if rows is not None and rows.block.revision == block.revision:
                oids = oids[~rows.mask]
            _note(named, candidates, oids)
        return named

    # -- removal ----------------------------------------------------------------------------

    def _destroy(
        self,
        tenant_id: ObjectId,
        user_id: UserId,
        dead: Oids,
        stored_before: datetime,
        permission: _Permission,
    ) -> tuple[int, Oids]:
        """Return how many messages went, and which are left because the run may not go on."""
        removed = 0
        oids = oid_list(dead)
        for start in range(0, len(oids), BATCH):
            if not permission.holds():
                return removed, dead[start:]
            batch = oids[start : start + BATCH]
            fields = {"attempt": 1, "splices": 1}
            before = self._stores.messages.find(user_id, batch, fields)
            self._stores.messages.delete(user_id, batch, stored_before)
            kept = self._stores.messages.find(user_id, batch, {"_id": 1})
            gone = [document for oid, document in before.items() if oid not in kept]
            self._release(tenant_id, user_id, gone)
            removed += len(gone)
            self._pause()
        return removed, NO_OIDS

    def _put_back(self, user_id: UserId, taken: Sequence[DueRows], left: Oids) -> None:
        """Put rows back into purge whose messages are `left`; after a crash before this, fsck brings those back."""
        blocks = []
        for rows in taken:
            mine = rows.block.rows.take(rows.mask)
            again = mine.take(np.isin(oid_array(mine.message_oids), left))
            if len(again):
                blocks.append(replace(rows.block, rows=again, number=put_back_number(again), revision=0))
        self._stores.purge.insert(user_id, blocks)

    def _release(self, tenant_id: ObjectId, user_id: UserId, gone: Sequence[dict[str, Any]]) -> None:
        """Take away the references of messages that are gone, and collect blobs that nobody else refers to."""
        references: list[bytes] = []
        addresses: set[bytes] = set()
        for document in gone:
            if "splices" not in document:
                continue
            owner = RefOwner(OwnerKind.MESSAGE, message_key(user_id, document["_id"][12:]), document["attempt"])
            held = {splice.address for splice in unpack_splices(document["splices"])}
            references += [owner.key(tenant_id, address) for address in held]
            addresses |= held
        if references:
            self._stores.blob_refs.delete(references)
            self._blobs.collect(tenant_id, addresses)


def _note(named: Mask, candidates: Oids, oids: Oids) -> None:
    """Set the mask where a candidate (they are sorted) is among `oids`."""
    places = np.searchsorted(candidates, oids)
    places[places == len(candidates)] = 0
    named[places[candidates[places] == oids]] = True


def oid_array(column: npt.NDArray[Any]) -> Oids:
    """Return a column of 12-byte ids (n rows of 12 numbers) as strings that can be sorted and compared."""
    return np.ascontiguousarray(column, np.uint8).view(OID_TYPE).reshape(-1)


def oid_list(oids: Oids) -> list[bytes]:
    """Return ids one by one; the elements of such an array lack NUL bytes at their end, so not those."""
    packed = oids.tobytes()
    return [packed[start : start + 12] for start in range(0, len(packed), 12)]


def oid_array_of(oids: Sequence[bytes]) -> Oids:
    """Return ids as an array."""
    return np.frombuffer(b"".join(oids), OID_TYPE)
