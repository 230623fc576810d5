"""What happened in a mailbox: why it changed, what a commit was given, what a session has to tell its client."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from mailcore.model.ids import ModSeq, Uid, UidValidity


class Cause(StrEnum):
    """Why a mailbox changed; stored in its log and told by events."""

    DELIVERY = "delivery"
    APPEND = "append"
    COPY = "copy"
    MOVE_FROM = "move-from"
    """Rows that came from another mailbox, which loses them."""
    MOVE_TO = "move-to"
    """Rows that went to another mailbox, which has them already."""
    RESTORE = "restore"
    IMPORT = "import"
    STORE = "store"
    EXPUNGE = "expunge"
    DISCARD = "discard"
    """As expunge, and not to be listed among what can be restored."""
    RETENTION = "retention"
    DELETE_MAILBOX = "delete-mailbox"


@dataclass(frozen=True, slots=True)
class Commit:
    """What one change of a mailbox was given."""

    modseq: ModSeq
    first_uid: Uid
    """UID of the first row added; the others follow without gaps. UIDNEXT if none was added."""
    uid_validity: UidValidity
    highest_modseq: ModSeq
