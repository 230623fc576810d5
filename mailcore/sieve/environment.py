"""What a script may ask of the world around it; everything is handed in, nothing is fetched here."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from mailcore.model.ids import MailboxName


@dataclass(frozen=True, slots=True)
class Transaction:
    """How the message came (RFC 5321 §3.3)."""

    reverse_path: str
    """Empty for the null one."""
    forward_path: str


def _never(*_: object) -> bool:
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """The user's mailboxes, clock and memory; the callables may make a round trip each and may raise MailError."""

    now: dt.datetime
    """Aware, in the user's own time zone."""
    has_mailbox: Callable[[MailboxName], bool] = _never
    """Whether the user may deliver to a mailbox of that name (RFC 5490 §3.1)."""
    has_mailbox_id: Callable[[str], bool] = _never
    """The same by its id (RFC 9042 §5)."""
    has_special_use: Callable[[str, MailboxName | None], bool] = _never
    """Whether that mailbox, or any, has the special use, such as "\\Junk" (RFC 8579 §3.1)."""
    is_duplicate: Callable[[bytes], bool] = _never
    """Whether the id of a MarkDuplicate is remembered still."""
    spam_score: float | None = None
    """None: it was not examined."""
    spam_limit: float = 6.0
    """Scores from here on are called spam."""
    is_spam: bool | None = None
    items: Mapping[str, str] = field(default_factory=dict)
    """By name, for the test `environment` (RFC 5183)."""
