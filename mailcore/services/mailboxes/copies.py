"""Copies of messages: which of some messages, known by their ids, a mailbox holds; whole columns at a time."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from mailcore.store.mailbox.columns import Columns
from mailcore.store.mailbox.view import MailboxView

Rows = npt.NDArray[np.int64]
Ids = npt.NDArray[np.bytes_]
"""Message ids, twelve bytes each."""
Mask = npt.NDArray[np.bool_]

OID_BYTES: Final = 12


def ids_of(columns: MailboxView | Columns, rows: Rows | None = None) -> Ids:
    """Return the message ids of rows, all by default."""
    oids = columns.message_oids if rows is None else columns.message_oids[rows]
    return np.ascontiguousarray(oids).view(f"S{OID_BYTES}").ravel()


def held(ids: Ids, view: MailboxView, *, without: int = 0) -> Mask:
    """Return which of the ids, ascending and each once, a mailbox holds; copies flagged `without` do not count."""
    found = np.zeros(len(ids), np.bool_)
    if len(ids):
        others = ids_of(view)
        if without:
            others = others[(view.flags & np.uint64(without)) == 0]
        at = np.minimum(np.searchsorted(ids, others), len(ids) - 1)
        found[at[ids[at] == others]] = True
    return found


def rows_of(ids: Ids, view: MailboxView) -> Rows:
    """Return the rows that hold one of the ids, which are ascending and each once."""
    others = ids_of(view)
    if not len(ids):
        return np.empty(0, np.int64)
    at = np.minimum(np.searchsorted(ids, others), len(ids) - 1)
    return np.flatnonzero(ids[at] == others)
