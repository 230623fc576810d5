"""Where a user wants mail sent on to: as it is compared, and what waits until whoever has the address confirms it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from bson import ObjectId

from mailcore.errors import AddressInvalid
from mailcore.model.address import Address
from mailcore.model.forward_target import is_url

GOOD_FOR: Final = timedelta(days=7)
"""So long a link is good."""
AGAIN_AFTER: Final = timedelta(minutes=10)
"""Who sets a target again that waits has the link mailed again, not before so long."""
MOST_CONFIRMED: Final = 1000
"""Of one user; the oldest are forgotten, and mail for them is kept again."""
MOST_ASKED: Final = 20
"""Of one user at a time; the oldest are forgotten."""


def target_key(target: str) -> str:
    """Return the form in which a target outside is compared.

    Dots and labels stay, for elsewhere they may tell two people apart; case, width and the spelling of the domain
    do not count.
    """
    if is_url(target):
        return target
    try:
        address = Address.parse(target)
    except AddressInvalid:
        return target.lower()
    return f"{address.local.lower()}@{address.domain}"


@dataclass(frozen=True, slots=True)
class TargetAsk:
    """A target that its owner is asked to confirm.

    Attributes:
        target: as the user wrote it.
        asked_at: when it was last to be mailed.
        auth_version: the user's; a link is no longer good after a change of the password.
        mails: how often it was to be mailed.
        is_due: the last of them is not queued yet.
    """

    id: ObjectId
    target: str
    asked_at: datetime
    auth_version: int
    mails: int = 1
    is_due: bool = True

    @property
    def key(self) -> str:
        """The form in which it is compared."""
        return target_key(self.target)

    def holds(self, auth_version: int, at: datetime) -> bool:
        """Whether its link is good, or would be once it is mailed."""
        return self.auth_version == auth_version and at < self.asked_at + GOOD_FOR


@dataclass(frozen=True, slots=True)
class OnwardTargets:
    """What a user's document says of targets."""

    confirmed: frozenset[str] = frozenset()
    """Keys; others of the user's own choice get nothing that is hosted elsewhere."""
    asks: tuple[TargetAsk, ...] = ()

    @classmethod
    def read(cls, stored: Mapping[str, Any] | None) -> OnwardTargets:
        """Return what a document has."""
        if not stored:
            return NO_TARGETS
        asks = (
            TargetAsk(one["id"], one["target"], one["at"], one["auth_version"], one["mails"], one["due"])
            for one in stored.get("asks", ())
        )
        return cls(frozenset(stored.get("confirmed", ())), tuple(asks))

    def find(self, ask_id: ObjectId) -> TargetAsk | None:
        """Return one that is asked for."""
        return next((ask for ask in self.asks if ask.id == ask_id), None)


NO_TARGETS: Final = OnwardTargets()


def ask_document(ask: TargetAsk) -> dict[str, Any]:
    """Return an ask as it is stored."""
    return {
        "id": ask.id,
        "target": ask.target,
        "at": ask.asked_at,
        "auth_version": ask.auth_version,
        "mails": ask.mails,
        "due": ask.is_due,
    }
