"""BDAT: so many octets of the message follow (RFC 3030 §2)."""

from __future__ import annotations

import re

from mailcore.smtp import replies
from mailcore.smtp.commands.outcome import HangUp, Outcome, ReadChunk
from mailcore.smtp.session import Session
from mailcore.smtp.wire.data_reader import ChunkReader

_ARGUMENT = re.compile(rb"([0-9]{1,20})(?: +(LAST))?", re.IGNORECASE)


def handle_bdat(session: Session, argument: bytes) -> Outcome:
    """Read `chunk-size [SP "LAST"]`. The octets follow whatever is answered, so they are read in any case.

    When the size cannot be read, nothing tells commands from content: the connection ends.
    """
    match = _ARGUMENT.fullmatch(argument)
    if match is None:
        return HangUp(replies.LOST_COUNT)
    size, is_last = int(match[1]), match[2] is not None
    transaction = session.transaction
    if transaction is None:
        return ReadChunk(size, is_last, replies.BAD_SEQUENCE)
    if not transaction.recipients:
        return ReadChunk(size, is_last, replies.NO_RECIPIENTS)
    if transaction.chunks is None:
        transaction.chunks = ChunkReader(session.policy.message_bytes)
    return ReadChunk(size, is_last)
