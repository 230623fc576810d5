"""Names that LIST knows of."""

from __future__ import annotations

from bson import ObjectId

from mailcore.imap.mailbox_list import ListedNames
from mailcore.model.ids import MailboxId, MailboxName, UidValidity
from mailcore.model.mailbox import MailboxEntry, MailboxTree


def test_hidden_mailboxes_are_not_listed() -> None:
    entries = tuple(
        MailboxEntry(MailboxId(ObjectId()), MailboxName(name), UidValidity(1), subscribed=True, hidden=name == "Hidden")
        for name in ("INBOX", "Hidden", "Shown/Below")
    )
    listed = ListedNames(MailboxTree(1, 4, entries))
    assert listed.all == {"INBOX", "Shown", "Shown/Below"}
    assert listed.subscribed == {"INBOX", "Shown/Below"}
