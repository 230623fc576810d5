"""Flags as bits: five system flags, two internal marks, 56 keywords of the mailbox (RFC 9051 §2.3.2)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

SEEN = 1 << 0
ANSWERED = 1 << 1
FLAGGED = 1 << 2
DELETED = 1 << 3
DRAFT = 1 << 4
HAS_NOTE = 1 << 5
"""Internal: a document in `notes` belongs to this copy. Never shown to clients."""
LEAVING = 1 << 6
"""Internal: whoever set it takes this copy away if the message lies elsewhere; so it keeps nobody else's."""
INTERNAL_MASK = HAS_NOTE | LEAVING
KEYWORD_SHIFT = 8
"""Bit of the first entry of the mailbox's keyword list."""

SYSTEM_FLAGS: dict[str, int] = {
    "\\Seen": SEEN,
    "\\Answered": ANSWERED,
    "\\Flagged": FLAGGED,
    "\\Deleted": DELETED,
    "\\Draft": DRAFT,
}
SYSTEM_MASK = SEEN | ANSWERED | FLAGGED | DELETED | DRAFT


class FlagOperation(StrEnum):
    """How a STORE changes flags (RFC 9051 §6.4.6)."""

    ADD = "+FLAGS"
    REMOVE = "-FLAGS"
    REPLACE = "FLAGS"


@dataclass(frozen=True, slots=True)
class FlagSet:
    """Flags as a client names them: system bits, and keywords by name (case kept, compared without)."""

    system: int = 0
    keywords: tuple[str, ...] = ()


def keyword_bit(index: int) -> int:
    """Return the bit of the keyword at `index` (0..55) of the mailbox's list."""
    return 1 << (KEYWORD_SHIFT + index)
