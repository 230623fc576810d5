"""A row about to be added to a mailbox: what the index of a mailbox knows of a message."""

from __future__ import annotations

from dataclasses import dataclass

MISSING_DATE = -(2**63)
"""Header date of a message that has none, or one that does not parse."""


@dataclass(frozen=True, slots=True)
class NewRow:
    """One message on its way into a mailbox; its UID and MODSEQ follow from its place in the log."""

    message_oid: bytes
    """12 bytes."""
    flags: int
    """System bits, and keyword bits of the target mailbox's list."""
    size_bytes: int
    internal_date: int
    """Seconds since 1970, as the two below."""
    saved_date: int
    header_date: int
    thread: int
    """Unsigned 64 bit."""
    message_id_hash: int = 0
    """HMAC of the user and the message's own Message-ID, as `thread` is made; 0 if there is none.

    Where it differs from `thread` the fold notes it in `message_ids`, so that an answer that
    names only its parent finds the thread of the whole conversation.
    """
