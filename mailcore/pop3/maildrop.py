"""The maildrop of one session: the whole INBOX as it was when the client signed in (RFC 1939 §5).

Messages are numbered once and keep their numbers. What arrives later is not seen, what another
session expunges keeps its number and can no longer be retrieved. Deletions are marks until QUIT.
Any number of sessions may look at one INBOX at a time: nothing is locked.

Retrieving sets no flag, as Gmail does it: a client that collects mail for an archive leaves it unread
for the phone beside it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mailcore.errors import MailboxChanged, MailboxNotFound, MessageNotFound
from mailcore.model.actor import Actor
from mailcore.model.ids import UserId
from mailcore.model.limits import DEFAULT_LIMITS
from mailcore.model.mailbox import INBOX

if TYPE_CHECKING:
    from mailcore.services import MailServices
    from mailcore.services.content.stored_content import Content
    from mailcore.store.mailbox.view import MailboxView

LIST_BATCH = 4096
"""Lines of a listing made at once."""
AHEAD_MESSAGES = 50
AHEAD_BYTES = 2 << 20
"""So many messages, and of them so many bytes, are read before a client that retrieves in sequence asks for them."""
AHEAD_GROWTH = 4
DOCUMENT_BYTES = DEFAULT_LIMITS.message_document_bytes
"""More of a message is not read with it; the rest follows in chunks."""
OID_BYTES = 12

Rows = npt.NDArray[np.int64]
"""Indexes into the view; the message number of the first that is shown is 1."""


class Maildrop:
    """Numbered messages, marks of deletion, and what was read ahead."""

    __slots__ = ("_ahead", "_deleted", "_first", "_next_row", "_ready", "_services", "_user_id", "_view")

    def __init__(self, services: MailServices, user_id: UserId, view: MailboxView, most: int = 0) -> None:
        """Take `view` as the state that holds for the session; of many messages the newest `most`, 0: all."""
        self._first = max(view.exists - most, 0) if most else 0
        self._services = services
        self._user_id = user_id
        self._view = view
        self._deleted: set[int] = set()
        self._ready: dict[int, Content] = {}
        self._next_row = 0
        self._ahead = 1

    @classmethod
    def open(cls, services: MailServices, user_id: UserId) -> Maildrop:
        """Return the INBOX as it is now: one round trip where this process knows the user's mailboxes, else two.

        Raises:
            MailboxNotFound: the user has no INBOX.
            StoreUnavailable: the shard did not answer.
        """
        mailboxes = services.mailboxes
        entry = mailboxes.tree_cached(user_id).find(INBOX)
        if entry is None:
            raise MailboxNotFound(INBOX)
        try:
            view = mailboxes.refresh(user_id, entry.id)
        except MailboxChanged:  # the tree was old
            view = mailboxes.open(user_id, INBOX)
        return cls(services, user_id, view, services.usage.limits(user_id).pop3_messages)

    # -- what is there --------------------------------------------------------------------------

    @property
    def count(self) -> int:
        """How many messages there are, without those marked."""
        return self._view.exists - self._first - len(self._deleted)

    @property
    def size_bytes(self) -> int:
        """The sum of their sizes."""
        older = int(self._view.sizes[: self._first].sum()) if self._first else 0
        return self._view.size_bytes - older - sum(int(self._view.sizes[row]) for row in self._deleted)

    def size_of(self, number: int) -> int:
        """Return the octets of a message, as RETR sends them before stuffing.

        Raises:
            MessageNotFound: no such number, or marked.
        """
        return int(self._view.sizes[self._row(number)])

    def unique_id_of(self, number: int) -> str:
        """Return the unique-id of a message; see `unique_ids`.

        Raises:
            MessageNotFound: no such number, or marked.
        """
        return self._view.message_oid(self._row(number)).hex()

    def sizes(self) -> Iterator[bytes]:
        """Yield `msg SP octets` lines of what is not marked; no round trip."""
        for rows in self._batches():
            yield _lines(b"%d %d\r\n", rows - self._first, self._view.sizes[rows].tolist())

    def unique_ids(self) -> Iterator[bytes]:
        """Yield `msg SP unique-id` lines of what is not marked (RFC 1939 §7); no round trip.

        The unique-id names the stored message: it stays when the message is moved away and back,
        when its user moves to another shard, and is never given to another one. Two copies of one
        message in the INBOX have the same, which the RFC allows.
        """
        for rows in self._batches():
            packed = self._view.message_oids[rows].tobytes().hex().encode()
            ids = [packed[start : start + 2 * OID_BYTES] for start in range(0, len(packed), 2 * OID_BYTES)]
            yield _lines(b"%d %b\r\n", rows - self._first, ids)

    def _batches(self) -> Iterator[Rows]:
        """Yield the rows that are not marked, pausing in between."""
        rows = np.arange(self._first, self._view.exists, dtype=np.int64)
        if self._deleted:
            rows = np.delete(rows, [row - self._first for row in sorted(self._deleted)])
        for start in range(0, len(rows), LIST_BATCH):
            if start:
                self._services.offload.pause()
            yield rows[start : start + LIST_BATCH]

    def _row(self, number: int) -> int:
        row = number - 1 + self._first
        if not self._first <= row < self._view.exists or row in self._deleted:
            raise MessageNotFound(self._user_id, number)
        return row

    # -- content --------------------------------------------------------------------------------

    def open_message(self, number: int, *, whole: bool) -> Content:
        """Return a message to read from, all of it or its beginning.

        Two round trips, for the state of the INBOX and the message, and one or two for what is stored
        apart. A client that asks for one after the other is read ahead for, so that these bring up to
        AHEAD_MESSAGES of at most AHEAD_BYTES.

        Raises:
            MessageNotFound: no such number, marked, or expunged by somebody else meanwhile.
            StoreUnavailable: the shard did not answer.
        """
        row = self._row(number)
        content = self._ready.pop(row, None)
        if content is None:
            content = self._read(row, whole=whole)
        newest = self._services.mailboxes.cached(self._user_id, self._view.mailbox_id)
        self._next_row = row + 1
        if content is None or (newest is not None and self._is_gone(row, newest)):
            raise MessageNotFound(self._user_id, number)
        return content

    def _read(self, row: int, *, whole: bool) -> Content | None:
        """Read a message, and those behind it if they are likely to be wanted next; None if it is gone."""
        in_sequence = row == self._next_row and row > 0
        self._ahead = min(self._ahead * AHEAD_GROWTH, AHEAD_MESSAGES) if in_sequence else 1
        self._ready.clear()
        newest = self._services.mailboxes.refresh(self._user_id, self._view.mailbox_id)
        wanted = [each for each in self._rows_ahead(row) if not self._is_gone(each, newest)]
        oids = [self._view.message_oid(each) for each in wanted]
        found = {content.message_oid: content for content in self._services.content.open_many(self._user_id, oids)}
        self._ready = {each: found[oid] for each, oid in zip(wanted, oids, strict=True) if oid in found}
        if whole and len(found) > 1:
            small = [content for content in found.values() if content.size_bytes <= DOCUMENT_BYTES]
            self._services.content.read_ahead(self._user_id, small)
        return self._ready.pop(row, None)

    def _rows_ahead(self, first: int) -> Iterator[int]:
        yield first
        size_bytes = min(int(self._view.sizes[first]), DOCUMENT_BYTES)
        for row in range(first + 1, min(first + self._ahead, self._view.exists)):
            size_bytes += min(int(self._view.sizes[row]), DOCUMENT_BYTES)
            if size_bytes > AHEAD_BYTES:
                return
            if row not in self._deleted:
                yield row

    def _is_gone(self, row: int, newest: MailboxView) -> bool:
        """Whether a message is no longer in the INBOX."""
        if newest is self._view:
            return False
        return newest.row_of(int(self._view.uids[row])) < 0

    # -- deletion -------------------------------------------------------------------------------

    def mark(self, number: int) -> None:
        """Mark a message to be deleted at QUIT.

        Raises:
            MessageNotFound: no such number, or marked already.
        """
        row = self._row(number)
        self._deleted.add(row)
        self._ready.pop(row, None)

    def unmark_all(self) -> None:
        """Take back every mark."""
        self._deleted.clear()

    def expunge_marked(self, actor: Actor) -> None:
        """Remove what is marked, all in one commit; what others have removed before is passed over.

        Raises:
            MailboxBusy: others kept changing the INBOX.
            StoreUnavailable: outcome unknown.
        """
        if not self._deleted:
            return
        uids = self._view.uid_set(np.array(sorted(self._deleted), np.int64))
        self._services.messages.expunge(self._user_id, actor, self._view.mailbox_id, uids, only_deleted=False)
        self._deleted.clear()


def _lines(pattern: bytes, rows: Rows, values: list[int] | list[bytes]) -> bytes:
    cells: list[int | bytes] = [0] * (2 * len(rows))
    cells[::2] = (rows + 1).tolist()
    cells[1::2] = values
    return pattern * len(rows) % tuple(cells)
