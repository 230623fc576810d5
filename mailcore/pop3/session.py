"""What one connection knows: its state (RFC 1939 §3), who is signed in, and the maildrop."""

from __future__ import annotations

from enum import Flag, auto
from typing import TYPE_CHECKING

from mailcore.model.access import Protocol
from mailcore.model.actions import Peer, Wake
from mailcore.model.actor import Actor, ActorKind, Door
from mailcore.model.ids import UserId
from mailcore.model.limits import Limits
from mailcore.pop3.maildrop import Maildrop

if TYPE_CHECKING:
    from mailcore.sasl import Offer
    from mailcore.services import MailServices
    from mailcore.services.connections import Lease
    from mailcore.services.identity import Identity
    from mailcore.services.sessions import SignedIn


class State(Flag):
    """States of RFC 1939 §3; UPDATE lasts no longer than QUIT. A command's row names those in which it is valid."""

    AUTHORIZATION = auto()
    TRANSACTION = auto()


ANY_STATE = State.AUTHORIZATION | State.TRANSACTION


class Session:
    """The state of one connection; handlers read and change it."""

    __slots__ = (
        "_lease", "_maildrop", "_signed_in", "_wake", "actor", "encrypted", "identity", "offers_stls",
        "plaintext_allowed", "remote_address", "services", "session_id", "username",
    )  # fmt: skip

    def __init__(
        self, services: MailServices, peer: Peer, wake: Wake, *, plaintext_allowed: bool, offers_stls: bool
    ) -> None:
        """Begin in AUTHORIZATION; `wake` is called when the session has to end.

        `plaintext_allowed`: passwords may come without TLS, for only this machine can connect.
        """
        self.services = services
        self.remote_address = peer.address
        self.session_id = peer.session
        self.encrypted = peer.tls is not None
        self.plaintext_allowed = plaintext_allowed
        self.offers_stls = offers_stls
        self.username: bytes | None = None
        """What USER said, until PASS."""
        self.identity: Identity | None = None
        self.actor = Actor(ActorKind.USER, Door.POP3, "", remote_address=peer.address, request_id=peer.session)
        self._maildrop: Maildrop | None = None
        self._lease: Lease | None = None
        self._wake = wake
        self._signed_in: SignedIn | None = None

    @property
    def state(self) -> State:
        """Where the connection is in RFC 1939 §3."""
        return State.AUTHORIZATION if self._maildrop is None else State.TRANSACTION

    @property
    def limits(self) -> Limits:
        """What holds for this process."""
        return self.services.settings.limits

    @property
    def may_sign_in(self) -> bool:
        """Whether a password may be sent on this connection."""
        return self.encrypted or self.plaintext_allowed

    @property
    def user_id(self) -> UserId:
        """Who is signed in; the command table lets nobody else come here."""
        assert self.identity is not None
        return self.identity.user_id

    @property
    def maildrop(self) -> Maildrop:
        """The messages; the command table lets nobody come here before signing in."""
        assert self._maildrop is not None
        return self._maildrop

    def sign_in(self, offer: Offer) -> None:
        """Check what the client offers, take the snapshot, and enter TRANSACTION; not in it if anything fails.

        One or two round trips more than signing in alone, see `Maildrop.open`, and one to Redis. Raises as
        `Authentication.accept`, `Connections.open` and `Maildrop.open`.
        """
        identity = self.services.authentication.accept(offer, Protocol.POP3, self.remote_address)
        lease = self.services.connections.open(identity.user_id, identity.limits.connections)
        try:
            self._maildrop = Maildrop.open(self.services, identity.user_id)
        except BaseException:
            lease.close()
            raise
        self._lease = lease
        self.identity = identity
        self._signed_in = self.services.sessions.open(identity, self._wake)
        self.actor = Actor(
            ActorKind.USER,
            Door.POP3,
            identity.address,
            on_behalf_of=identity.user_id,
            remote_address=self.remote_address,
            request_id=self.session_id,
        )

    @property
    def ended(self) -> str | None:
        """Why who signed in may no longer be here, None while it may; the connection is woken when that changes."""
        return self._signed_in.ended if self._signed_in is not None else None

    def forget(self) -> None:
        """Drop what was said before TLS (RFC 2595 §4), or everything when the connection ends: no mark outlives it."""
        if self._signed_in is not None:
            self._signed_in.close()
            self._signed_in = None
        self._maildrop = None
        if self._lease is not None:
            self._lease.close()
            self._lease = None
        self.identity = None
        self.username = None
