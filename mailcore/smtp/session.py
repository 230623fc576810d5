"""The state of one SMTP or LMTP dialogue, and the policy it asks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from mailcore.model.actions import Peer, Tls
from mailcore.services.accounts.door_session import DoorSession
from mailcore.smtp.transaction import Origin, Transaction
from mailcore.smtp.wire.path import Path
from mailcore.smtp.wire.replies import Reply


class Policy(Protocol):
    """What differs between the servers that speak SMTP: who may send what to whom, and where it goes."""

    hello_verb: str
    """LHLO or EHLO."""
    protocol: str
    """The first part of the `with` keyword."""
    hostname: str
    software: str
    """What the greeting line says behind the host name."""
    message_bytes: int
    recipients: int
    refuses_bare_line_ends: bool
    """A CR or LF alone, or a NUL, is refused in a message; else line ends are made CRLF, by DATA at least."""

    @property
    def extensions(self) -> tuple[str, ...]:
        """What is announced beyond that which both have: `DSN` and `FUTURERELEASE` are understood only then."""
        ...

    def may_transact(self, peer: Peer, tls: Tls | None) -> Reply | None:
        """Return the refusal of MAIL for this peer, or None."""
        ...

    def may_forward(self, peer: Peer, tls: Tls | None) -> bool:
        """Whether XFORWARD of this peer is believed."""
        ...

    def sender(self, transaction: Transaction[Any], origin: Origin) -> None:
        """Raise the MailError for which the reverse-path is refused."""
        ...

    def recipient(self, path: Path, transaction: Transaction[Any]) -> Any:
        """Return what delivery needs to know of a forward-path.

        Raises:
            MailError: it is refused.
        """
        ...

    def accept(self, message: bytes, transaction: Transaction[Any], origin: Origin) -> Iterator[Reply]:
        """Take a message over; yield the replies due after its content.

        LMTP: one for each accepted recipient, in order, each after its commit (RFC 2033 §4.2).
        """
        ...

    def replies_due(self, transaction: Transaction[Any]) -> int:
        """Return how many replies follow the content."""
        ...


@dataclass(slots=True)
class Session:
    """What is known of this client so far."""

    policy: Policy
    peer: Peer
    offers_tls: bool
    tls: Tls | None = None
    door: DoorSession | None = None
    """Who is signed in; None where nobody has to."""
    hello_name: str = ""
    """Empty until the client has introduced itself."""
    transaction: Transaction[Any] | None = None
    forwarded: dict[str, str] | None = None

    def begin_encrypted(self, tls: Tls) -> None:
        """Forget everything said in clear (RFC 3207 §4.2)."""
        self.tls = tls
        self.offers_tls = False
        self.hello_name = ""
        if self.door is not None:
            self.door.leave()
            self.door.encrypted = True
        self.reset()

    def reset(self) -> None:
        """Drop the transaction and what was forwarded for it."""
        self.transaction = None
        self.forwarded = None

    def origin(self) -> Origin:
        """Return where the present transaction comes from."""
        transaction = self.transaction
        prefix = "UTF8" if transaction is not None and transaction.is_utf8 else ""
        signed_in = self.door if self.door is not None and self.door.identity is not None else None
        return Origin(
            address=self.peer.address,
            hello_name=self.hello_name,
            session=self.peer.session,
            with_protocol=prefix
            + self.policy.protocol
            + ("S" if self.tls is not None else "")
            + ("A" if signed_in is not None else ""),
            forwarded=self.forwarded or {},
            signed_in=signed_in,
        )
