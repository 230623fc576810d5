"""Heads as values: the counters of a mailbox, its log, and what a change of it asks and is given."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from mailcore.errors import StoreDamaged
from mailcore.model.changes import Commit
from mailcore.model.ids import MailboxId, ModSeq, Uid, UidValidity, UserId
from mailcore.model.mailbox import MailboxStatus
from mailcore.store import keys
from mailcore.store.guard import Document
from mailcore.store.mailbox.log_entry import appended_count
from mailcore.store.mailbox.segments import SegmentRef, pack_table, unpack_table

FORMAT: Final = 1
OPEN: Final = "open"
MOVING: Final = "moving"
DELETED: Final = "deleted"


@dataclass(frozen=True, slots=True)
class Counters:
    """By how much a commit changes the head's counters."""

    exists: int = 0
    unseen: int = 0
    size_bytes: int = 0
    uid_next: int = 0


@dataclass(frozen=True, slots=True)
class Conditions:
    """What must still be so for a commit to happen; None asks nothing."""

    flag_sequence: int | None = None
    highest_modseq: int | None = None
    collection_epoch: int | None = None
    """Compared so that rows read before a collection began are not added after it."""


NO_CONDITIONS: Final = Conditions()


@dataclass(frozen=True, slots=True)
class HeadState:
    """The counters of a head, and the part of its log that was asked for."""

    state: str
    uid_validity: UidValidity
    uid_next: int
    highest_modseq: int
    flag_sequence: int
    exists: int
    unseen: int
    size_bytes: int
    log_base_modseq: int
    log_bytes: int
    generation: int
    collection_epoch: int
    keywords: tuple[str, ...] = ()
    log: tuple[bytes, ...] = ()

    @property
    def log_length(self) -> int:
        """Number of entries in the log."""
        return self.highest_modseq - self.log_base_modseq


@dataclass(frozen=True, slots=True)
class Head:
    """A head read whole, and when the database read it."""

    state: HeadState
    log_base_uid: int
    segments: tuple[SegmentRef, ...]
    recent_keys: tuple[bytes, ...]
    folded_uids: tuple[int, ...]
    old_segments: tuple[tuple[datetime, tuple[bytes, ...]], ...]
    """When they were replaced, and which keys of segments and row blocks."""
    vanished_floor: int
    name: str
    """Given when the mailbox was deleted."""
    now: datetime

    def find_commit(self, key: bytes) -> Commit | None:
        """Return what the commit with this key was given, if it is among the latest.

        Every commit pushes its key together with its entry, so the place of the key from the end
        tells its MODSEQ; the fold keeps the first UID of entries it dropped.
        """
        if key not in self.recent_keys:
            return None
        from_end = len(self.recent_keys) - 1 - self.recent_keys.index(key)
        modseq = self.state.highest_modseq - from_end
        if modseq > self.state.log_base_modseq:
            before = self.state.log[: modseq - self.state.log_base_modseq - 1]
            first_uid = self.log_base_uid + sum(appended_count(entry) for entry in before)
        else:
            first_uid = self.folded_uids[modseq - self.state.log_base_modseq - 1]
        return Commit(ModSeq(modseq), Uid(first_uid), self.state.uid_validity, ModSeq(self.state.highest_modseq))


@dataclass(frozen=True, slots=True)
class Committed:
    """A commit, and the head right after it."""

    commit: Commit
    after: HeadState
    stored: bytes | None
    """The entry as the log has it; None if it had been committed before: `after` is the head as it is now then."""

    @property
    def repeated(self) -> bool:
        """Whether it had been committed before."""
        return self.stored is None


class NoMatch(Exception):
    """A commit found its conditions unmet; `head` is the head as it is, None if there is none."""

    def __init__(self, head: Head | None) -> None:
        super().__init__()
        self.head = head


@dataclass(frozen=True, slots=True)
class Swap:
    """What a fold writes into the head in place of the entries it folded."""

    generation: int
    """Of the head that was folded: the swap happens only if no other fold was faster."""
    entries: int
    entry_bytes: int
    log_base_uid: int
    segments: Sequence[SegmentRef]
    folded_uids: Sequence[int]
    vanished_floor: int
    replaced: Sequence[bytes]
    keep_replaced_since: datetime


def new_head(user_id: UserId, mailbox_id: MailboxId, uid_validity: int) -> Document:
    """Return the head of an empty mailbox."""
    return {
        "_id": keys.mailbox_key(user_id, mailbox_id),
        "format": FORMAT,
        "state": OPEN,
        "uid_validity": uid_validity,
        "uid_next": 1,
        "highest_modseq": 0,
        "flag_sequence": 0,
        "exists": 0,
        "unseen": 0,
        "size_bytes": 0,
        "generation": 0,
        "collection_epoch": 0,
        "vanished_floor": 0,
        "log_base_modseq": 0,
        "log_base_uid": 1,
        "log_bytes": 0,
        "keywords": [],
        "recent_keys": [],
        "folded_uids": b"",
        "old_segments": [],
        "segments": pack_table(()),
        "log": [],
    }


def state_from(found: Document) -> HeadState:
    """Return the counters of a stored head, and what was read of its log."""
    return HeadState(
        found["state"],
        UidValidity(found["uid_validity"]),
        found["uid_next"],
        found["highest_modseq"],
        found["flag_sequence"],
        found["exists"],
        found["unseen"],
        found["size_bytes"],
        found["log_base_modseq"],
        found["log_bytes"],
        found["generation"],
        found["collection_epoch"],
        tuple(found.get("keywords", ())),
        tuple(found.get("log", ())),
    )


def head_from(found: Document) -> Head:
    """Return a stored head.

    Raises:
        StoreDamaged: log and counters differ, or its table of segments does not unpack.
    """
    state = state_from(found)
    if len(state.log) != state.log_length:
        raise StoreDamaged("log and counters differ", len(state.log), state.log_length)
    folded = found["folded_uids"]
    return Head(
        state,
        found["log_base_uid"],
        unpack_table(found["segments"]),
        tuple(found["recent_keys"]),
        struct.unpack(f"<{len(folded) // 4}I", folded),
        tuple((old["at"], tuple(old["keys"])) for old in found["old_segments"]),
        found["vanished_floor"],
        found.get("name", ""),
        found["now"],
    )


def status_from(head: Document) -> MailboxStatus:
    """Return the counters of a stored head as a client is told them."""
    return MailboxStatus(
        head["exists"],
        head["unseen"],
        head["size_bytes"],
        head["uid_next"],
        UidValidity(head["uid_validity"]),
        ModSeq(head["highest_modseq"]),
        head["state"] == DELETED,
    )


def pack_first_uids(uids: Sequence[int]) -> bytes:
    """Return the stored form of the first UIDs of folded entries."""
    return struct.pack(f"<{len(uids)}I", *uids)
