"""Search: columns first, then headers and text, read in blocks; exact substrings of decoded, case-folded text."""

from __future__ import annotations

import itertools
import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from datetime import date
from typing import Final

import numpy as np
import numpy.typing as npt

from mailcore.errors import MessageNotFound, StoreDamaged, Unavailable
from mailcore.message.dates import header_day
from mailcore.message.headers import find_all
from mailcore.message.text import normalize
from mailcore.model import search as model
from mailcore.model.ids import MailboxId, UserId
from mailcore.model.row import MISSING_DATE
from mailcore.model.search import Criterion, Moment
from mailcore.services.column_criteria import column_mask, day_start_s
from mailcore.services.content import BODIES_PER_READ, ITEMS_PER_READ, ContentStore
from mailcore.services.heavy_work import HeavyWork
from mailcore.services.offload import Offload
from mailcore.services.steps import Steps, result_of
from mailcore.services.text_blocks import (
    OPAQUE_FIELDS,
    RANGE_UIDS,
    BlockText,
    TextBlock,
    block_text,
    merge,
    range_key,
)
from mailcore.store.mailbox.blocks import BlockKind
from mailcore.store.mailbox.view import MailboxView
from mailcore.store.placement import Home, Placement

log = logging.getLogger(__name__)

Rows = npt.NDArray[np.int64]

BLOCKS_PER_READ: Final = 4
FEW: Final = 16
"""So few messages are read one by one rather than with their block."""
UNPACKED: Final = 64
"""So many messages of a range may be missing in its block before it is written anew."""
UNPACKED_BYTES: Final = 64 << 20
"""So much text stays in the memory of a process."""
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
        self._unpacked = _UnpackedBlocks()

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
        reader = _BlockReader(home, view, self._content, self._offload, self._unpacked, numbers)
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

    def __init__(self, view: MailboxView, sent_days: _SentDays, reader: _BlockReader | None) -> None:
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

    def _blocks(self) -> _BlockReader:
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


class _UnpackedBlocks:
    """Blocks that were read lately, as many as UNPACKED_BYTES hold; what one lacks is read besides."""

    def __init__(self) -> None:
        self._blocks: OrderedDict[tuple[MailboxId, int], TextBlock] = OrderedDict()
        self._size = 0

    def get(self, mailbox_id: MailboxId, number: int) -> TextBlock | None:
        """Return a block that is still here."""
        block = self._blocks.get((mailbox_id, number))
        if block is not None:
            self._blocks.move_to_end((mailbox_id, number))
        return block

    def put(self, mailbox_id: MailboxId, number: int, block: TextBlock) -> None:
        """Keep a block, and let go of those that were not asked for the longest."""
        before = self._blocks.pop((mailbox_id, number), None)
        if before is not None:
            self._size -= before.size_bytes
        self._blocks[mailbox_id, number] = block
        self._size += block.size_bytes
        while self._size > UNPACKED_BYTES:
            self._size -= self._blocks.popitem(last=False)[1].size_bytes


