"""Webhooks: who is told of which events, at what address."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from bson import ObjectId

from mailcore.errors import ValueInvalid
from mailcore.model.ids import TenantId, UserId

TYPE: Final = re.compile(r"\*|[a-z0-9_-]{1,40}(?:\.[a-z0-9_-]{1,40}){0,4}(?:\.\*)?")
MOST_TYPES: Final = 50
NAMES: Final[Mapping[str, str]] = {
    "address.created": "address.user.created",
    "address.deleted": "address.user.deleted",
    "app_password.created": "asp.created",
    "app_password.revoked": "asp.deleted",
    "certificate.added": "cert.created",
    "certificate.deleted": "cert.deleted",
    "domain.addresses_renamed": "address.domain.renamed",
    "domain.alias_created": "domainalias.created",
    "domain.alias_deleted": "domainalias.deleted",
    "user.deleted": "user.delete.started",
    "user.erased": "user.delete.completed",
    "user.restored": "user.delete.cancelled",
    "user.password": "user.password.changed",
}
"""What clients of such an API know our events as, where they have another name for it."""


@dataclass(frozen=True, slots=True)
class Webhook:
    """One subscription.

    Attributes:
        tenant_id: whose events; `PLATFORM` for those of everybody.
        user_id: only this user's; None: all of the tenant.
        types: names or patterns: `user.created`, `user.*`, `*`.
        cursors: by tenant, up to where its stream was delivered.
        failures: tries that failed, since one worked.
        dead_at: since when it is given up.
    """

    id: ObjectId
    tenant_id: TenantId
    user_id: UserId | None
    types: tuple[str, ...]
    url: str
    sealed_secret: bytes = field(repr=False)
    created_at: datetime
    cursors: Mapping[str, str] = field(default_factory=dict)
    failures: int = 0
    dead_at: datetime | None = None

    def wants(self, kind: str, user_id: UserId | None) -> bool:
        """Whether it is told of an event of this kind and user; an event without a user is nobody's own."""
        if self.user_id is not None and user_id != self.user_id:
            return False
        return any(_matches(pattern, name) for pattern in self.types for name in {kind, event_name(kind)})


def event_name(kind: str) -> str:
    """Return what clients know a kind of event as."""
    return NAMES.get(kind, kind)


def read_types(given: Sequence[str]) -> tuple[str, ...]:
    """Return the types asked for, each once.

    Raises:
        ValueInvalid: none, too many, or one that is neither a name nor a pattern.
    """
    found = tuple(dict.fromkeys(text.strip().lower() for text in given))
    if not 0 < len(found) <= MOST_TYPES:
        raise ValueInvalid(f"1 to {MOST_TYPES} types of events are needed, or *")
    for text in found:
        if TYPE.fullmatch(text) is None:
            raise ValueInvalid(f"{text[:100]!r} is no type: write user.created, user.* or *")
    return found


def _matches(pattern: str, name: str) -> bool:
    if pattern in {"*", name}:
        return True
    return pattern.endswith(".*") and name.startswith(pattern[:-1])
