"""Who changes something: every changing service method takes an `Actor`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from mailcore.model.ids import UserId


class Door(StrEnum):
    """Through which part of the system a change came."""

    IMAP = "imap"
    POP3 = "pop3"
    LMTP = "lmtp"
    SUBMISSION = "submission"
    MANAGESIEVE = "managesieve"
    API = "api"
    PORTAL = "portal"
    CLI = "cli"
    WORKER = "worker"
    RELAY = "relay"


class ActorKind(StrEnum):
    """What sort of party acts."""

    USER = "user"
    MTA = "mta"
    OPERATOR = "operator"
    MEMBER = "member"
    STAFF = "staff"
    SYSTEM = "system"


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts, on whose behalf, through which door, from where, in which request."""

    kind: ActorKind
    door: Door
    identity: str
    """The login, address or name of the party."""
    on_behalf_of: UserId | None = None
    remote_address: str = ""
    request_id: str = ""
    dry_run: bool = False
    """Everything is checked as ever, and nothing is changed: the change is refused as `Planned`."""


SYSTEM = Actor(ActorKind.SYSTEM, Door.WORKER, "system")
