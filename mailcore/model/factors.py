"""Second factors as values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final


class Factor(StrEnum):
    """A kind of second factor, by the name under which clients know it."""

    TOTP = "totp"
    """Codes that change every 30 s (RFC 6238)."""
    WEBAUTHN = "webauthn"
    """Passkeys and security keys (W3C Web Authentication Level 3)."""
    CUSTOM = "custom"
    """One that somebody else checks; it only closes the mail protocols to the master password."""


CHECKED: Final = frozenset({Factor.TOTP, Factor.WEBAUTHN})
"""Factors that are checked here; a custom one is for whoever switched it on."""


@dataclass(frozen=True, slots=True)
class Passkey:
    """A WebAuthn credential of a user (W3C Web Authentication Level 3, "credential record")."""

    id: bytes
    public_key: bytes
    """COSE_Key (RFC 9052 §7)."""
    sign_count: int
    """Of the last use; passkeys that live on several devices keep it at 0."""
    name: str
    """Given by the user."""
    rp_id: str
    """The domain it is good for."""
    attachment: str
    """"platform" or "cross-platform", as it was asked for."""
    is_backed_up: bool
    created_at: datetime
    last_used_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class FactorStatus:
    """What a user may know of the own second factors: never a seed, a key or a code."""

    enabled: tuple[Factor, ...]
    passkeys: tuple[Passkey, ...]
    recovery_codes_left: int
