"""The hook of the login path: limits and the authentication log stand here."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol as Interface

from mailcore.model.access import CredentialKind, Protocol
from mailcore.model.ids import TenantId, UserId


class Refusal(StrEnum):
    """Why somebody was not let in."""

    WRONG = "wrong"
    """Unknown user, wrong password, unknown or expired token: a guess, to be counted."""
    DISABLED = "disabled"
    """Right, but the user or the tenant is suspended or disabled."""
    PROTOCOL = "protocol"
    """Right, but the user or the tenant has this protocol switched off."""
    SCOPE = "scope"
    """Right, but this app password or token is not for this protocol."""
    SECOND_FACTOR = "second_factor"
    """The right master password, which mail protocols do not take from a user with second factors."""
    CHANGE_NEEDED = "change_needed"
    """The right password, which somebody else chose; mail protocols wait until it was changed."""
    NOT_YET_VALID = "not_yet_valid"
    """The right temporary password, before its time."""

    @property
    def is_guess(self) -> bool:
        """Whether it may have been somebody who tries passwords."""
        return self is Refusal.WRONG


@dataclass(frozen=True, slots=True)
class Permit:
    """Leave to look at one password; counted as failed until the guard is told otherwise."""

    keys: tuple[str, ...]
    is_known: bool
    """The user has signed in from that range of addresses lately."""

    @property
    def counted(self) -> tuple[str, ...]:
        """The counters this attempt was added to."""
        return self.keys[1:2] if self.is_known else self.keys[1:]


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try to sign in, as far as it is known when the guard is asked."""

    username: str
    """Canonical where it is an address, else as it was sent: untrusted text of any length."""
    protocol: Protocol
    remote_address: str
    user_id: UserId | None = None
    tenant_id: TenantId | None = None
    kind: CredentialKind | None = None
    """What was offered, once that is known."""
    permit: Permit | None = None
    """By which its password was hashed, if it was."""
    within: TenantId | None = None
    """The tenant that asks: others' users do not exist for it, and where they come from is only its word."""
    connects: bool = False
    """Whether who is let in opens a connection, which is counted."""

    def of(self, user_id: UserId, tenant_id: TenantId, kind: CredentialKind | None) -> Attempt:
        """Return it with whose it is, and by what they sign in."""
        given = self.username, self.protocol, self.remote_address, user_id, tenant_id, kind
        return Attempt(*given, self.permit, self.within, self.connects)

    def may_be_of(self, tenant_id: TenantId) -> bool:
        """Whether a tenant's users exist for who asks."""
        return self.within is None or self.within == tenant_id


class LoginGuard(Interface):
    """Asked before a password is hashed, told how it ended; may make round trips, never to the directory."""

    def before(self, attempt: Attempt, connections: int | None = None, /) -> Attempt:
        """Let a guess at the master password pass, or not; return it with its permit.

        If it opens a connection of a user who may have so many `connections`, that one is counted by the way.
        Not asked for a right app password or one verified a minute ago: guesses of strangers do not lock
        those out. Nor for tokens: 160 random bits are not guessed, and no hash is made for them.

        Raises:
            TooManyAttempts: it has to wait; nothing is hashed.
        """
        ...

    def failed(self, attempt: Attempt, refusal: Refusal) -> None:
        """Note a refusal; only those that are guesses count towards a limit."""
        ...

    def withdrawn(self, attempt: Attempt) -> None:
        """Note that the password was not looked at after all."""
        ...

    def succeeded(self, attempt: Attempt) -> None:
        """Note that somebody is in."""
        ...


class Unguarded:
    """No limits: for tools that nobody reaches from outside."""

    def before(self, attempt: Attempt, _connections: int | None = None, /) -> Attempt:
        """Let pass."""
        return attempt

    def failed(self, attempt: Attempt, refusal: Refusal) -> None:
        """Forget it."""

    def withdrawn(self, attempt: Attempt) -> None:
        """Forget it."""

    def succeeded(self, attempt: Attempt) -> None:
        """Forget it."""
