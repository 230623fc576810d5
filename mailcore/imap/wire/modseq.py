"""Mod-sequences as clients see them: one more than the place in the log, for they are never 0 (RFC 7162 §7)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mailcore.imap.wire.cursor import Cursor
from mailcore.model.ids import ModSeq

OFFSET = 1


def shown(modseq: int) -> int:
    """Return a mod-sequence as it is sent."""
    return modseq + OFFSET


def shown_array(modseqs: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Return mod-sequences as they are sent."""
    return modseqs + np.uint64(OFFSET)


def read_modseq(cursor: Cursor) -> ModSeq:
    """Read `mod-sequence-valzer`; return the place in the log, -1 where the client says 0."""
    return ModSeq(cursor.number64() - OFFSET)
