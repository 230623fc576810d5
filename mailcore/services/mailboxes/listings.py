"""Lists of messages as the API shows them: columns from memory, summaries from packed blocks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import orjson

from mailcore.message.summary import summary
from mailcore.model.ids import UserId
from mailcore.services.content.content import ContentStore
from mailcore.services.process.offload import Offload
from mailcore.services.search.range_blocks import Making, RangeBlocks
from mailcore.services.search.summary_blocks import SummaryBlock
from mailcore.store.mailbox.blocks import BlockKind
from mailcore.store.mailbox.view import MailboxView
from mailcore.store.placement import Placement

Rows = npt.NDArray[np.int64]

ITEMS_BETWEEN_PAUSES: Final = 20


class Listings(RangeBlocks[SummaryBlock]):
    """Summaries of messages."""

    def __init__(self, placement: Placement, content: ContentStore, offload: Offload) -> None:
        making = Making(
            BlockKind.SUMMARY, lambda: SummaryBlock.of([]), SummaryBlock.unpack, self._made, SummaryBlock.joined
        )
        super().__init__(placement, offload, making)
        self._content = content

    def summaries(self, user_id: UserId, view: MailboxView, rows: Rows) -> dict[int, bytes]:
        """Return by row the JSON object of each message, as `message.summary` makes it; round trips as `blocks`.

        Raises:
            StoreUnavailable: what is not in memory cannot be read now.
        """
        found: dict[int, bytes] = {}
        for part, block, places in self.blocks(user_id, view, np.sort(rows)):
            texts = block.summaries
            for row, place in zip(part.tolist(), places.tolist(), strict=True):
                found[row] = texts[place]
        return found

    def _made(self, user_id: UserId, view: MailboxView, rows: Rows) -> SummaryBlock:
        """Return a block of rows from what is stored of their messages; one that is gone has an empty summary."""
        oids = [view.message_oid(row) for row in rows.tolist()]
        found = self.summaries_of(user_id, oids)
        return SummaryBlock.of([(uid, found[oid]) for uid, oid in zip(view.uids[rows].tolist(), oids, strict=True)])

    def summaries_of(self, user_id: UserId, oids: Sequence[bytes]) -> dict[bytes, bytes]:
        """Return by message the JSON object of each, read from the messages: a round trip for each 500."""
        items = self._content.items(user_id, oids)
        large = [oid for oid in oids if oid in items and items[oid].light_headers is None]
        whole = self._content.texts(user_id, large) if large else {}
        found: dict[bytes, bytes] = {}
        for index, oid in enumerate(oids):
            stored = items.get(oid)
            if stored is None:
                found[oid] = _GONE
                continue
            header = stored.light_headers
            if header is None:
                header = whole[oid].header if oid in whole else b""
            found[oid] = orjson.dumps(summary(header, stored.body_structure, stored.preview))
            if index % ITEMS_BETWEEN_PAUSES == 0:
                self._offload.pause()
        return found


_GONE: Final = orjson.dumps(summary(b"", b'("TEXT" "PLAIN" NIL NIL NIL "7BIT" 0 0 NIL NIL NIL NIL)', ""))
