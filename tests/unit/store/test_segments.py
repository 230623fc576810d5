"""Segments and their table come back as packed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailcore.errors import StoreDamaged
from mailcore.model.row import MISSING_DATE
from mailcore.store.mailbox.columns import COLUMNS, Columns, GrowingColumn
from mailcore.store.mailbox.segments import (
    SegmentRef,
    new_parts,
    pack_flags_part,
    pack_rows_part,
    pack_table,
    split,
    unpack_segment,
    unpack_table,
)


def make_columns(count: int, seed: int = 1) -> Columns:
    random = np.random.default_rng(seed)
    arrays = {}
    for name, dtype, shape in COLUMNS:
        information = np.iinfo(dtype)
        arrays[name] = random.integers(information.min, information.max, (count, *shape), dtype=dtype, endpoint=True)
    arrays["uids"] = np.sort(random.choice(1 << 20, count, replace=False)).astype(np.uint32) + 1
    arrays["header_dates"][::3] = MISSING_DATE
    return Columns(**arrays)


@pytest.mark.parametrize("count", [1, 2, 4096])
def test_a_segment_comes_back_as_packed(count: int) -> None:
    """Every value of every type, also where differences of neighbours wrap around."""
    columns = make_columns(count)
    ref, parts = new_parts(columns)
    assert (ref.count, ref.first_uid, ref.last_uid) == (count, int(columns.uids[0]), int(columns.uids[-1]))
    assert [part.rows_id for part in parts] == [ref.rows_id] * 2
    found = unpack_segment(ref, parts[0].data, parts[1].data)
    for (name, dtype, _), wanted, got in zip(COLUMNS, columns.arrays(), found.arrays(), strict=True):
        assert got.dtype == dtype, name
        assert (got == wanted).all(), name


def test_a_segment_of_another_length_than_the_table_says_is_damaged() -> None:
    columns = make_columns(3)
    with pytest.raises(StoreDamaged):
        unpack_segment(SegmentRef(b"", b"", 4, 1, 2), pack_rows_part(columns), pack_flags_part(columns))


@given(st.lists(st.tuples(st.integers(0, 0xFFFFFFFF), st.integers(0, 0xFFFFFFFF)), max_size=5))
def test_a_table_comes_back_as_packed(ranges: list[tuple[int, int]]) -> None:
    table = tuple(SegmentRef(bytes([n] * 8), bytes([n + 9] * 8), n, low, high) for n, (low, high) in enumerate(ranges))
    assert unpack_table(pack_table(table)) == table


@pytest.mark.parametrize("stored", [b"", b"\x02\x00\x00", pack_table([SegmentRef(bytes(8), bytes(8), 1, 1, 1)])[:-1]])
def test_a_damaged_table_is_found(stored: bytes) -> None:
    with pytest.raises(StoreDamaged):
        unpack_table(stored)


def test_splitting_keeps_every_row_in_order() -> None:
    columns = make_columns(10)
    pieces = list(split(columns, 4))
    assert [len(piece) for piece in pieces] == [4, 4, 2]
    assert (Columns.concatenate(pieces).uids == columns.uids).all()


@given(st.integers(0, 700), st.data())
def test_a_column_without_some_values_has_the_others(count: int, data: st.DataObject) -> None:
    values = np.arange(count * 3, dtype=np.uint8).reshape(-1, 3)
    dead = sorted(data.draw(st.sets(st.integers(0, count - 1)))) if count else []
    column = GrowingColumn.of(values, 5).without(count, np.array(dead, np.intp))
    assert column.used == count - len(dead)
    assert (column.buffer[: column.used] == np.delete(values, dead, axis=0)).all()
