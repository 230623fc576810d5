"""Reads what SORT and THREAD compare, for many rows of a mailbox at once."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from mailcore.message.sorting import sort_and_thread_fields
from mailcore.model.ids import UserId
from mailcore.services.content.content import ContentStore
from mailcore.services.process.offload import Offload
from mailcore.services.search.range_blocks import Making, RangeBlocks
from mailcore.services.search.sort_blocks import SortBlock
from mailcore.store.mailbox.blocks import BlockKind
from mailcore.store.mailbox.view import MailboxView
from mailcore.store.placement import Placement

Rows = npt.NDArray[np.int64]

ITEMS_BETWEEN_PAUSES: Final = 100


class SortColumns(RangeBlocks[SortBlock]):
    """Sort blocks of mailboxes."""

    def __init__(self, placement: Placement, content: ContentStore, offload: Offload) -> None:
        making = Making(BlockKind.LISTING, lambda: SortBlock.of([]), SortBlock.unpack, self._made, SortBlock.joined)
        super().__init__(placement, offload, making)
        self._content = content

    def _made(self, user_id: UserId, view: MailboxView, rows: Rows) -> SortBlock:
        """Return a block of rows from the headers of their messages."""
        oids = [view.message_oid(row) for row in rows.tolist()]
        items = self._content.items(user_id, oids)
        large = [oid for oid in oids if oid in items and items[oid].light_headers is None]
        whole = self._content.texts(user_id, large) if large else {}
        entries = []
        for index, (uid, oid) in enumerate(zip(view.uids[rows].tolist(), oids, strict=True)):
            header = items[oid].light_headers if oid in items else b""
            if header is None:
                header = whole[oid].header if oid in whole else b""
            entries.append((uid, *sort_and_thread_fields(header)))
            if index % ITEMS_BETWEEN_PAUSES == 0:
                self._offload.pause()
        return SortBlock.of(entries)