class _BlockReader:
    """Texts of a mailbox, a range of UIDs at a time; keeps the last one and what was read ahead."""

    def __init__(
        self,
        home: Home,
        view: MailboxView,
        content: ContentStore,
        offload: Offload,
        unpacked: _UnpackedBlocks,
        ranges: Sequence[int],
    ) -> None:
        self._home = home
        self._view = view
        self._content = content
        self._offload = offload
        self._unpacked = unpacked
        self._ranges = list(ranges)
        self._ahead: dict[int, bytes] = {}
        self._read_to = 0
        self._number = -1
        self._blocks: list[TextBlock] = []
        self._tried = np.empty(0, np.uint32)

    # -- questions ------------------------------------------------------------------------------

    def in_field(self, rows: Rows, name: str, needle: bytes) -> Rows:
        """Return the rows with a field of that name that contains the needle."""
        field = name.lower().encode("utf-8", "replace")
        if field in OPAQUE_FIELDS:
            return self._in_opaque_field(rows, field, needle)
        return self._ask(rows, lambda block: block.field_contains(field, needle))

    def in_header(self, rows: Rows, needle: bytes) -> Rows:
        """Return the rows whose header contains the needle."""
        return self._ask(rows, lambda block: block.header_contains(needle))

    def in_body(self, rows: Rows, needle: bytes) -> Rows:
        """Return the rows whose body contains the needle; bodies too long for a block are read whole."""
        hits = self._ask(rows, lambda block: block.body_contains(needle))
        if not any(block.cut.any() for block in self._blocks):
            return hits
        rest = np.setdiff1d(rows, hits, assume_unique=True)
        more = [row for row in self._ask(rest, lambda block: block.cut).tolist() if needle in self._whole_body(row)]
        return np.sort(np.concatenate((hits, np.array(more, np.int64))))

    def _ask(self, rows: Rows, question: Callable[[TextBlock], npt.NDArray[np.bool_]]) -> Rows:
        """Return the rows for which a block says yes."""
        if not len(rows):
            return rows
        self._load(rows)
        self._offload.pause()
        uids = self._view.uids[rows]
        hit = np.zeros(len(rows), np.bool_)
        for block in self._blocks:
            hit |= np.isin(uids, block.uids[question(block)], assume_unique=True)
        return rows[hit]

    def _whole_body(self, row: int) -> bytes:
        try:
            text = self._content.whole_text(self._home.user_id, self._view.message_oid(row))
        except MessageNotFound:
            return b""
        self._offload.pause()
        return normalize(text).encode("utf-8", "replace")

    def _in_opaque_field(self, rows: Rows, field: bytes, needle: bytes) -> Rows:
        """Look into fields that blocks leave out, in the messages themselves: 50 at a time are in memory."""
        hits: list[int] = []
        for start in range(0, len(rows), BODIES_PER_READ):
            hits += self._with_opaque_field(rows[start : start + BODIES_PER_READ].tolist(), field, needle)
        return np.array(hits, np.int64)

    def _with_opaque_field(self, rows: Sequence[int], field: bytes, needle: bytes) -> list[int]:
        texts = self._content.texts(self._home.user_id, [self._view.message_oid(row) for row in rows])
        hits = []
        for row in rows:
            searchable = texts.get(self._view.message_oid(row))
            if searchable is not None and any(
                needle in normalize(value.decode("utf-8", "replace")).encode("utf-8", "replace")
                for value in find_all(searchable.header, field)
            ):
                hits.append(row)
        return hits

    # -- reading --------------------------------------------------------------------------------

    def _load(self, rows: Rows) -> None:
        """Have the texts of `rows`, which are all of one range, in `_blocks`."""
        number = int(self._view.uids[rows[0]]) // RANGE_UIDS
        if number != self._number:
            self._number = number
            block = self._unpacked.get(self._view.mailbox_id, number) or self._stored(number)
            self._blocks = [block] if block is not None else []
            self._tried = np.empty(0, np.uint32)
        wanted = self._missing(rows)
        if not len(wanted):
            return
        low, high = np.searchsorted(self._view.uids, [number * RANGE_UIDS, (number + 1) * RANGE_UIDS])
        missing = self._missing(np.arange(int(low), int(high), dtype=np.int64))
        if len(wanted) <= FEW or len(missing) <= UNPACKED:
            self._blocks.append(self._read(wanted))
            return
        self._blocks.append(self._read(missing))
        self._write(number, self._view.uids[int(low) : int(high)])

    def _missing(self, rows: Rows) -> Rows:
        known = self._tried
        uids = self._view.uids[rows]
        for block in self._blocks:
            known = np.union1d(known, block.uids)
        return rows[~np.isin(uids, known, assume_unique=True)]

    def _stored(self, number: int) -> TextBlock | None:
        """Return the stored block of a range; reads the next ones along."""
        if number not in self._ahead:
            place = self._ranges.index(number)
            wanted = self._ranges[place : place + BLOCKS_PER_READ]
            found = self._home.shard.blocks.get_many(
                self._home.user_id,
                self._view.mailbox_id,
                [range_key(wanted_number) for wanted_number in wanted],
                BlockKind.TEXT,
            )
            self._ahead = {wanted_number: found.get(range_key(wanted_number), b"") for wanted_number in wanted}
        stored = self._ahead.pop(number)
        if not stored:
            return None
        try:
            block = TextBlock.unpack(stored)
        except StoreDamaged:
            log.warning("search.block.damaged", extra={"mailbox_id": str(self._view.mailbox_id), "range": number})
            return None
        self._unpacked.put(self._view.mailbox_id, number, block)
        return block

    def _read(self, rows: Rows) -> TextBlock:
        """Return the texts of rows from their messages; a message that is gone matches nothing."""
        oids = [self._view.message_oid(row) for row in rows.tolist()]
        texts: dict[bytes, BlockText] = {}
        for start in range(0, len(oids), BODIES_PER_READ):
            batch = oids[start : start + BODIES_PER_READ]
            for oid, searchable in self._content.texts(self._home.user_id, batch).items():
                texts[oid] = block_text(searchable)
            self._offload.pause()
        uids = self._view.uids[rows]
        self._tried = np.union1d(self._tried, uids)
        return TextBlock.of((uid, texts[oid]) for uid, oid in zip(uids.tolist(), oids, strict=True) if oid in texts)

    def _write(self, number: int, live: npt.NDArray[np.uint32]) -> None:
        """Store the block of a range for later searches; a cache, so failing is no fault."""
        block = merge(self._blocks, live)
        if len(self._blocks) > 1 and len(block.uids) <= len(self._blocks[0].uids):
            return  # full: what does not fit is read each time
        self._unpacked.put(self._view.mailbox_id, number, block)
        try:
            self._home.shard.blocks.put(
                self._home.user_id, self._view.mailbox_id, range_key(number), BlockKind.TEXT, block.pack()
            )
        except Unavailable as error:
            log.info("search.block.not_stored", extra={"reason": type(error).__name__})
