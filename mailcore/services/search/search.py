"""Search: columns first, then headers and text, read in blocks; exact substrings of decoded, case-folded text."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from datetime import date
from typing import Final

import numpy as np
import numpy.typing as npt

from mailcore.message.dates import header_day
from mailcore.message.text import normalize
from mailcore.model import search as model
from mailcore.model.ids import UserId
from mailcore.model.row import MISSING_DATE
from mailcore.model.search import Criterion, Moment
from mailcore.services.content.content import ITEMS_PER_READ, ContentStore
from mailcore.services.process.heavy_work import HeavyWork
from mailcore.services.process.offload import Offload
from mailcore.services.process.steps import Steps, result_of
from mailcore.services.search.block_reader import BlockReader, UnpackedBlocks
from mailcore.services.search.column_criteria import column_mask, day_start_s
from mailcore.services.search.text_blocks import (
    RANGE_UIDS,
)
from mailcore.store.mailbox.view import MailboxView
from mailcore.store.placement import Placement

Rows = npt.NDArray[np.int64]

_TEXTUAL: Final = (model.InHeader, model.InBody, model.InText)
_ZONES_S: Final = 100 * 3600
"""A Date field's day and its instant in UTC are at most this far apart."""


class Search:
    """Finds messages in one mailbox of a user."""

    def __init__(self, placement: Placement, content: ContentStore, offload: Offload, heavy: HeavyWork) -> None:
        self._heavy = heavy
        self._placement = placement
        self._content = content
        self._offload = offload
        self._unpacked = UnpackedBlocks()

    def search(self, user_id: UserId, view: MailboxView, criterion: Criterion) -> Rows:
        """Return the rows of `view` that match, ascending; see `steps`."""
        return result_of(self.steps(user_id, view, criterion))

    def steps(self, user_id: UserId, view: MailboxView, criterion: Criterion) -> Steps[Rows]:
        """Find the rows of `view` that match, ascending, and say how far that is.

        Round trips: none for flags, sizes, UIDs and internal dates. For sent dates one for each 500
        messages within days of the date. For headers and text one for each four blocks of 1024 UIDs,
        and one for each 50 messages that no block holds. Other connections run in between.

        Raises:
            StoreUnavailable: text or headers cannot be read now.
        """
        everything = np.arange(view.exists, dtype=np.int64)
        sent_days = _SentDays(self._content, view)
        if not model.any_leaf(criterion, lambda leaf: isinstance(leaf, _TEXTUAL)):
            return _Evaluation(view, sent_days, None).select(criterion, everything)
        with self._heavy.turn(user_id):
            return (yield from self._by_text(user_id, view, criterion, sent_days))

    def _by_text(self, user_id: UserId, view: MailboxView, criterion: Criterion, sent_days: _SentDays) -> Steps[Rows]:
        """Go through the mailbox a range of UIDs at a time."""
        everything = np.arange(view.exists, dtype=np.int64)
        home = self._placement.home(user_id)
        ranges = (view.uids // RANGE_UIDS).astype(np.int64)
        starts = np.flatnonzero(np.diff(ranges, prepend=-1)) if view.exists else np.empty(0, np.int64)
        bounds = [*starts.tolist(), view.exists]
        numbers = [int(ranges[start]) for start in bounds[:-1]]
        reader = BlockReader(home, view, self._content, self._offload, self._unpacked, numbers)
        found: list[Rows] = []
        for start, end in itertools.pairwise(bounds):
            found.append(_Evaluation(view, sent_days, reader).select(criterion, everything[start:end]))
            self._offload.pause()
            yield end, view.exists
        return np.concatenate(found) if found else everything


def _cost(criterion: Criterion) -> int:
    """What is cheap is asked first: columns, then dates and headers, then text."""
    match criterion:
        case model.And(criteria) | model.Or(criteria):
            return max(map(_cost, criteria), default=0)
        case model.Not(child):
            return _cost(child)
        case model.Dated(Moment.SENT):
            return 1
        case model.InHeader():
            return 2
        case model.InBody() | model.InText():
            return 3
        case _:
            return 0


class _Evaluation:
    """Matches rows against a tree; where text is asked for, they are of one range of UIDs."""

    def __init__(self, view: MailboxView, sent_days: _SentDays, reader: BlockReader | None) -> None:
        self._view = view
        self._sent_days = sent_days
        self._reader = reader

    def select(self, criterion: Criterion, rows: Rows) -> Rows:
        """Return those of `rows` that match, in their order."""
        if not len(rows):
            return rows
        match criterion:
            case model.Everything():
                return rows
            case model.Nothing():
                return rows[:0]
            case model.And(criteria):
                for child in sorted(criteria, key=_cost):
                    rows = self.select(child, rows)
                return rows
            case model.Or(criteria):
                return self._any(sorted(criteria, key=_cost), rows)
            case model.Not(child):
                return np.setdiff1d(rows, self.select(child, rows), assume_unique=True)
            case model.Dated(Moment.SENT, since, before):
                return self._sent(since, before, rows)
            case model.InHeader() | model.InBody() | model.InText():
                return self._text(criterion, rows)
            case _:
                return rows[column_mask(self._view, criterion, rows)]

    def _any(self, criteria: Sequence[Criterion], rows: Rows) -> Rows:
        found: list[Rows] = []
        rest = rows
        for child in criteria:
            hits = self.select(child, rest)
            found.append(hits)
            rest = np.setdiff1d(rest, hits, assume_unique=True)
        return np.sort(np.concatenate(found)) if found else rows[:0]

    # -- what needs messages --------------------------------------------------------------------

    def _sent(self, since: date | None, before: date | None, rows: Rows) -> Rows:
        """Compare days as the Date field writes them; only rows near a border are read."""
        instants = self._view.header_dates[rows]
        dated = instants != MISSING_DATE
        low, high = day_start_s(since, -(1 << 62)), day_start_s(before, 1 << 62)
        certain = dated & (instants >= low + _ZONES_S) & (instants < high - _ZONES_S)
        possible = dated & ~certain & (instants >= low - _ZONES_S) & (instants < high + _ZONES_S)
        near = rows[possible]
        surely = np.asarray(rows[certain])
        if not len(near):
            return surely
        inside = [
            row
            for row, day in zip(near.tolist(), self._sent_days.of(near), strict=True)
            if day is not None and (since is None or day >= since) and (before is None or day < before)
        ]
        return np.sort(np.append(surely, np.array(inside, np.int64)))

    def _text(self, criterion: Criterion, rows: Rows) -> Rows:
        match criterion:
            case model.InHeader(name, text):
                return self._blocks().in_field(rows, name, _needle(text))
            case model.InBody(text):
                return self._blocks().in_body(rows, _needle(text))
            case model.InText(text):
                needle = _needle(text)
                hits = self._blocks().in_header(rows, needle)
                rest = np.setdiff1d(rows, hits, assume_unique=True)
                return np.sort(np.concatenate((hits, self._blocks().in_body(rest, needle))))
            case _:
                raise TypeError(criterion)

    def _blocks(self) -> BlockReader:
        assert self._reader is not None
        return self._reader


def _needle(text: str) -> bytes:
    return normalize(text.replace("\r\n", "\n")).encode("utf-8", "replace")


class _SentDays:
    """Days as the Date fields of messages write them."""

    def __init__(self, content: ContentStore, view: MailboxView) -> None:
        self._content = content
        self._view = view

    def of(self, rows: Rows) -> list[date | None]:
        """Return the day of each row; one round trip for each 500, whose headers alone are in memory."""
        days: list[date | None] = []
        for start in range(0, len(rows), ITEMS_PER_READ):
            days += self._of_some(rows[start : start + ITEMS_PER_READ])
        return days

    def _of_some(self, rows: Rows) -> list[date | None]:
        user_id = self._view.user_id
        oids = [self._view.message_oid(row) for row in rows.tolist()]
        items = self._content.items(user_id, oids)
        days: list[date | None] = []
        for oid in oids:
            stored = items.get(oid)
            if stored is None:
                days.append(None)
            elif stored.light_headers is not None:
                days.append(header_day(stored.light_headers))
            else:
                days.append(header_day(self._content.open(user_id, oid).header_bytes()))
        return days
