"""What one connection knows: who is signed in, if anybody."""

from __future__ import annotations

from enum import Flag, auto
from typing import TYPE_CHECKING

from mailcore.model.access import Protocol
from mailcore.model.actions import Peer, Wake
from mailcore.model.actor import Door
from mailcore.services.accounts.door_session import DoorSession

if TYPE_CHECKING:
    from mailcore.sasl import Offer
    from mailcore.services import MailServices


class State(Flag):
    """States of RFC 5804 §1.5. A command's row names those in which it is valid."""

    NOT_AUTHENTICATED = auto()
    AUTHENTICATED = auto()


ANY_STATE = State.NOT_AUTHENTICATED | State.AUTHENTICATED


class Session(DoorSession):
    """The state of one connection; handlers read and change it."""

    __slots__ = ()

    def __init__(
        self, services: MailServices, peer: Peer, wake: Wake, *, plaintext_allowed: bool, offers_tls: bool
    ) -> None:
        """Begin with nobody signed in; `wake` is called when the session has to end."""
        super().__init__(
            services, peer, wake, Door.MANAGESIEVE, plaintext_allowed=plaintext_allowed, offers_tls=offers_tls
        )

    @property
    def state(self) -> State:
        """Where the connection is in RFC 5804 §1.5."""
        return State.NOT_AUTHENTICATED if self.identity is None else State.AUTHENTICATED

    def sign_in(self, offer: Offer) -> None:
        """Check what the client offers, and let it in.

        Raises: as `Authentication.accept` and `Connections.open`.
        """
        self.enter(self.services.authentication.accept(offer, Protocol.MANAGESIEVE, self.remote_address))
