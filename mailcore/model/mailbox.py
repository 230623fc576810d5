"""Mailboxes of one user: names, the tree they form, and their counters."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from mailcore.errors import MailboxNameInvalid
from mailcore.model.ids import MailboxId, MailboxName, ModSeq, UidValidity, UserId
from mailcore.model.limits import DEFAULT_LIMITS
from mailcore.model.rights import Right

INBOX = MailboxName("INBOX")
SEPARATOR = "/"
RECOVERED = MailboxName("Recovered")
"""Where messages are brought back to whose mailbox nobody can name any more."""


Acl = tuple[tuple[UserId, Right], ...]
"""Who besides the owner may do what; everybody at most once."""


class SpecialUse(StrEnum):
    """What a mailbox is for (RFC 6154 §2)."""

    SENT = "\\Sent"
    DRAFTS = "\\Drafts"
    TRASH = "\\Trash"
    JUNK = "\\Junk"
    ARCHIVE = "\\Archive"
    ALL = "\\All"
    FLAGGED = "\\Flagged"


DEFAULT_MAILBOXES: tuple[tuple[str, SpecialUse | None], ...] = (
    ("INBOX", None),
    ("Sent Mail", SpecialUse.SENT),
    ("Drafts", SpecialUse.DRAFTS),
    ("Trash", SpecialUse.TRASH),
    ("Junk", SpecialUse.JUNK),
    ("Archive", SpecialUse.ARCHIVE),
)


@dataclass(frozen=True, slots=True)
class MailboxEntry:
    """One mailbox in its user's tree."""

    id: MailboxId
    name: MailboxName
    uid_validity: UidValidity
    special_use: SpecialUse | None = None
    subscribed: bool = False
    acl: Acl = ()
    hidden: bool = False
    """Not listed, and not deleted; who knows its name or id may use it."""
    retention_ms: int = 0
    """So long after it came here a message is expunged; 0: it stays."""
    encrypts: bool = False
    """What comes in is encrypted with the keys of its owner."""

    def rights_of(self, user_id: UserId) -> Right:
        """Return what the list gives a user, who must not be of another tenant."""
        return next((rights for each, rights in self.acl if each == user_id), Right.NONE)


@dataclass(frozen=True, slots=True)
class MailboxStatus:
    """Counters of a mailbox (RFC 9051 §6.3.11)."""

    exists: int
    unseen: int
    size_bytes: int
    uid_next: int
    uid_validity: UidValidity
    highest_modseq: ModSeq
    deleted: bool = False


@dataclass(frozen=True, slots=True)
class MailboxTree:
    """All mailboxes of a user, by name, as of one version of the tree."""

    version: int
    next_uid_validity: int
    entries: tuple[MailboxEntry, ...]
    """In the order of their names, INBOX first."""
    subscribed_names: frozenset[MailboxName] = frozenset()
    """Subscribed names that have no mailbox (RFC 9051 §6.3.7)."""
    shared_from: tuple[UserId, ...] = ()
    """Users who may have shared a mailbox with this one."""
    _by_name: dict[MailboxName, MailboxEntry] = field(init=False, repr=False, compare=False)
    _by_id: dict[MailboxId, MailboxEntry] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_name", {entry.name: entry for entry in self.entries})
        object.__setattr__(self, "_by_id", {entry.id: entry for entry in self.entries})

    def __iter__(self) -> Iterator[MailboxEntry]:
        return iter(self.entries)

    def find(self, name: MailboxName) -> MailboxEntry | None:
        """Return the mailbox of that name."""
        return self._by_name.get(name)

    def find_id(self, mailbox_id: MailboxId) -> MailboxEntry | None:
        """Return the mailbox of that id."""
        return self._by_id.get(mailbox_id)

    def find_special(self, special_use: SpecialUse) -> MailboxEntry | None:
        """Return the first mailbox of that use."""
        return next((entry for entry in self.entries if entry.special_use is special_use), None)

    def below(self, name: MailboxName) -> tuple[MailboxEntry, ...]:
        """Return every mailbox under a name, at any depth."""
        prefix = name + SEPARATOR
        return tuple(entry for entry in self.entries if entry.name.startswith(prefix))


def sorted_entries(entries: Iterable[MailboxEntry]) -> tuple[MailboxEntry, ...]:
    """Return mailboxes in the order of a tree: INBOX and what is below it, then the others by name."""
    return tuple(sorted(entries, key=lambda entry: (entry.name.split(SEPARATOR)[0] != INBOX, entry.name)))


def parse_mailbox_name(text: str) -> MailboxName:
    """Return the one form of a mailbox name: NFC, INBOX in capitals where it is the first part.

    Raises:
        MailboxNameInvalid: an empty part, a control character, too deep, or a part too long.
    """
    parts = unicodedata.normalize("NFC", text).split(SEPARATOR)
    if len(parts) > DEFAULT_LIMITS.mailbox_depth:
        raise MailboxNameInvalid("depth", len(parts))
    for part in parts:
        if not part:
            raise MailboxNameInvalid("empty part")
        if any(unicodedata.category(character) in _UNFIT for character in part):
            raise MailboxNameInvalid("control character")
        if len(part.encode()) > DEFAULT_LIMITS.mailbox_part_bytes:
            raise MailboxNameInvalid("part too long")
    if parts[0].isascii() and parts[0].upper() == INBOX:
        parts[0] = INBOX
    return MailboxName(SEPARATOR.join(parts))


_UNFIT = frozenset({"Cc", "Cs", "Zl", "Zp"})
"""Control characters, surrogates, line and paragraph separators (RFC 5198 §2)."""
