"""A mail transaction: reverse-path, forward-paths, content (RFC 5321 §3.3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Generic, TypeVar

from mailcore.model.outbound import Notify, ReturnContent
from mailcore.services.accounts.door_session import DoorSession
from mailcore.smtp.wire.data_reader import ChunkReader
from mailcore.smtp.wire.path import Path

Handle = TypeVar("Handle")


@dataclass(frozen=True, slots=True)
class Accepted(Generic[Handle]):
    """A forward-path that was answered with 250, and what the policy knows of it."""

    path: Path
    handle: Handle
    notify: frozenset[Notify] | None = None
    """NOTIFY; None where it was not given (RFC 3461 §4.1)."""
    original_recipient: str | None = None
    """ORCPT, decoded, with its type (RFC 3461 §4.2)."""


@dataclass(slots=True)
class Transaction(Generic[Handle]):
    """What MAIL began and DATA, RSET or a greeting ends."""

    reverse_path: Path | None
    """None is the null reverse-path."""
    is_utf8: bool = False
    """SMTPUTF8 was given (RFC 6531 §3.4)."""
    declared_size: int | None = None
    recipients: list[Accepted[Handle]] = field(default_factory=list)
    return_content: ReturnContent | None = None
    """RET (RFC 3461 §4.3)."""
    envelope_id: str | None = None
    """ENVID, decoded (RFC 3461 §4.4)."""
    hold_for_s: int = 0
    """HOLDFOR (RFC 4865 §4)."""
    hold_until: datetime | None = None
    """HOLDUNTIL (RFC 4865 §4)."""
    chunks: ChunkReader | None = None
    """Set by the first BDAT; DATA is no longer possible then."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a transaction comes from, as trace headers and logs name it."""

    address: str
    hello_name: str
    session: str
    with_protocol: str
    """The `with` keyword of the Received header (RFC 3848, RFC 6531 §4.3)."""
    forwarded: Mapping[str, str] = field(default_factory=dict)
    """XFORWARD attributes by name in capitals; what the peer says of the client it serves."""
    signed_in: DoorSession | None = None
    """Whose session this is."""

    @property
    def queue_id(self) -> str | None:
        """The peer's own id of the message (XFORWARD IDENT): the same when it tries again."""
        return self.forwarded.get("IDENT")
