"""Entries of a mailbox's log: one small binary value for each change, whose place in the log is its MODSEQ.

An entry says what changed, why (`Cause`), who did it and when. The time is information only:
order is the place in the log. What does not fit into an entry lies in a row block, which the
entry names with its count.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum

from bson import ObjectId

from mailcore.errors import StoreDamaged
from mailcore.model.actor import Actor, ActorKind, Door
from mailcore.model.changes import Cause
from mailcore.model.limits import DEFAULT_LIMITS
from mailcore.model.uid_set import UidSet
from mailcore.store.mailbox.packed import (
    LOG_ROW,
    NO_KEY,
    PLAIN,
    VERSION,
    Array,
    pack_uids,
    ranges_array,
    rows_array,
)

MAX_KEY_BYTES = 32
MAX_PARTY_BYTES = 160
BLOCK_BYTES = 8
RANGE_BYTES = 8


class Op(IntEnum):
    """What an entry does to the rows."""

    APPEND = 1
    FLAGS = 2
    EXPUNGE = 3
    CLEAR = 4
    """Expunge everything: the mailbox was deleted."""


_CAUSES: tuple[Cause, ...] = (
    Cause.DELIVERY,
    Cause.APPEND,
    Cause.COPY,
    Cause.MOVE_FROM,
    Cause.MOVE_TO,
    Cause.RESTORE,
    Cause.IMPORT,
    Cause.STORE,
    Cause.EXPUNGE,
    Cause.RETENTION,
    Cause.DELETE_MAILBOX,
    Cause.DISCARD,
)
"""Codes are places in these tuples: append only."""
_KINDS: tuple[ActorKind, ...] = (
    ActorKind.USER,
    ActorKind.MTA,
    ActorKind.OPERATOR,
    ActorKind.MEMBER,
    ActorKind.STAFF,
    ActorKind.SYSTEM,
)
_DOORS: tuple[Door, ...] = (
    Door.IMAP,
    Door.POP3,
    Door.LMTP,
    Door.SUBMISSION,
    Door.API,
    Door.PORTAL,
    Door.CLI,
    Door.WORKER,
    Door.RELAY,
    Door.MANAGESIEVE,
)
_CAUSE_CODES = {cause: code for code, cause in enumerate(_CAUSES)}
_KIND_CODES = {kind: code for code, kind in enumerate(_KINDS)}
_DOOR_CODES = {door: code for code, door in enumerate(_DOORS)}

_HEAD = struct.Struct("<BBBBBBBBQIBB")
"""Version, codec, key id, op, cause, actor kind, door, whether a block holds the payload, time in ms,
count, length of the key, length of the party."""
_PREFIX = bytes((VERSION, PLAIN, NO_KEY))
_APPEND = bytes([Op.APPEND])
_MASKS = struct.Struct("<QQ")
_NO_MAILBOX = b"\x00" * 12


@dataclass(frozen=True, slots=True)
class Stamp:
    """Why, by whom and when; the same for every form of entry."""

    cause: Cause
    kind: ActorKind
    door: Door
    party: str
    """Identity, address and request id of the actor, each on its line; cut to a length that fits."""
    at_ms: int

    @classmethod
    def of(cls, cause: Cause, actor: Actor, at_ms: int) -> Stamp:
        """Return the stamp for a change by `actor`."""
        tail = f"\n{actor.remote_address[:45]}\n{actor.request_id[:32]}".rstrip("\n")
        room = max(MAX_PARTY_BYTES - len(tail.encode()), 0)
        party = _cut(_cut(actor.identity.replace("\n", " "), room) + tail, MAX_PARTY_BYTES)
        return cls(cause, actor.kind, actor.door, party, at_ms)


def _cut(text: str, size_bytes: int) -> str:
    """Return as much of the text as its UTF-8 fits."""
    return text.encode()[:size_bytes].decode(errors="ignore")


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One decoded entry.

    `payload` is packed rows for APPEND, packed ranges of UIDs for FLAGS and EXPUNGE; it is empty
    while it still lies in the row block `block`.
    """

    op: Op
    stamp: Stamp
    key: bytes
    count: int
    """Rows appended, or ranges of UIDs."""
    payload: bytes = b""
    block: bytes | None = None
    mailbox: ObjectId | None = None
    """Where moved rows came from (APPEND) or went to (EXPUNGE)."""
    set_bits: int = 0
    clear_bits: int = 0

    @property
    def appended(self) -> int:
        """Number of UIDs the entry takes."""
        return self.count if self.op is Op.APPEND else 0

    @property
    def changes_flags(self) -> bool:
        """Whether the entry counts in `flag_sequence`."""
        return self.op is not Op.APPEND

    def rows(self) -> Array:
        """Return the appended rows, an array of `LOG_ROW`."""
        return rows_array(self.packed_rows())

    def packed_rows(self) -> bytes:
        """Return the appended rows as they are stored."""
        return self._whole()

    def ranges(self) -> Array:
        """Return the ranges of UIDs, an array of two columns."""
        return ranges_array(self._whole())

    def with_payload(self, payload: bytes) -> LogEntry:
        """Return the entry with what its row block holds."""
        return replace(self, payload=payload, block=None)

    @property
    def payload_bytes(self) -> int:
        """Length of the payload, wherever it lies."""
        return self.count * (LOG_ROW.itemsize if self.op is Op.APPEND else RANGE_BYTES)

    def _whole(self) -> bytes:
        if len(self.payload) != self.payload_bytes:
            raise StoreDamaged("log entry", self.op.name, self.count, len(self.payload))
        return self.payload


