"""What may be signed in to with what: one table of protocols against credentials and scopes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from bson import ObjectId


class Protocol(StrEnum):
    """What somebody signs in to."""

    IMAP = "imap"
    POP3 = "pop3"
    SMTP = "smtp"
    """Submission."""
    MANAGESIEVE = "managesieve"
    API = "api"
    PORTAL = "portal"


class Scope(StrEnum):
    """What an app password opens."""

    IMAP = "imap"
    POP3 = "pop3"
    SMTP = "smtp"
    SIEVE = "sieve"
    """ManageSieve alone."""
    ALL = "*"
    """Every mail protocol; never the API or the portal."""


class CredentialKind(StrEnum):
    """By what somebody signed in."""

    MASTER = "master"
    TEMPORARY = "temporary"
    """A made-up password that lets its owner in once more, to choose another."""
    APP_PASSWORD = "app_password"  # noqa: S105
    TOKEN = "token"  # noqa: S105


@dataclass(frozen=True, slots=True)
class Credential:
    """Which one it was; master and temporary passwords have no id."""

    kind: CredentialKind
    id: ObjectId | None = None


MASTER = Credential(CredentialKind.MASTER)


@dataclass(frozen=True, slots=True)
class ProtocolRule:
    """What opens one protocol.

    Attributes:
        scopes: an app password needs one of these; empty: none opens it.
        may_be_disabled: users and tenants may have it switched off.
        second_step: it asks for the second factor itself; others take no master password once there is one.
        temporary: whether a temporary password opens it.
        token: whether a user's token opens it in place of a password.
    """

    scopes: frozenset[Scope]
    may_be_disabled: bool = True
    second_step: bool = False
    temporary: bool = False
    token: bool = True


RULES: Mapping[Protocol, ProtocolRule] = {
    Protocol.IMAP: ProtocolRule(frozenset({Scope.IMAP, Scope.ALL})),
    Protocol.POP3: ProtocolRule(frozenset({Scope.POP3, Scope.ALL})),
    Protocol.SMTP: ProtocolRule(frozenset({Scope.SMTP, Scope.ALL})),
    # scripts forward mail and outlive the password that made them: no scope for reading or sending reaches them
    Protocol.MANAGESIEVE: ProtocolRule(frozenset({Scope.SIEVE, Scope.ALL})),
    Protocol.API: ProtocolRule(frozenset(), may_be_disabled=False, second_step=True, temporary=True, token=False),
    Protocol.PORTAL: ProtocolRule(frozenset(), may_be_disabled=False, second_step=True, temporary=True, token=False),
}
"""A row for every protocol. The API checks its bearer tokens by their roles, not here."""

CAN_BE_DISABLED = frozenset(protocol for protocol, rule in RULES.items() if rule.may_be_disabled)
