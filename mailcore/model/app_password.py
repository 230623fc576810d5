"""App passwords as values: made-up passwords for one program each, which open mail protocols only."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from bson import ObjectId

from mailcore.model.access import Scope
from mailcore.model.secret import Secret

LETTERS = 16
"""26^16 is 75 bits: nobody guesses it, so a fast hash is enough."""
_SHAPE = re.compile(rb"[a-z]{16}")


@dataclass(frozen=True, slots=True)
class LastUse:
    """When, through which door and from where a credential was last used."""

    at: datetime
    protocol: str
    remote_address: str


@dataclass(frozen=True, slots=True)
class AppPassword:
    """One of a user's app passwords, with what is kept of it in place of the letters."""

    id: ObjectId
    digest: bytes
    scopes: frozenset[Scope]
    description: str
    created_at: datetime
    expires_at: datetime | None = None
    slides: timedelta | None = None
    """So long after its last use it expires; each use moves `expires_at`."""
    last_use: LastUse | None = None

    def is_alive(self, now: datetime) -> bool:
        """Whether it still opens anything."""
        return self.expires_at is None or now < self.expires_at


def letters_of(password: Secret) -> bytes | None:
    """Return the letters of what may be an app password, in groups or not, else None."""
    letters = password.reveal().replace(b" ", b"").replace(b"-", b"")
    return letters if _SHAPE.fullmatch(letters) else None
