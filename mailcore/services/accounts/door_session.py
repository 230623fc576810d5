"""What a connection knows whatever it speaks: where the client is, whether passwords are safe, who is signed in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailcore.model.actions import Peer, Wake
from mailcore.model.actor import Actor, ActorKind, Door
from mailcore.model.ids import UserId
from mailcore.model.limits import Limits, Traffic

if TYPE_CHECKING:
    from mailcore.services import MailServices
    from mailcore.services.accounts.connections import Lease
    from mailcore.services.accounts.identity import Identity
    from mailcore.services.accounts.sessions import SignedIn


class DoorSession:
    """One connection through one door; protocols add their own state."""

    __slots__ = (
        "_actor", "_door", "_lease", "_signed_in", "_wake", "encrypted", "identity", "offers_tls", "plaintext_allowed",
        "remote_address", "services", "session_id",
    )  # fmt: skip

    def __init__(
        self, services: MailServices, peer: Peer, wake: Wake, door: Door, *, plaintext_allowed: bool, offers_tls: bool
    ) -> None:
        """Begin with nobody signed in; `wake` is called when there is news, or when the session has to end.

        `plaintext_allowed`: passwords may come without TLS, for only this machine can connect.
        """
        self.services = services
        self.remote_address = peer.address
        self.session_id = peer.session
        self.encrypted = peer.tls is not None
        self.plaintext_allowed = plaintext_allowed
        self.offers_tls = offers_tls
        self.identity: Identity | None = None
        self._actor: Actor | None = None
        self._door = door
        self._wake = wake
        self._lease: Lease | None = None
        self._signed_in: SignedIn | None = None

    @property
    def limits(self) -> Limits:
        """What holds for this process."""
        return self.services.settings.limits

    @property
    def actor(self) -> Actor:
        """Who acts: the user once signed in; many a session changes nothing, so it is made when first asked for."""
        if self._actor is None:
            identity = self.identity
            self._actor = Actor(
                ActorKind.USER,
                self._door,
                identity.address if identity is not None else "",
                on_behalf_of=identity.user_id if identity is not None else None,
                remote_address=self.remote_address,
                request_id=self.session_id,
            )
        return self._actor

    @property
    def may_sign_in(self) -> bool:
        """Whether a password may be sent on this connection."""
        return self.encrypted or self.plaintext_allowed

    @property
    def user_id(self) -> UserId:
        """Who is signed in; the command tables let nobody else come here."""
        assert self.identity is not None
        return self.identity.user_id

    @property
    def ended(self) -> str | None:
        """Why who signed in may no longer be here, None while it may; the connection is woken when that changes."""
        return self._signed_in.ended if self._signed_in is not None else None

    def enter(self, identity: Identity) -> None:
        """Let somebody in whose credential was accepted, until `ended` says otherwise; one round trip to Redis.

        Raises:
            TooManyConnections: the user has as many open as may be.
        """
        self._lease = self.services.connections.open(identity.user_id, identity.limits.connections)
        self.identity, self._actor = identity, None
        self._signed_in = self.services.sessions.open(identity, self._wake)

    def leave(self) -> None:
        """Let go of who is signed in, if anybody is."""
        if self._lease is not None:
            self._lease.close()
            self._lease = None
        if self._signed_in is not None:
            self._signed_in.close()
            self._signed_in = None
        self.identity = self._actor = None

    def note_traffic(self, what: Traffic, size_bytes: int) -> None:
        """Count what has flowed for who is signed in; no round trip."""
        if self.identity is not None and size_bytes:
            self.services.usage.note(self.identity.user_id, what, size_bytes)
