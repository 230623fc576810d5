"""What became of annotations between two looks at them, as METADATA responses (RFC 5465 §5.6, §5.7)."""

from __future__ import annotations

from collections.abc import Callable

from mailcore.imap.wire.responses import MailboxResponse, astring
from mailcore.model.ids import MailboxId
from mailcore.services.mailboxes.metadata import Digests

NameOf = Callable[[MailboxId], str | None]
"""What a mailbox is called, empty for the server; None where nothing is to be told of it."""


def annotation_changes(old: Digests, new: Digests, name_of: NameOf) -> list[MailboxResponse]:
    """Return a METADATA with the names of what changed, came or went for each mailbox that is told of."""
    found = []
    for mailbox_id in sorted(old.keys() | new.keys()):
        before, after = old.get(mailbox_id, {}), new.get(mailbox_id, {})
        entries = sorted(entry for entry in before.keys() | after.keys() if before.get(entry) != after.get(entry))
        name = name_of(mailbox_id) if entries else None
        if name is not None:
            found.append(
                MailboxResponse(b"METADATA", name, b" ".join(astring(entry.encode("ascii")) for entry in entries))
            )
    return found
