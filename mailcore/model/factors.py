"""Second factors as values."""

from __future__ import annotations

from enum import StrEnum


class Factor(StrEnum):
    """A kind of second factor, by the name under which clients know it."""

    TOTP = "totp"
    """Codes that change every 30 s (RFC 6238)."""
    WEBAUTHN = "webauthn"
    """Passkeys and security keys (W3C Web Authentication Level 3)."""
    CUSTOM = "custom"
    """One that somebody else checks; it only closes the mail protocols to the master password."""
