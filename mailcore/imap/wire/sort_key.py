"""Rules `sort-criteria` and `thread-alg` (RFC 5256 §5, RFC 5957)."""

from __future__ import annotations

from mailcore.errors import SyntaxFault
from mailcore.imap.wire.cursor import Cursor
from mailcore.model.sorting import SortKey, SortOrder, ThreadAlgorithm

MAX_KEYS = 32


def read_sort_order(cursor: Cursor) -> tuple[SortOrder, ...]:
    """Read `"(" sort-criterion *(SP sort-criterion) ")"`; a key that was there already changes nothing."""
    order: dict[SortKey, SortOrder] = {}
    criteria = cursor.parenthesized(lambda: _criterion(cursor))
    if len(criteria) > MAX_KEYS:
        raise SyntaxFault("too many sort keys")
    for criterion in criteria:
        order.setdefault(criterion.key, criterion)
    return tuple(order.values())


def _criterion(cursor: Cursor) -> SortOrder:
    reverse = cursor.accept_word(b"REVERSE")
    if reverse:
        cursor.space()
    try:
        return SortOrder(SortKey(cursor.word()), reverse)
    except ValueError:
        raise SyntaxFault("unknown sort key") from None


def read_thread_algorithm(cursor: Cursor) -> ThreadAlgorithm:
    """Read `thread-alg`."""
    try:
        return ThreadAlgorithm(cursor.word())
    except ValueError:
        raise SyntaxFault("unknown threading algorithm") from None
