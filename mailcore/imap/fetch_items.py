"""How FETCH items are answered: columns of the view in bulk, stored items joined, never an object per message.

An extension whose item is a column adds one row to COLUMN_ITEMS, one whose item is stored with
the message one row to STORED_ITEMS.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mailcore.imap.wire.modseq import shown_array
from mailcore.imap.wire.responses import flag_list
from mailcore.message.body_structure import body_from_body_structure
from mailcore.message.imap_string import imap_string
from mailcore.model import flags

if TYPE_CHECKING:
    from mailcore.model.content import StoredItems
    from mailcore.store.mailbox.view import MailboxView

Indexes = npt.NDArray[np.int64]
Cells = Sequence[object]

FEW = 16
"""Rows that are looked at one by one: sooner done than finding which are alike."""
_VISIBLE = np.uint64(0xFFFFFFFFFFFFFFFF & ~flags.INTERNAL_MASK)


@dataclass(frozen=True, slots=True)
class ColumnItem:
    """An item that the mailbox itself answers.

    Attributes:
        piece: its text, with one `%d` or `%b`.
        cells: the values for some rows, in their order.
    """

    piece: bytes
    cells: Callable[[MailboxView, Indexes], Cells]


@dataclass(frozen=True, slots=True)
class StoredItem:
    """An item that was serialized when the message arrived."""

    piece: bytes
    cells: Callable[[Sequence[StoredItems]], Cells]


def flag_cells(view: MailboxView, rows: Indexes) -> list[bytes]:
    """Return the flag list of each row; each combination is written once."""
    flags_of_rows = view.flags[rows] & _VISIBLE
    if len(rows) <= FEW:
        return [flags_text(view.keywords, bits) for bits in flags_of_rows.tolist()]
    combinations, which = np.unique(flags_of_rows, return_inverse=True)
    texts = [flags_text(view.keywords, bits) for bits in combinations.tolist()]
    if len(texts) == 1:
        return texts * len(rows)
    return [texts[index] for index in which.tolist()]


@lru_cache(maxsize=4096)
def flags_text(keywords: tuple[str, ...], bits: int) -> bytes:
    """Return flag bits as a parenthesized list, system flags first."""
    names = [name for name, bit in flags.SYSTEM_FLAGS.items() if bits & bit]
    names += [name for index, name in enumerate(keywords) if bits & flags.keyword_bit(index)]
    return flag_list(names)


_MONTH_NAMES = b"JanFebMarAprMayJunJulAugSepOctNovDec"
_TWO_DIGITS = np.frombuffer(b"".join(b"%02d" % number for number in range(100)), np.uint8).reshape(100, 2)
_MONTH_LETTERS = np.frombuffer(_MONTH_NAMES, np.uint8).reshape(12, 3)
_DATE_FRAME = np.frombuffer(b"00-Jan-0000 00:00:00 +0000", np.uint8)
_FIRST, _LAST = -62135596800, 253402300799
"""Seconds of the years 1 to 9999."""


def date_time_cells(moments: npt.NDArray[np.int64]) -> list[bytes]:
    """Return instants as `date-time` without quotes, in UTC."""
    moments = np.clip(moments, _FIRST, _LAST)
    days, seconds = np.divmod(moments, 86400)
    dates = days.astype("datetime64[D]")
    months = dates.astype("datetime64[M]").astype(np.int64)
    years, month = np.divmod(months + 1970 * 12, 12)
    day = (dates - dates.astype("datetime64[M]")).astype(np.int64) + 1
    text = np.tile(_DATE_FRAME, (len(moments), 1))
    text[:, 0:2] = _TWO_DIGITS[day]
    text[day < 10, 0] = 32
    text[:, 3:6] = _MONTH_LETTERS[month]
    text[:, 7:9] = _TWO_DIGITS[years // 100]
    text[:, 9:11] = _TWO_DIGITS[years % 100]
    text[:, 12:14] = _TWO_DIGITS[seconds // 3600]
    text[:, 15:17] = _TWO_DIGITS[seconds // 60 % 60]
    text[:, 18:20] = _TWO_DIGITS[seconds % 60]
    cells: list[bytes] = text.view("S26").ravel().tolist()
    return cells


def _sizes(view: MailboxView, rows: Indexes) -> list[int]:
    return view.sizes[rows].tolist()  # type: ignore[no-any-return]


def _uids(view: MailboxView, rows: Indexes) -> list[int]:
    return view.uids[rows].tolist()  # type: ignore[no-any-return]


def _modseqs(view: MailboxView, rows: Indexes) -> list[int]:
    return shown_array(view.modseqs[rows]).tolist()  # type: ignore[no-any-return]


def _email_ids(view: MailboxView, rows: Indexes) -> list[bytes]:
    digits = view.message_oids[rows].tobytes().hex().encode("ascii")
    return [digits[start : start + 24] for start in range(0, len(digits), 24)]


COLUMN_ITEMS: dict[str, ColumnItem] = {
    "UID": ColumnItem(b"UID %d", _uids),
    "FLAGS": ColumnItem(b"FLAGS %b", flag_cells),
    "INTERNALDATE": ColumnItem(b'INTERNALDATE "%b"', lambda view, rows: date_time_cells(view.internal_dates[rows])),
    "SAVEDATE": ColumnItem(b'SAVEDATE "%b"', lambda view, rows: date_time_cells(view.saved_dates[rows])),
    "RFC822.SIZE": ColumnItem(b"RFC822.SIZE %d", _sizes),
    "MODSEQ": ColumnItem(b"MODSEQ (%d)", _modseqs),
    "EMAILID": ColumnItem(b"EMAILID (M%b)", _email_ids),
    "THREADID": ColumnItem(b"THREADID (T%016x)", lambda view, rows: view.threads[rows].tolist()),
    "X-GM-MSGID": ColumnItem(b"X-GM-MSGID %d", lambda view, rows: view.message_numbers(rows).tolist()),
    "X-GM-THRID": ColumnItem(b"X-GM-THRID %d", lambda view, rows: view.thread_numbers(rows).tolist()),
}

STORED_ITEMS: dict[str, StoredItem] = {
    "ENVELOPE": StoredItem(b"ENVELOPE %b", lambda stored: [items.envelope for items in stored]),
    "PREVIEW": StoredItem(b"PREVIEW %b", lambda stored: [imap_string(items.preview.encode()) for items in stored]),
    "BODYSTRUCTURE": StoredItem(b"BODYSTRUCTURE %b", lambda stored: [items.body_structure for items in stored]),
    "BODY": StoredItem(b"BODY %b", lambda stored: [body_from_body_structure(items.body_structure) for items in stored]),
}


def format_table(pieces: Sequence[bytes], columns: Sequence[Cells], positions: Indexes) -> bytes:
    """Return one FETCH response per position: its pieces joined, filled with the cells of each column."""
    count = len(positions)
    width = len(columns) + 1
    cells: list[object] = [None] * (count * width)
    cells[0::width] = (positions + 1).tolist()
    for index, column in enumerate(columns, 1):
        cells[index::width] = column
    template = b"* %d FETCH (" + b" ".join(pieces) + b")\r\n"
    return (template * count) % tuple(cells)


def format_columns(view: MailboxView, names: Sequence[str], positions: Indexes, rows: Indexes) -> bytes:
    """Return the FETCH responses of items that all are columns."""
    return format_items(view, [COLUMN_ITEMS[name] for name in names], positions, rows)


def format_items(view: MailboxView, items: Sequence[ColumnItem], positions: Indexes, rows: Indexes) -> bytes:
    """Return the FETCH responses of columns."""
    return format_table([item.piece for item in items], [item.cells(view, rows) for item in items], positions)


def format_flags(
    view: MailboxView, positions: Indexes, rows: Indexes, *, with_uid: bool, with_modseq: bool = False
) -> bytes:
    """Return FETCH responses that tell flags, as after a STORE."""
    names = ["UID"] * with_uid + ["FLAGS"] + ["MODSEQ"] * with_modseq
    return format_columns(view, names, positions, rows)
