"""Log entries: every form comes back as encoded, fits its bounds, and damage is found."""

from __future__ import annotations

from dataclasses import replace

import pytest
from bson import ObjectId
from hypothesis import given
from hypothesis import strategies as st

from mailcore.errors import StoreDamaged
from mailcore.model.actor import Actor, ActorKind, Door
from mailcore.model.changes import Cause
from mailcore.model.limits import DEFAULT_LIMITS
from mailcore.model.uid_set import UidSet
from mailcore.store.mailbox.log_entry import (
    MAX_PARTY_BYTES,
    LogEntry,
    Op,
    Stamp,
    append_entry,
    appended_count,
    clear_entry,
    decode_entry,
    encode_entry,
    expunge_entry,
    fits,
    flags_entry,
)
from mailcore.store.mailbox.packed import LOG_ROW

STAMP = Stamp(Cause.STORE, ActorKind.USER, Door.IMAP, "anna@example.test\n192.0.2.1\nr7", 1_700_000_000_123)
KEY = bytes(range(16))
ROWS = bytes(LOG_ROW.itemsize * 3)
ENTRIES = [
    append_entry(STAMP, KEY, ROWS),
    append_entry(STAMP, KEY, ROWS, ObjectId()),
    flags_entry(STAMP, KEY, UidSet.of([1, 2, 3, 9]), 1 << 63, (1 << 64) - 1),
    expunge_entry(STAMP, KEY, UidSet.of([0xFFFFFFFF])),
    expunge_entry(STAMP, KEY, UidSet.of([5]), ObjectId()),
    clear_entry(STAMP, b"delete:" + ObjectId().binary),
]


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.op.name)
def test_entries_come_back_as_encoded(entry: LogEntry) -> None:
    stored = encode_entry(entry)
    assert decode_entry(stored) == entry
    assert appended_count(stored) == entry.appended


@pytest.mark.parametrize("entry", ENTRIES[:5], ids=lambda entry: entry.op.name)
def test_a_block_takes_the_place_of_the_payload(entry: LogEntry) -> None:
    outside = replace(entry, payload=b"", block=b"12345678")
    assert decode_entry(encode_entry(outside)) == outside
    assert outside.with_payload(entry.payload) == entry


@pytest.mark.parametrize("cause", Cause)
@pytest.mark.parametrize("kind", ActorKind)
def test_every_cause_and_actor_has_a_code(cause: Cause, kind: ActorKind) -> None:
    for door in Door:
        entry = clear_entry(Stamp(cause, kind, door, "x", 1), KEY)
        assert decode_entry(encode_entry(entry)) == entry


@given(st.text(max_size=400), st.text(max_size=80), st.text(max_size=80))
def test_whoever_acts_the_entry_stays_within_its_bounds(identity: str, address: str, request: str) -> None:
    actor = Actor(ActorKind.USER, Door.API, identity, remote_address=address, request_id=request)
    stamp = Stamp.of(Cause.STORE, actor, 1)
    assert len(stamp.party.encode()) <= MAX_PARTY_BYTES
    rows = DEFAULT_LIMITS.log_entry_bytes // LOG_ROW.itemsize
    while not fits(append_entry(stamp, bytes(32), bytes(rows * LOG_ROW.itemsize))):
        rows -= 1
    entry = append_entry(stamp, bytes(32), bytes(rows * LOG_ROW.itemsize), ObjectId())
    assert rows > 20
    assert len(encode_entry(entry)) <= DEFAULT_LIMITS.log_entry_bytes
    assert decode_entry(encode_entry(entry)) == entry


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.op.name)
def test_an_entry_cut_short_is_damaged(entry: LogEntry) -> None:
    stored = encode_entry(entry)
    for end in range(len(stored)):
        with pytest.raises(StoreDamaged):
            found = decode_entry(stored[:end])
            found.rows() if found.op is Op.APPEND else found.ranges()
            if found != entry:
                raise StoreDamaged("other fields")


def test_an_entry_of_another_version_is_damaged() -> None:
    stored = bytearray(encode_entry(ENTRIES[0]))
    stored[0] = 9
    with pytest.raises(StoreDamaged):
        decode_entry(bytes(stored))


def test_a_payload_that_is_still_in_its_block_is_not_taken_for_empty() -> None:
    with pytest.raises(StoreDamaged):
        replace(ENTRIES[0], payload=b"", block=b"12345678").rows()


@pytest.mark.parametrize("size", range(24))
def test_an_entry_cut_short_counts_without_an_error(size: int) -> None:
    """One damaged entry must not stop who reads the logs of a whole shard."""
    assert appended_count(b"\xff" * size) == 0