def append_entry(stamp: Stamp, key: bytes, rows: bytes, source: ObjectId | None = None) -> LogEntry:
    """Return an entry that adds rows packed as `LOG_ROW`."""
    return LogEntry(Op.APPEND, stamp, key, len(rows) // LOG_ROW.itemsize, rows, mailbox=source)


def flags_entry(stamp: Stamp, key: bytes, uids: UidSet, set_bits: int, clear_bits: int) -> LogEntry:
    """Return an entry after which flags are `flags & ~clear_bits | set_bits`."""
    return LogEntry(Op.FLAGS, stamp, key, len(uids.ranges), pack_uids(uids), set_bits=set_bits, clear_bits=clear_bits)


def expunge_entry(stamp: Stamp, key: bytes, uids: UidSet, target: ObjectId | None = None) -> LogEntry:
    """Return an entry that removes messages."""
    return LogEntry(Op.EXPUNGE, stamp, key, len(uids.ranges), pack_uids(uids), mailbox=target)


def clear_entry(stamp: Stamp, key: bytes) -> LogEntry:
    """Return the last entry of a mailbox that is deleted."""
    return LogEntry(Op.CLEAR, stamp, key, 0)


def encode_entry(entry: LogEntry) -> bytes:
    """Return the stored form; `block` replaces the payload where it is given."""
    party = entry.stamp.party.encode()
    parts = [
        _HEAD.pack(
            VERSION,
            PLAIN,
            NO_KEY,
            entry.op,
            _CAUSE_CODES[entry.stamp.cause],
            _KIND_CODES[entry.stamp.kind],
            _DOOR_CODES[entry.stamp.door],
            entry.block is not None,
            entry.stamp.at_ms,
            entry.count,
            len(entry.key),
            len(party),
        ),
        entry.key,
        party,
    ]
    if entry.op in {Op.APPEND, Op.EXPUNGE}:
        parts.append(entry.mailbox.binary if entry.mailbox is not None else _NO_MAILBOX)
    elif entry.op is Op.FLAGS:
        parts.append(_MASKS.pack(entry.set_bits, entry.clear_bits))
    parts.append(entry.block if entry.block is not None else entry.payload)
    return b"".join(parts)


def fits(entry: LogEntry) -> bool:
    """Return whether an entry is small enough for its payload to stay in it."""
    return len(entry.payload) <= DEFAULT_LIMITS.log_entry_bytes - _MOST_OVERHEAD


_MOST_OVERHEAD = _HEAD.size + MAX_KEY_BYTES + MAX_PARTY_BYTES + _MASKS.size


def decode_entry(stored: bytes) -> LogEntry:
    """Return the entry.

    Raises:
        StoreDamaged: another version, or cut short.
    """
    if stored[:3] != _PREFIX:
        raise StoreDamaged("log entry of unknown format", stored[:3])
    try:
        (_, _, _, op, cause, kind, door, in_block, at_ms, count, key_bytes, party_bytes) = _HEAD.unpack_from(stored)
        at = _HEAD.size
        key = stored[at : at + key_bytes]
        at += key_bytes
        party = stored[at : at + party_bytes].decode()
        at += party_bytes
        operation = Op(op)
        mailbox = None
        set_bits = clear_bits = 0
        if operation in {Op.APPEND, Op.EXPUNGE}:
            if stored[at : at + 12] != _NO_MAILBOX:
                mailbox = ObjectId(stored[at : at + 12])
            at += 12
        elif operation is Op.FLAGS:
            set_bits, clear_bits = _MASKS.unpack_from(stored, at)
            at += _MASKS.size
        stamp = Stamp(_CAUSES[cause], _KINDS[kind], _DOORS[door], party, at_ms)
    except (struct.error, ValueError, IndexError, TypeError) as error:
        raise StoreDamaged("log entry", str(error)) from error
    payload, block = (b"", stored[at:]) if in_block else (stored[at:], None)
    if block is not None and len(block) != BLOCK_BYTES:
        raise StoreDamaged("log entry names no block")
    return LogEntry(operation, stamp, key, count, payload, block, mailbox, set_bits, clear_bits)


def joined_rows(entries: Sequence[LogEntry]) -> Array:
    """Return the rows of several APPEND entries as one array."""
    return rows_array(b"".join(entry.packed_rows() for entry in entries))


def appended_count(stored: bytes) -> int:
    """Return how many UIDs a stored entry takes, without decoding it whole."""
    return int.from_bytes(stored[16:20], "little") if stored[3:4] == _APPEND else 0


def cause_of(stored: bytes) -> Cause | None:
    """Return why a stored entry changed its mailbox, without decoding it whole; None if nobody can read it."""
    return _CAUSES[stored[4]] if stored[:3] == _PREFIX and stored[4] < len(_CAUSES) else None
