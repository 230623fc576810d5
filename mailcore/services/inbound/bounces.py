"""Bounces of mail that was sent on: they come to a rewritten reverse-path, and go back to the first sender."""

from __future__ import annotations

from dataclasses import dataclass, field

from mailcore.errors import AddressNotFound, UserDisabled, UserNotFound
from mailcore.model.ids import UserId
from mailcore.model.tenant import State
from mailcore.services.inbound.srs import Srs, referenced
from mailcore.store.directory import Directory
from mailcore.store.placement import Home, Placement


@dataclass(frozen=True, slots=True)
class Bounce:
    """Where a bounce goes to."""

    address: str
    """Who sent the message that was sent on."""
    home: Home = field(repr=False)
    """Of the user who had it sent on."""


class Bounces:
    """Knows rewritten reverse-paths."""

    def __init__(self, srs: Srs, directory: Directory, placement: Placement) -> None:
        self._srs = srs
        self._directory = directory
        self._placement = placement

    def find(self, address: str, sender: str | None) -> Bounce | None:
        """Return where mail to a rewritten reverse-path goes, None if the address is none.

        One round trip, and those of the user's home. Only bounces are taken, which have no reverse-path: a rewritten
        one is read by whomever the mail went to, and must be no way to send other mail through us.

        Raises:
            AddressNotFound: we never made it, it is too old, or whose forwarding it was is gone.
        """
        restored = self._srs.restore(address)
        if restored is None:
            return None
        user_id = self._directory.users.find_between(*referenced(restored.user_reference), restored.user_reference[4:])
        if sender or user_id is None:
            raise AddressNotFound(address)
        try:
            home = self._placement.home(UserId(user_id))
        except UserNotFound:
            raise AddressNotFound(address) from None
        if home.state is State.DISABLED:
            raise UserDisabled(user_id)
        return Bounce(restored.address, home)
