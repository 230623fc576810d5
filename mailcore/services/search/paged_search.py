"""Searches whose results are looked at page by page: the next page searches no text again."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

import numpy as np
import numpy.typing as npt

from mailcore.model.ids import MailboxId, UserId
from mailcore.model.search import Criterion, YoungerThan, any_leaf
from mailcore.services.search.search import Search
from mailcore.store.mailbox.view import MailboxView

Rows = npt.NDArray[np.int64]

KEPT_ROWS: Final = 1 << 20
"""So many rows of what was found lately are kept."""
OVERHEAD: Final = 64


class PagedSearch:
    """Remembers what was found lately, as long as the mailbox does not change."""

    def __init__(self, search: Search) -> None:
        self._search = search
        self._found: OrderedDict[tuple[MailboxId, int, Criterion], Rows] = OrderedDict()
        self._rows = 0

    def search(self, user_id: UserId, view: MailboxView, criterion: Criterion) -> Rows:
        """Return the rows of `view` that match, ascending; round trips as `Search.steps`, or none.

        Raises:
            StoreUnavailable: text or headers cannot be read now.
        """
        key = (view.mailbox_id, view.highest_modseq, criterion)
        known = self._found.get(key)
        if known is not None:
            self._found.move_to_end(key)
            return known
        rows = self._search.search(user_id, view, criterion)
        if not any_leaf(criterion, lambda leaf: isinstance(leaf, YoungerThan)):
            self._keep(key, rows)
        return rows

    def _keep(self, key: tuple[MailboxId, int, Criterion], rows: Rows) -> None:
        before = self._found.pop(key, None)
        if before is not None:
            self._rows -= len(before) + OVERHEAD
        self._found[key] = rows
        self._rows += len(rows) + OVERHEAD
        while self._rows > KEPT_ROWS:
            self._rows -= len(self._found.popitem(last=False)[1]) + OVERHEAD
