"""What one connection knows: its state (RFC 1939 §3), who is signed in, and the maildrop."""

from __future__ import annotations

from enum import Flag, auto
from typing import TYPE_CHECKING

from mailcore.model.access import Protocol
from mailcore.model.actions import Peer, Wake
from mailcore.model.actor import Door
from mailcore.pop3.maildrop import Maildrop
from mailcore.services.accounts.door_session import DoorSession

if TYPE_CHECKING:
    from mailcore.sasl import Offer
    from mailcore.services import MailServices


class State(Flag):
    """States of RFC 1939 §3; UPDATE lasts no longer than QUIT. A command's row names those in which it is valid."""

    AUTHORIZATION = auto()
    TRANSACTION = auto()


ANY_STATE = State.AUTHORIZATION | State.TRANSACTION


class Session(DoorSession):
    """The state of one connection; handlers read and change it."""

    __slots__ = ("_maildrop", "username")

    def __init__(
        self, services: MailServices, peer: Peer, wake: Wake, *, plaintext_allowed: bool, offers_tls: bool
    ) -> None:
        """Begin in AUTHORIZATION; `wake` is called when the session has to end."""
        super().__init__(services, peer, wake, Door.POP3, plaintext_allowed=plaintext_allowed, offers_tls=offers_tls)
        self.username: bytes | None = None
        """What USER said, until PASS."""
        self._maildrop: Maildrop | None = None

    @property
    def state(self) -> State:
        """Where the connection is in RFC 1939 §3."""
        return State.AUTHORIZATION if self._maildrop is None else State.TRANSACTION

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
        self.enter(self.services.authentication.accept(offer, Protocol.POP3, self.remote_address))
        try:
            self._maildrop = Maildrop.open(self.services, self.user_id)
        except BaseException:
            self.leave()
            raise

    def forget(self) -> None:
        """Drop what was said before TLS (RFC 2595 §4), or everything when the connection ends: no mark outlives it."""
        self.leave()
        self._maildrop = None
        self.username = None
