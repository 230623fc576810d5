"""Mail exports: all mail of one user as one file, made by a worker and kept for some days."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from bson import ObjectId

from mailcore.model.ids import MailboxId, TenantId, UserId

KEPT_FOR: Final = timedelta(days=7)
"""So long a finished file can be fetched, and so long it is tried to make one."""
PIECES_KEPT_FOR: Final = 2 * KEPT_FOR
"""From the asking: no file that can be fetched is older, and the database removes what nobody else did."""


class ExportState(StrEnum):
    """How far a file is."""

    MAKING = "making"
    """A worker writes it, or will."""
    READY = "ready"
    FAILED = "failed"
    """It was tried many times in vain."""


@dataclass(frozen=True, slots=True)
class ExportedMailbox:
    """A mailbox as it was when the writing began: what comes later is left out."""

    id: MailboxId
    folder: str
    """What it is called in the file."""
    uid_next: int


@dataclass(frozen=True, slots=True)
class Place:
    """Up to where a file is written: everything before this mailbox of its list, and in it up to a UID."""

    mailbox: int = -1
    """-1: nothing is written."""
    uid: int = 0


@dataclass(frozen=True, slots=True)
class MailExport:
    """The latest file that a user asked for.

    Attributes:
        claim: whoever writes has this one; another claim ends an earlier writer.
        expected_bytes: about how large it will be.
        size_bytes: what is written, up to `place`.
        damaged: messages that could not be read, and are left out or end in zeros.
        tries: begun since the last progress.
    """

    user_id: UserId
    tenant_id: TenantId
    id: ObjectId
    state: ExportState
    asked_at: datetime
    expires_at: datetime
    expected_bytes: int = 0
    mailboxes: tuple[ExportedMailbox, ...] = ()
    place: Place = Place()
    size_bytes: int = 0
    messages: int = 0
    damaged: int = 0
    tries: int = 0
    claim: ObjectId | None = None

    @property
    def percent(self) -> int:
        """How much of it is there; 100 only when it is ready."""
        if self.state is ExportState.READY:
            return 100
        return min(self.size_bytes * 100 // max(self.expected_bytes, 1), 99)
