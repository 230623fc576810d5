"""API tokens as values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from bson import ObjectId

from mailcore.model.app_password import LastUse
from mailcore.model.ids import TenantId, UserId
from mailcore.model.roles import Role

MAX_SHOWN: Final = 40
"""Characters of a description beside a token's id."""
_QUOTES: Final = frozenset('“”"')
"""What would seem to end it."""


class TokenScope(StrEnum):
    """How much a token sees."""

    PLATFORM = "platform"
    TENANT = "tenant"
    """One tenant and its users."""
    USER = "user"
    """One user; the only ones that open mail protocols."""


@dataclass(frozen=True, slots=True)
class TokenOwner:
    """Whose token it is; a user's token has its tenant too."""

    scope: TokenScope
    tenant_id: TenantId | None = None
    user_id: UserId | None = None

    def __post_init__(self) -> None:
        """Refuse owners that are none.

        Raises:
            ValueError: ids and scope do not fit.
        """
        has = (self.tenant_id is not None, self.user_id is not None)
        if has != (self.scope is not TokenScope.PLATFORM, self.scope is TokenScope.USER):
            raise ValueError(f"not an owner of scope {self.scope}")


PLATFORM = TokenOwner(TokenScope.PLATFORM)


@dataclass(frozen=True, slots=True)
class Token:
    """One token; its value is known to nobody but who holds it.

    Attributes:
        expires_at: when it ceases to work; each use moves it where the token slides.
        ends_at: when it ceases to work whatever happens.
        auth_version: of its user when it was made: a changed password ends it (user scope).
        made_by: identity of the member of the organisation who made it (tenant scope); "" where none did.
        change_first: made for a password that opens nothing but the choice of another: nor does it.
    """

    id: ObjectId
    owner: TokenOwner
    role: Role
    description: str
    created_at: datetime
    expires_at: datetime | None = None
    ends_at: datetime | None = None
    slides: timedelta | None = None
    auth_version: int | None = None
    made_by: str = ""
    change_first: bool = False
    last_use: LastUse | None = None

    @property
    def identity(self) -> str:
        """Return how trails and logs name whoever acts with it: the id, and of what it is for what can be shown."""
        shown = "".join(one for one in self.description if one.isprintable() and one not in _QUOTES).strip()
        cut = shown if len(shown) <= MAX_SHOWN else f"{shown[: MAX_SHOWN - 1]}…"
        return f"token {self.id} “{cut}”" if cut else f"token {self.id}"

    def is_alive(self, now: datetime) -> bool:
        """Whether it still opens anything."""
        return self.expires_at is None or now < self.expires_at


def expiry(used_at: datetime, slides: timedelta | None, ends_at: datetime | None) -> datetime | None:
    """Return when a token used at that time expires unless it is used again; None: never."""
    if slides is None:
        return ends_at
    return used_at + slides if ends_at is None else min(used_at + slides, ends_at)
