"""What is to become of a message for one recipient: where its copies go, and what is sent because of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, TypeAlias

from mailcore.model.flags import FlagSet
from mailcore.model.ids import MailboxId, MailboxName
from mailcore.model.mailbox import INBOX, SpecialUse

Destination: TypeAlias = MailboxName | MailboxId | SpecialUse
"""How a mailbox is named: a special use first, for it is a string too."""
DAY_S: Final = 24 * 3600


@dataclass(frozen=True, slots=True)
class Filing:
    """One copy: in which mailbox, INBOX if that is gone, and with which flags."""

    destinations: tuple[Destination, ...] = (INBOX,)
    """The first of them that there is."""
    flags: FlagSet = field(default_factory=FlagSet)
    creates: bool = False
    """The last of them is made if there is none of them (RFC 5490 §3.2)."""
    header: bytes | None = None
    """Stands in place of the message's own (RFC 5293), blank line included."""


@dataclass(frozen=True, slots=True)
class Forward:
    """Where the message is sent on to."""

    address: str
    header: bytes | None = None
    """As of a filing."""
    asks: bool = False
    """Its user chose it, so it must be confirmed, or hosted for the same tenant."""


@dataclass(frozen=True, slots=True)
class AutomaticReply:
    """An answer that goes to the sender by itself, once in a while (RFC 3834, RFC 5230)."""

    handle: str
    """Tells this answer from the user's others: who was sent it is remembered under it."""
    subject: str = ""
    """Empty: made from the message's own."""
    text: str = ""
    html: str = ""
    mime: bytes = b""
    """A whole MIME entity in place of `text` and `html` (RFC 5230 §4.7)."""
    name: str = ""
    """Display name of the sender; empty: the user's."""
    from_address: str = ""
    """An own address of the user; empty: the one the message came to."""
    addresses: tuple[str, ...] = ()
    """Further addresses that are the user's (RFC 5230 §4.3)."""
    every_s: int = 4 * DAY_S
    """Nobody is answered twice within this; 0 is always."""
    kind: str = ""
    """What Auto-Submitted says besides (RFC 5230 §5.2)."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What becomes of a message for one recipient; without filings, and nothing else, it is discarded."""

    filings: tuple[Filing, ...] = (Filing(),)
    forwards: tuple[Forward, ...] = ()
    replies: tuple[AutomaticReply, ...] = ()
    rejection: str | None = None
    """Refused with these words, after what else was done."""
    duplicate_ids: tuple[tuple[bytes, int], ...] = ()
    """To be known again for so many seconds (RFC 7352)."""


PLAIN: Final = Plan()
"""One copy in INBOX: what holds for most."""
JUNK: Final = Plan((Filing((SpecialUse.JUNK,)),))
