"""The sequencer: gives every event of a shard its place in its tenant's stream.

Promise: at least once, in log order for each mailbox, none missing, numbers of a tenant on a shard
consecutive. What is numbered next follows from what is stored (the log, what folds wrote, the last number), so
a change stream is no more than a hint where to look; a process that takes over looks the same up. Two that
both believe to have the lease cannot do harm: the unique index refuses the second.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Final, TypeVar

from bson import ObjectId

from mailcore import fault
from mailcore.errors import MailError, NotFound
from mailcore.model.event import Outcome
from mailcore.model.ids import MailboxId, TenantId, UserId
from mailcore.store.guard import Document
from mailcore.store.keys import change_key
from mailcore.store.mailbox.change_events import ChangeEvent, ChangeEvents
from mailcore.store.mailbox.head_changes import HeadChanges, LogSlice
from mailcore.store.mailbox.log_entry import appended_count
from mailcore.store.user.streams import Streams
from mailcore.store.user.trail import AlreadyNumbered, Numbering, Trail

Item = TypeVar("Item")
OnChange = Callable[[UserId, MailboxId, ChangeEvent], None]
"""Told of each change at least once; what it raises is tried again, so it raises only what passes."""

log = logging.getLogger(__name__)

BATCH: Final = 500
"""Mailboxes looked at, records read, and events written in one go."""
KNOWN: Final = 200_000
"""Mailboxes whose cursor a process remembers."""


@dataclass(frozen=True, slots=True)
class Mail:
    """Where the changes of mail of a shard are found; the directory has none."""

    heads: HeadChanges
    events: ChangeEvents


@dataclass(frozen=True, slots=True)
class _Unnumbered:
    key: bytes
    tenant_id: TenantId
    content: Document
    mailbox: bytes = b""
    modseq: int = 0


class Sequencer:
    """Numbers the events of one database; used by one thread."""

    def __init__(
        self,
        name: str,
        trail: Trail,
        streams: Streams,
        tenant_of: Callable[[UserId], TenantId],
        mail: Mail | None,
        on_change: OnChange,
    ) -> None:
        """Number what is in one database; `on_change` sees each change of mail before it has its number."""
        self._on_change = on_change
        self.name = name
        self.streams = streams
        self.mail = mail
        self._trail = trail
        self._tenant_of = tenant_of
        self._cursors: dict[bytes, int] = {}
        self._numbers: dict[TenantId, int] = {}

    def step(self, mailbox_keys: Collection[bytes] = ()) -> int:
        """Number what is new in these mailboxes (user ‖ mailbox) and all settled changes; return how many events.

        Round trips: one if there is nothing, else about five for each 500 mailboxes.

        Raises:
            AlreadyNumbered: another process does this work; take the lease anew.
            StoreUnavailable: try again; nothing is lost or numbered twice.
        """
        try:
            numbered = 0
            for keys in _batches(mailbox_keys):
                numbered += self._number(self._changes(keys))
            while settled := self._settled():
                numbered += self._number(iter(settled))
        except (MailError, AlreadyNumbered):
            self._cursors.clear()
            self._numbers.clear()
            raise
        return numbered

    def catch_up(self) -> int:
        """Look at every mailbox, and at everything that folds wrote; for when no change stream tells where to look."""
        numbered = self.step()
        if self.mail is not None:
            numbered += self.step(sorted(self._trail.mailboxes_waiting()))
            for heads in _batches(self.mail.heads.each_modseq()):
                known = self.streams.cursors([key for key, _ in heads])
                numbered += self.step([key for key, modseq in heads if known.get(key, 0) < modseq])
        return numbered

    # -- what has no number yet -------------------------------------------------------------

    def _changes(self, mailbox_keys: Sequence[bytes]) -> Iterator[_Unnumbered]:
        assert self.mail is not None
        cursors = self._known_cursors(mailbox_keys)
        logs = self.mail.heads.logs(mailbox_keys)
        moment = datetime.now(UTC)
        for key in mailbox_keys:
            user_id = UserId(ObjectId(key[:12]))
            events = list(self._events(key, cursors[key], logs.get(key)))
            if not events:
                continue
            try:
                tenant_id = self._tenant_of(user_id)
            except NotFound:  # a user that was removed while its mail stays: nobody's stream has it
                log.warning("events.owner_unknown", extra={"user": str(user_id)})
                continue
            for event in events:
                self._on_change(user_id, MailboxId(ObjectId(key[12:])), event)
                yield _Unnumbered(
                    change_key(user_id, ObjectId(key[12:]), event.modseq),
                    tenant_id,
                    {"at": moment, "entry": event.entry, "first_uid": event.first_uid},
                    key,
                    event.modseq,
                )

    def _events(self, key: bytes, cursor: int, slice_: LogSlice | None) -> Iterator[ChangeEvent]:
        """Yield a mailbox's changes after the cursor: those a fold wrote first, then those in the log."""
        assert self.mail is not None
        if slice_ is None or cursor < slice_.base_modseq:
            user_id, mailbox_id = UserId(ObjectId(key[:12])), MailboxId(ObjectId(key[12:]))
            for event in self.mail.events.of_mailbox(user_id, mailbox_id, cursor):
                if slice_ is None or event.modseq <= slice_.base_modseq:
                    yield event
        if slice_ is not None:
            uid = slice_.base_uid
            for modseq, entry in enumerate(slice_.entries, slice_.base_modseq + 1):
                if modseq > cursor:
                    yield ChangeEvent(modseq, entry, uid)
                uid += appended_count(entry)

    def _settled(self) -> list[_Unnumbered]:
        found = []
        for document in self._trail.list_settled(BATCH):
            outcome = Outcome(document["outcome"])
            told = Outcome.UNKNOWN if outcome is Outcome.PENDING else outcome
            found.append(
                _Unnumbered(bytes(document["_id"]), TenantId(ObjectId(document["tenant"])), {"outcome": told.value})
            )
        return found

    # -- numbers ----------------------------------------------------------------------------

    def _number(self, events: Iterator[_Unnumbered]) -> int:
        total = 0
        for batch in _batches(events):
            numberings = []
            cursors: dict[bytes, int] = {}
            numbers: dict[TenantId, int] = {}
            for event in batch:
                number = self._last_number(event.tenant_id) + 1
                self._numbers[event.tenant_id] = numbers[event.tenant_id] = number
                numberings.append(Numbering(event.key, event.tenant_id, number, event.content))
                if event.mailbox:
                    cursors[event.mailbox] = event.modseq
            self._trail.give_numbers(numberings)
            fault.hit("events.numbered")
            self.streams.advance(cursors, numbers)
            self._cursors |= cursors
            total += len(batch)
        return total

    def _last_number(self, tenant_id: TenantId) -> int:
        known = self._numbers.get(tenant_id)
        if known is None:
            known = max(self.streams.number(tenant_id), self._trail.highest_number(tenant_id))
        return known

    def _known_cursors(self, mailbox_keys: Sequence[bytes]) -> dict[bytes, int]:
        """Return the last numbered MODSEQ of each mailbox; asks for those this process has not seen yet."""
        if len(self._cursors) > KNOWN:
            self._cursors.clear()
        new = [key for key in mailbox_keys if key not in self._cursors]
        noted = self.streams.cursors(new)
        for key in new:
            self._cursors[key] = max(noted.get(key, 0), self._trail.highest_modseq(key))
        return {key: self._cursors[key] for key in mailbox_keys}


def _batches(items: Iterable[Item]) -> Iterator[tuple[Item, ...]]:
    rest = iter(items)
    while batch := tuple(islice(rest, BATCH)):
        yield batch
