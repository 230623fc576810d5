"""Packed numbers: what goes in comes out, sets of UIDs as arrays behave like sets."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailcore.errors import StoreDamaged
from mailcore.model.row import MISSING_DATE, NewRow
from mailcore.model.uid_set import UidSet
from mailcore.store.mailbox.packed import (
    LOG_ROW,
    pack_rows,
    pack_uids,
    rows_array,
    rows_in_ranges,
    seal,
    uid_set_of,
    unpack_uids,
    unseal,
)

UIDS = st.sets(st.integers(1, 200), max_size=60)


@given(UIDS)
def test_uids_come_back_as_packed(uids: set[int]) -> None:
    wanted = UidSet.of(uids)
    assert unpack_uids(pack_uids(wanted)) == wanted
    assert uid_set_of(np.array(sorted(uids), np.uint32)) == wanted


def test_the_highest_uid_survives_packing() -> None:
    wanted = UidSet(((1, 1), (0xFFFFFFFE, 0xFFFFFFFF)))
    assert unpack_uids(pack_uids(wanted)) == wanted


@given(UIDS, UIDS)
def test_rows_in_ranges_are_those_whose_uid_is_in_the_set(present: set[int], asked: set[int]) -> None:
    uids = np.array(sorted(present), np.uint32)
    ranges = np.array(UidSet.of(asked).ranges, np.uint32).reshape(-1, 2)
    rows = rows_in_ranges(uids, ranges)
    assert uids[rows].tolist() == sorted(present & asked)


def test_rows_come_back_as_packed() -> None:
    rows = [
        NewRow(b"\x00" * 12, 0, 0, 0, 0, MISSING_DATE, 0),
        NewRow(b"\xff" * 11 + b"\x00", (1 << 64) - 1, 0xFFFFFFFF, -1, 1 << 40, 5, (1 << 64) - 1, 1 << 63),
    ]
    array = rows_array(pack_rows(rows, [0, 9]))
    assert array.dtype == LOG_ROW
    assert [bytes(oid) for oid in array["message_oid"]] == [row.message_oid for row in rows]
    assert array["flags"].tolist() == [0, (1 << 64) - 1]
    assert array["internal_date"].tolist() == [0, -1]
    assert array["header_date"].tolist() == [MISSING_DATE, 5]
    assert array["thread"].tolist() == [0, (1 << 64) - 1]
    assert array["message_id_hash"].tolist() == [0, 1 << 63]
    assert array["source_uid"].tolist() == [0, 9]


@pytest.mark.parametrize(
    "stored", [b"", b"\x02\x01\x00abc", b"\x01\x00\x00abc", b"\x01\x01\x07abc", b"\x01\x01\x00abc"]
)
def test_what_is_not_sealed_as_known_is_damaged(stored: bytes) -> None:
    """Every stored format begins with version, codec and key id."""
    with pytest.raises(StoreDamaged):
        unseal(stored)


@given(st.binary())
def test_sealed_bytes_come_back(data: bytes) -> None:
    assert unseal(seal(data)) == data
