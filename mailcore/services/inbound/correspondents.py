"""Correspondents: whom a user writes to is remembered, so that clients complete addresses."""

from __future__ import annotations

import logging
from typing import Final

from bson import ObjectId

from mailcore.errors import AddressNotFound, MailError
from mailcore.message.outgoing import Outgoing, parse_mailboxes
from mailcore.model.actor import Actor
from mailcore.model.ids import UserId
from mailcore.services.events.audit import Audit
from mailcore.services.process.clock import now
from mailcore.services.tenants.tenants import clean_name
from mailcore.store.placement import Placement
from mailcore.store.user.correspondents import Correspondent

log = logging.getLogger(__name__)

FIELDS: Final = (b"to", b"cc", b"bcc")
MOST: Final = 50
"""Of one message; who writes to more does not write to people."""


class Correspondents:
    """Remembers, finds and hides."""

    def __init__(self, placement: Placement, audit: Audit) -> None:
        self._placement = placement
        self._audit = audit

    def note(self, user_id: UserId, outgoing: Outgoing) -> None:
        """Note whom a message that was taken is addressed to; one round trip, and a fault is only logged."""
        people: dict[str, str] = {}
        for field in outgoing.fields:
            if field.name in FIELDS:
                for one in parse_mailboxes(field.value) or ():
                    people[one.address] = one.name if one.name.isprintable() else ""
        if not 0 < len(people) <= MOST:
            return
        try:
            self._placement.home(user_id).shard.correspondents.note(user_id, people, now())
        except MailError as error:
            log.warning("correspondents.not_noted", extra={"user": str(user_id), "reason": type(error).__name__})

    def find(self, user_id: UserId, text: str, limit: int) -> list[Correspondent]:
        """Return whose name or address has a text in it, those written to last first; one round trip.

        Raises:
            UserNotFound: there is no such user.
        """
        return self._placement.home(user_id).shard.correspondents.find(user_id, text, limit)

    def change(self, actor: Actor, user_id: UserId, person: ObjectId, *, hidden: bool, name: str | None = None) -> None:
        """Hide somebody, or show again; `name` takes the place of what messages say.

        Raises:
            AddressNotFound: the user has written to nobody of this id.
            ValueInvalid: the name is too long, or has control characters.
        """
        cleaned = clean_name(name) if name else name
        with self._audit.of_user(actor, "correspondent.changed", user_id, {"id": str(person), "hidden": hidden}):
            stored = self._placement.home(user_id).shard.correspondents
            if not stored.change(user_id, person, hidden=hidden, name=cleaned):
                raise AddressNotFound(person)
