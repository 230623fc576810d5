"""SORT and THREAD on the server (RFC 5256, RFC 5957): columns and packed blocks, never a query for each message."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from mailcore.model.ids import UserId
from mailcore.model.row import MISSING_DATE
from mailcore.model.sorting import Forest, SortKey, SortOrder, ThreadAlgorithm
from mailcore.services.content.content import ContentStore
from mailcore.services.process.heavy_work import HeavyWork
from mailcore.services.process.offload import Offload
from mailcore.services.process.steps import Steps
from mailcore.services.search.sort_columns import SortColumns
from mailcore.services.search.threading_by_references import ThreadInput, thread_by_references
from mailcore.store.mailbox.view import MailboxView
from mailcore.store.placement import Placement

Rows = npt.NDArray[np.int64]

RUN: Final = 4096
"""So many strings are sorted at once; Python merges sorted runs quickly."""
_FIELDS: Final = {
    SortKey.SUBJECT: 0,
    SortKey.FROM: 1,
    SortKey.TO: 2,
    SortKey.CC: 3,
    SortKey.DISPLAYFROM: 4,
    SortKey.DISPLAYTO: 5,
}


class Sorting:
    """Puts rows of one mailbox in order, or into threads."""

    def __init__(self, placement: Placement, content: ContentStore, offload: Offload, heavy: HeavyWork) -> None:
        self._columns = SortColumns(placement, content, offload)
        self._offload = offload
        self._heavy = heavy

    def sort(self, user_id: UserId, view: MailboxView, rows: Rows, order: Sequence[SortOrder]) -> Steps[Rows]:
        """Put ascending `rows` in the order asked for.

        Round trips: none for ARRIVAL, DATE and SIZE; for the others see `SortColumns.blocks`.

        Raises:
            StoreUnavailable: headers cannot be read now.
        """
        if not any(each.key in _FIELDS for each in order):
            return (yield from self._sorted(user_id, view, rows, order))
        with self._heavy.turn(user_id):
            return (yield from self._sorted(user_id, view, rows, order))

    def _sorted(self, user_id: UserId, view: MailboxView, rows: Rows, order: Sequence[SortOrder]) -> Steps[Rows]:
        fields = {_FIELDS[each.key] for each in order if each.key in _FIELDS}
        texts: dict[int, list[str]] = {index: [] for index in fields}
        if fields:
            done = 0
            for part, block, places in self._columns.blocks(user_id, view, rows):
                done += len(part)
                yield done, len(rows)
                for index, values in texts.items():
                    column = block.fields[index]
                    values += [column[place] for place in places.tolist()]
        ranks = [rows]
        for each in reversed(order):
            place = _FIELDS.get(each.key)
            rank = _column(view, rows, each.key) if place is None else self._ranks(texts[place])
            ranks.append(-rank if each.reverse else rank)
        return rows[np.lexsort(ranks)]

    def thread(self, user_id: UserId, view: MailboxView, rows: Rows, algorithm: ThreadAlgorithm) -> Steps[Forest]:
        """Put ascending `rows` into threads; round trips as `SortColumns.blocks`.

        Raises:
            StoreUnavailable: headers cannot be read now.
        """
        with self._heavy.turn(user_id):
            return (yield from self._threads(user_id, view, rows, algorithm))

    def _threads(self, user_id: UserId, view: MailboxView, rows: Rows, algorithm: ThreadAlgorithm) -> Steps[Forest]:
        subjects: list[str] = []
        own: list[int] = []
        references: list[list[int]] = []
        answers: list[bool] = []
        for part, block, places in self._columns.blocks(user_id, view, rows):
            yield len(own) + len(part), len(rows)
            starts = (block.ends - np.diff(block.ends, prepend=0))[places].tolist()
            ends = block.ends[places].tolist()
            subjects += [block.fields[0][place] for place in places.tolist()]
            own += block.own[places].tolist()
            references += [block.references[start:end].tolist() for start, end in zip(starts, ends, strict=True)]
            answers += block.answers[places].tolist()
        dates = _column(view, rows, SortKey.DATE).tolist()
        if algorithm is ThreadAlgorithm.REFERENCES:
            messages = ThreadInput(rows.tolist(), own, references, subjects, answers, dates)
            return thread_by_references(messages, self._offload.pause)
        return self._by_subject(rows, subjects, dates)

    def _by_subject(self, rows: Rows, subjects: list[str], dates: list[int]) -> Forest:
        """RFC 5256 §4, ORDEREDSUBJECT: messages of one base subject, the others are children of the first."""
        ranks = self._ranks(subjects)
        order = np.lexsort((rows, np.array(dates, np.int64), ranks))
        starts = np.flatnonzero(np.diff(ranks[order], prepend=-1))
        bounds = [*starts.tolist(), len(order)]
        ordered = order.tolist()
        threads = [ordered[low:high] for low, high in itertools.pairwise(bounds)]
        first = order[starts]
        roots = first[np.lexsort((first, np.array(dates, np.int64)[first]))]
        children: list[list[int]] = [[] for _ in ordered]
        for thread in threads:
            children[thread[0]] = thread[1:]
        return Forest(rows.tolist(), children, roots.tolist())

    def _ranks(self, values: list[str]) -> npt.NDArray[np.int64]:
        """Return the place of each string among the different ones in order."""
        distinct = list(set(values))
        for start in range(0, len(distinct), RUN):
            distinct[start : start + RUN] = sorted(distinct[start : start + RUN])
            self._offload.pause()
        distinct.sort()
        rank = {value: place for place, value in enumerate(distinct)}
        return np.fromiter(map(rank.__getitem__, values), np.int64, len(values))


def _column(view: MailboxView, rows: Rows, key: SortKey) -> npt.NDArray[np.int64]:
    """Return what a column says; DATE is the internal date where there is no other (RFC 5256 §2.2)."""
    if key is SortKey.SIZE:
        return view.sizes[rows].astype(np.int64)
    arrived: npt.NDArray[np.int64] = view.internal_dates[rows]
    if key is SortKey.ARRIVAL:
        return arrived
    sent = view.header_dates[rows]
    return np.where(sent == MISSING_DATE, arrived, sent)
