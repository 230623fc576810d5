"""Labels as Gmail names them: those of the system by a word behind a backslash, all others by a mailbox's name."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from mailcore.model.flags import FLAGGED, FlagSet
from mailcore.model.ids import MailboxName
from mailcore.model.mailbox import DEFAULT_MAILBOXES, INBOX, MailboxEntry, MailboxTree, SpecialUse


class SystemLabel(StrEnum):
    """What every user has."""

    INBOX = "\\Inbox"
    SENT = "\\Sent"
    DRAFT = "\\Draft"
    SPAM = "\\Spam"
    TRASH = "\\Trash"
    STARRED = "\\Starred"
    IMPORTANT = "\\Important"


USES: Final = {
    SystemLabel.SENT: SpecialUse.SENT,
    SystemLabel.DRAFT: SpecialUse.DRAFTS,
    SystemLabel.SPAM: SpecialUse.JUNK,
    SystemLabel.TRASH: SpecialUse.TRASH,
}
"""Labels that are mailboxes by what these are for."""
FLAGS: Final = {
    SystemLabel.STARRED: FlagSet(FLAGGED),
    SystemLabel.IMPORTANT: FlagSet(keywords=("$Important",)),
}
"""Labels that are flags of the copy that is looked at (RFC 8457 §3 for the second)."""
NAMES: Final[dict[SystemLabel, tuple[str, SpecialUse | None]]] = {
    SystemLabel.INBOX: (INBOX, None),
    **{label: next(each for each in DEFAULT_MAILBOXES if each[1] is use) for label, use in USES.items()},
}
"""What the mailbox of a label is called where it has to be made."""
_BY_USE: Final = {use: label for label, use in USES.items()}
_OTHER_NAMES: Final = {
    "\\drafts": SystemLabel.DRAFT,
    "\\junk": SystemLabel.SPAM,
    "\\flagged": SystemLabel.STARRED,
}
_BY_NAME: Final = {label.value.lower(): label for label in SystemLabel} | _OTHER_NAMES

Label = SystemLabel | MailboxName


@dataclass(frozen=True, slots=True)
class LabelSet:
    """Labels by what stands behind them; names are those that the owner of the mailbox uses."""

    system: frozenset[SystemLabel] = frozenset()
    names: tuple[MailboxName, ...] = ()


def system_label(text: str) -> SystemLabel | None:
    """Return the label of the system that a word means, in any case."""
    return _BY_NAME.get(text.lower())


def label_of(entry: MailboxEntry) -> Label | None:
    """Return what a mailbox is as a label; None for one that is none: what is archived has no label."""
    if entry.special_use in {SpecialUse.ARCHIVE, SpecialUse.ALL, SpecialUse.FLAGGED}:
        return None
    if entry.name == INBOX:
        return SystemLabel.INBOX
    return _BY_USE.get(entry.special_use, entry.name) if entry.special_use is not None else entry.name


def mailbox_of(tree: MailboxTree, label: Label) -> MailboxEntry | None:
    """Return the mailbox that a label stands for, if there is one."""
    if not isinstance(label, SystemLabel):
        return tree.find(label)
    if label is SystemLabel.INBOX:
        return tree.find(INBOX)
    use = USES.get(label)
    return tree.find_special(use) if use is not None else None
