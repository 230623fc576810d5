"""Rule `partial-range` (RFC 9394 §4): a page of a result, counted from its beginning or its end."""

from __future__ import annotations

import re
from dataclasses import dataclass

from mailcore.errors import SyntaxFault
from mailcore.imap.wire.cursor import Cursor
from mailcore.model.uid_set import MAX_NUMBER

_RANGE = re.compile(rb"(-?)([1-9][0-9]{0,9}):(-?)([1-9][0-9]{0,9})(?![0-9])")


@dataclass(frozen=True, slots=True)
class PartialRange:
    """Places `low` to `high` of a result, both included, from 1.

    Attributes:
        from_end: counted from the last one backwards.
        wire: as the client wrote it.
    """

    low: int
    high: int
    from_end: bool
    wire: bytes

    def slice(self, count: int) -> slice:
        """Return which of `count` results are meant."""
        if self.from_end:
            return slice(max(count - self.high, 0), max(count - self.low + 1, 0))
        return slice(self.low - 1, self.high)


def read_partial_range(cursor: Cursor) -> PartialRange:
    """Read `partial-range-first / partial-range-last`."""
    found = cursor.match(_RANGE, "range")
    if found[1] != found[3]:
        raise SyntaxFault("both ends must count from the same side")
    first, second = int(found[2]), int(found[4])
    if max(first, second) > MAX_NUMBER:
        raise SyntaxFault("number too large")
    return PartialRange(min(first, second), max(first, second), found[1] == b"-", found[0])
