"""Columns as FETCH items: the same as the calendar and the flags say, for every row at once."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import numpy as np

from mailcore.imap.fetch_items import date_time_cells, flags_text, format_columns
from mailcore.store.mailbox.columns import Columns
from mailcore.store.mailbox.view import MailboxView
from tests.unit.imap.test_selected import _MAILBOX, _USER

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _view(dates: list[int], flags: list[int]) -> MailboxView:
    count = len(dates)
    numbers = np.arange(count)
    columns = Columns(
        uids=(numbers * 3 + 1).astype(np.uint32),
        flags=np.array(flags, np.uint64),
        modseqs=np.ones(count, np.uint64),
        sizes=(numbers * 1000).astype(np.uint32),
        internal_dates=np.array(dates, np.int64),
        saved_dates=np.array(dates, np.int64),
        header_dates=np.array(dates, np.int64),
        threads=numbers.astype(np.uint64),
        message_oids=np.zeros((count, 12), np.uint8),
    )
    return MailboxView.of_columns(
        _USER,
        _MAILBOX,
        columns,
        uid_validity=1,
        uid_next=count * 3 + 1,
        modseq=1,
        flag_sequence=1,
        keywords=("$A", "B"),
    )


def test_internal_dates_are_those_of_the_calendar() -> None:
    chance = random.Random(7)
    dates = [0, -1, 86399, 86400, 951782400, 951868799, 4102444800, 1709164800]
    dates += [chance.randrange(-60_000_000_000, 250_000_000_000) for _ in range(3000)]
    cells = date_time_cells(np.array(dates))
    for seconds, cell in zip(dates, cells, strict=True):
        moment = _EPOCH + timedelta(seconds=seconds)
        expected = f"{moment.day:2d}-{moment:%b}-{moment.year:04d} {moment:%H:%M:%S} +0000"
        assert cell.decode() == expected


def test_dates_outside_the_calendar_stay_readable() -> None:
    cells = date_time_cells(np.array([-(1 << 62), 1 << 62]))
    assert cells == [b" 1-Jan-0001 00:00:00 +0000", b"31-Dec-9999 23:59:59 +0000"]


def test_responses_of_columns() -> None:
    view = _view([0, 60, 120], [0, 1 | 256, 4 | 512 | 32])
    rows = np.array([0, 2])
    assert format_columns(view, ("UID", "FLAGS", "INTERNALDATE", "RFC822.SIZE"), rows + 4, rows) == (
        b'* 5 FETCH (UID 1 FLAGS () INTERNALDATE " 1-Jan-1970 00:00:00 +0000" RFC822.SIZE 0)\r\n'
        b'* 7 FETCH (UID 7 FLAGS (\\Flagged B) INTERNALDATE " 1-Jan-1970 00:02:00 +0000" RFC822.SIZE 2000)\r\n'
    )
    assert format_columns(view, ("FLAGS",), rows[:0], rows[:0]) == b""


def test_flags_are_written_once_for_each_combination() -> None:
    flags_text.cache_clear()
    count = 10_000
    view = _view([0] * count, [number % 8 for number in range(count)])
    rows = np.arange(count)
    told = format_columns(view, ("FLAGS",), rows, rows)
    assert flags_text.cache_info().misses == 8
    one_by_one = b"".join(format_columns(view, ("FLAGS",), rows[at : at + 1], rows[at : at + 1]) for at in range(40))
    assert told.startswith(one_by_one)
