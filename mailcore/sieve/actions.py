"""What a script wants done, as values (RFC 5228 §2.10); whoever ran it does it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from mailcore.model.flags import FlagSet
from mailcore.model.ids import MailboxName

NO_FLAGS = FlagSet()


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    """Put it where it would go without a script: INBOX, or Junk for spam (RFC 5228 §4.3)."""

    flags: FlagSet = NO_FLAGS
    header: bytes | None = None
    """To stand in place of the message's own header, blank line included (RFC 5293); None leaves that as it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileInto:
    """Put it into a mailbox (RFC 5228 §4.1), by the first of these that leads to one: id, special use, name."""

    mailbox: MailboxName
    mailbox_id: str | None = None
    """RFC 9042 §4."""
    special_use: str | None = None
    r"""RFC 8579 §4, such as "\\Archive"."""
    create: bool = False
    """Make the mailbox if there is none (RFC 5490 §3.2)."""
    copy: bool = False
    """The implicit keep stays (RFC 3894)."""
    flags: FlagSet = NO_FLAGS
    header: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Redirect:
    """Send it on (RFC 5228 §4.2)."""

    address: str
    copy: bool = False
    header: bytes | None = None


@dataclass(frozen=True, slots=True)
class Discard:
    """Drop it without a word (RFC 5228 §4.4), unless something else keeps it."""


@dataclass(frozen=True, slots=True)
class Reject:
    """Refuse it (RFC 5429)."""

    reason: str
    extended: bool
    """`ereject`: by the protocol if that can be; `reject` may also answer with a message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Vacation:
    """Answer that nobody is there, as RFC 3834 and RFC 5230 allow; the message itself is kept or not all the same."""

    reason: str
    """The text, or a whole MIME entity where `mime`."""
    seconds: int
    """So long nobody is answered twice; 0 answers each message (RFC 6131)."""
    handle: str
    """What tells one answer from another."""
    subject: str | None = None
    sender: str | None = None
    """`:from`."""
    addresses: tuple[str, ...] = ()
    """The user's, besides those that are known to be."""
    mime: bool = False


@dataclass(frozen=True, slots=True)
class MarkDuplicate:
    """Remember an id of this user; when all else is done (RFC 7352 §3)."""

    id: bytes
    """16 bytes; differs by handle."""
    seconds: int


@dataclass(frozen=True, slots=True)
class MarkSpam:
    """It is spam, or is not, whatever was found before."""

    is_spam: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """Answer with a fixed text, under the same rules as a vacation."""

    text: str
    seconds: int
    handle: str
    subject: str | None = None


Action: TypeAlias = Keep | FileInto | Redirect | Discard | Reject | Vacation | MarkDuplicate | MarkSpam | Reply


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one run."""

    actions: tuple[Action, ...]
    """In order, nothing twice; the implicit keep is the last Keep. After an error one Keep and nothing else."""
    implicit_keep: bool
    """Nothing cancelled it (RFC 5228 §2.10.2)."""
    stopped: bool
    """The script ended by `stop`."""
    steps: int
    error: str | None = None
    """Why it was ended, and in which line; for the script's author to read."""
