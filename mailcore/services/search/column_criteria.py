"""What the columns of a mailbox answer of a search, for all rows at once."""

from __future__ import annotations

from datetime import date
from typing import Final

import numpy as np
import numpy.typing as npt

from mailcore.model import search as model
from mailcore.model.search import Criterion, Moment
from mailcore.services.process.clock import now
from mailcore.store.mailbox.view import MailboxView

Rows = npt.NDArray[np.int64]

_DAY_S: Final = 86400


def day_start_s(day: date | None, otherwise: int) -> int:
    """Return when a day begins in UTC, in seconds since 1970."""
    return otherwise if day is None else (day.toordinal() - date(1970, 1, 1).toordinal()) * _DAY_S


def _within(moments: npt.NDArray[np.int64], since: date | None, before: date | None) -> npt.NDArray[np.bool_]:
    return np.asarray((moments >= day_start_s(since, -(1 << 62))) & (moments < day_start_s(before, 1 << 62)))


def column_mask(view: MailboxView, criterion: Criterion, rows: Rows) -> npt.NDArray[np.bool_]:
    """Return which rows match a criterion that the columns answer."""
    match criterion:
        case model.Uids(uids):
            mask = np.zeros(view.exists, np.bool_)
            mask[view.rows_of(uids)] = True
            return mask[rows]
        case model.HasFlag(bit):
            return np.asarray((view.flags[rows] & np.uint64(bit)) != 0)
        case model.HasKeyword(keyword):
            return np.asarray((view.flags[rows] & np.uint64(view.keyword_mask(keyword))) != 0)
        case model.Dated(Moment.INTERNAL, since, before):
            return _within(view.internal_dates[rows], since, before)
        case model.Dated(Moment.SAVED, since, before):
            return _within(view.saved_dates[rows], since, before)
        case model.YoungerThan(interval_s):
            return np.asarray(view.internal_dates[rows] >= now().timestamp() - interval_s)
        case model.ChangedFrom(modseq):
            return np.asarray(view.modseqs[rows].astype(np.int64) >= modseq)
        case model.MessageIs(message_oid):
            return np.asarray((view.message_oids[rows] == np.frombuffer(message_oid, np.uint8)).all(axis=1))
        case model.MessageNumbered(number):
            return np.asarray(view.message_numbers(rows) == np.uint64(number))
        case model.InThread(thread):
            return np.asarray(view.threads[rows] == np.uint64(thread))
        case model.ThreadNumbered(number):
            return np.asarray(view.thread_numbers(rows) == np.uint64(number))
        case model.LargerThan(size_bytes):
            return np.asarray(view.sizes[rows] > size_bytes)
        case model.SmallerThan(size_bytes):
            return np.asarray(view.sizes[rows] < size_bytes)
        case _:
            raise TypeError(criterion)
