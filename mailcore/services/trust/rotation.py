"""Rotation: seal everything anew under the newest key, so that an older one can be taken out of the environment."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Final

from mailcore.model.actor import Actor
from mailcore.services.events.audit import Audit
from mailcore.services.trust.sealing import SealBroken, Sealing
from mailcore.store.directory.sealed import SealedFields

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SealedField:
    """Where sealed values are, and what they are sealed for: `purpose:X` with X from another field, or X alone."""

    collection: str
    path: str
    purpose: str
    purpose_field: str = "_id"

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.collection}.{self.path}"


SEALED: Final = (
    SealedField("tenants", "content_key", "tenant.content_key"),
    SealedField("certs", "sealed_key", "cert.key", "fingerprint"),
    SealedField("dkim_keys", "sealed_key", "dkim.key"),
    SealedField("acme_accounts", "key", "acme.account"),
    SealedField("users", "second_factors.totp.seed", "totp"),
    SealedField("users", "second_factors.pending_totp.seed", "totp"),
    SealedField("deleted_users", "second_factors.totp.seed", "totp"),
    SealedField("deleted_users", "second_factors.pending_totp.seed", "totp"),
    SealedField("deleted_users", "smarthost.password", "smarthost"),
    SealedField("tenants", "smarthost.password", "smarthost"),
    SealedField("users", "smarthost.password", "smarthost"),
    SealedField("webhooks", "sealed_secret", "webhook"),
    SealedField("settings", "sealed", ""),
)
"""Every field of every collection that holds sealed values; a test dumps all stores and finds no other."""


@dataclass(frozen=True, slots=True)
class FieldState:
    """How many values of a field the newest key sealed, how many another, and how many no key opens."""

    field: SealedField
    current: int
    older: int
    broken: int


class Rotation:
    """Counts sealed values, and seals them anew."""

    def __init__(self, fields: SealedFields, sealing: Sealing, audit: Audit) -> None:
        self._fields = fields
        self._sealing = sealing
        self._audit = audit

    def status(self) -> list[FieldState]:
        """Return the state of every field; opens every value, so it also tells what is broken."""
        return [self._look(field, rotate=False) for field in SEALED]

    def rotate(self, actor: Actor) -> list[FieldState]:
        """Seal anew what the newest key did not seal, and return the state after it; safe to run at any time.

        A value that somebody changes meanwhile is sealed by the newest key anyway.
        """
        wanted = {"key": self._sealing.newest_key}
        with self._audit.of_platform(actor, "sealing.rotated", wanted) as change:
            states = [self._look(field, rotate=True) for field in SEALED]
            change.after |= {state.field.name: state.current for state in states}
        return states

    def _look(self, field: SealedField, *, rotate: bool) -> FieldState:
        current = older = broken = 0
        for value in self._fields.each(field.collection, field.path, field.purpose_field):
            named = str(value.owner.get(field.purpose_field))
            purpose = f"{field.purpose}:{named}" if field.purpose else named
            try:
                plain = self._sealing.open(purpose, value.sealed)
            except SealBroken:
                broken += 1
                log.error("sealing.broken", extra={"field": field.name, "document": str(value.owner["_id"])})  # noqa: TRY400
                continue
            if self._sealing.is_current(value.sealed):
                current += 1
            elif rotate:
                anew = self._sealing.seal(purpose, plain)
                self._fields.replace(field.collection, field.path, value, anew)
                current += 1
            else:
                older += 1
        return FieldState(field, current, older, broken)
