"""What a client offers in proof of who it is, whatever the mechanism."""

from __future__ import annotations

from dataclasses import dataclass

from mailcore.model.secret import Secret


@dataclass(frozen=True, slots=True)
class PasswordOffer:
    """A user name with a password: the master one or an app password."""

    username: str
    password: Secret
    authorize_as: str = ""
    """Whom the client wants to act for (RFC 4616 §2); empty is itself."""


@dataclass(frozen=True, slots=True)
class TokenOffer:
    """A bearer token (RFC 6750), and whose the client believes it to be; empty where it does not say."""

    username: str
    token: Secret


Offer = PasswordOffer | TokenOffer
