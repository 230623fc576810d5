"""What a webmail composed: a message to be kept or sent, where it lies, and what is kept beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import orjson
from bson import ObjectId

from mailcore.model.flags import SEEN
from mailcore.model.ids import MailboxId
from mailcore.model.mailbox import MailboxEntry
from mailcore.model.octets import Octets
from mailcore.model.uid_set import UidSet
from mailcore.services.content.originals import Following, Reference


@dataclass(frozen=True, slots=True)
class MessagePlace:
    """A copy of a message."""

    mailbox_id: MailboxId
    uid: int

    @property
    def uids(self) -> UidSet:
        """Return it as a set."""
        return UidSet(((self.uid, self.uid),))


@dataclass(frozen=True, slots=True)
class Background:
    """What is kept beside a message that was composed here.

    Attributes:
        reference: what it answers or sends on.
        files: storage files in it.
        forwarded_to: addresses that it was sent on to.
    """

    reference: Reference | None = None
    files: tuple[ObjectId, ...] = ()
    forwarded_to: tuple[str, ...] = ()

    def pack(self) -> bytes:
        """Return it as JSON; nothing for nothing."""
        found: dict[str, Any] = {}
        if self.reference is not None:
            mailbox = str(self.reference.mailbox_id)
            found["reference"] = {"mailbox": mailbox, "id": self.reference.uid, "action": self.reference.action.value}
        if self.files:
            found["files"] = [str(file_id) for file_id in self.files]
        if self.forwarded_to:
            found["forwardedTo"] = list(self.forwarded_to)
        return orjson.dumps(found) if found else b""

    @classmethod
    def unpack(cls, packed: bytes) -> Background:
        """Return what `pack` packed."""
        if not packed:
            return cls()
        found = orjson.loads(packed)
        reference = None
        if "reference" in found:
            named = found["reference"]
            reference = Reference(MailboxId(ObjectId(named["mailbox"])), named["id"], Following(named["action"]))
        return cls(reference, tuple(map(ObjectId, found.get("files", ()))), tuple(found.get("forwardedTo", ())))


@dataclass(frozen=True, slots=True)
class NewCopy:
    """A message to be kept.

    Attributes:
        flags: system flags.
        internal_date: seconds since 1970; now if None.
        meta_data: JSON text of the application's own.
        replaces: an earlier version, which goes.
    """

    raw: Octets = field(repr=False)
    flags: int = SEEN
    internal_date: int | None = None
    meta_data: str = ""
    background: Background = Background()
    replaces: MessagePlace | None = None


@dataclass(frozen=True, slots=True)
class NewSending:
    """A message to be sent.

    Attributes:
        recipients: all of the envelope.
        copy_into: the mailbox of its copy.
        draft: what it was until now, which goes.
        is_draft_itself: the draft says what is sent, so that it can be the copy.
    """

    raw: bytes = field(repr=False)
    reverse_path: str
    recipients: Sequence[str]
    copy_into: MailboxEntry
    hold_until: datetime | None = None
    meta_data: str = ""
    background: Background = Background()
    draft: MessagePlace | None = None
    is_draft_itself: bool = False
