"""Metadata of mailboxes and of a user's mail as a whole (RFC 5464): private annotations, and shared ones."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from hashlib import blake2b
from random import SystemRandom
from typing import Final

from mailcore.errors import LimitExceeded, MailboxBusy, NotPermitted
from mailcore.model.actor import Actor
from mailcore.model.ids import MailboxId, UserId
from mailcore.model.limits import DEFAULT_LIMITS
from mailcore.model.rights import Right
from mailcore.services.events.audit import Audit
from mailcore.services.mailboxes.access import Place
from mailcore.services.mailboxes.mailboxes import Mailboxes
from mailcore.services.mailboxes.notices import Notices
from mailcore.store.mailbox.annotations import WHOLE_USER, sorted_rows
from mailcore.store.placement import Placement

ATTEMPTS: Final = 20
SERVER: Final = WHOLE_USER
"""Stands for the server among mailboxes."""
PRIVATE: Final = "/private/"
SHARED: Final = "/shared/"
_RANDOM = SystemRandom()

Values = Mapping[str, bytes | None]
"""By entry name, in lower case; None removes."""
Digests = Mapping[MailboxId, Mapping[str, bytes]]
"""What tells one value from another, by mailbox (WHOLE_USER: the server) and entry name."""


class Metadata:
    """The door to annotations. Names begin with /private/ or /shared/; the caller has checked their form."""

    def __init__(self, placement: Placement, mailboxes: Mailboxes, notices: Notices, audit: Audit) -> None:
        self._audit = audit
        self._notices = notices
        self._placement = placement
        self._mailboxes = mailboxes

    def get(
        self, user_id: UserId, actor: Actor, place: Place | None, matches: Callable[[str], bool]
    ) -> dict[str, bytes]:
        """Return the values whose names match, by name: two round trips, one for the server's (`place` None).

        Raises:
            MailboxNotFound, NotPermitted: the actor may not read the mailbox.
        """
        owner_id, mailbox_id = self._where(user_id, actor, place, Right.READ)
        found = self._placement.home(owner_id).shard.annotations.read(owner_id, mailbox_id)
        return {
            name: value
            for (owner, name), value in sorted_rows(found.rows)
            if owner in {None, user_id} and matches(name)
        }

    def digests(self, user_id: UserId, owner_id: UserId) -> tuple[int, Digests]:
        """Return what a user can see of all annotations of an owner, and how often they changed so far; one round trip.

        The caller leaves out mailboxes that the user may not read.
        """
        found = self._placement.home(owner_id).shard.annotations.of_user(owner_id)
        return sum(annotations.version for annotations in found.values()), {
            mailbox_id: {
                name: blake2b(value, digest_size=8).digest()
                for (owner, name), value in annotations.rows.items()
                if owner in {None, user_id}
            }
            for mailbox_id, annotations in found.items()
            if mailbox_id != WHOLE_USER or owner_id == user_id
        }

    def set(self, user_id: UserId, actor: Actor, place: Place | None, values: Values) -> None:
        """Change values, all or none, by one compare-and-set: three round trips, and two of the audit trail.

        Raises:
            MailboxNotFound, NotPermitted: the actor may not read the mailbox, or not write what is shared; what is
                shared of the server nobody may write.
            LimitExceeded: more annotations, or larger ones, than may be.
            MailboxBusy: others kept changing them.
        """
        shared = any(name.startswith(SHARED) for name in values)
        if shared and place is None:
            raise NotPermitted("shared annotations of the server")
        owner_id, mailbox_id = self._where(user_id, actor, place, Right.READ | (Right.WRITE if shared else Right.NONE))
        for value in values.values():
            if value is not None and len(value) > DEFAULT_LIMITS.annotation_bytes:
                raise LimitExceeded("annotation", len(value))
        details = {"mailbox_id": str(mailbox_id), "entries": sorted(values)}
        with self._audit.of_user(actor, "mailbox.annotated", owner_id, details):
            self._change(user_id, owner_id, mailbox_id, values)
            self._notices.publish_annotations(owner_id)

    def _change(self, user_id: UserId, owner_id: UserId, mailbox_id: MailboxId, values: Values) -> None:
        repository = self._placement.home(owner_id).shard.annotations
        for _ in range(ATTEMPTS):
            found = repository.read(owner_id, mailbox_id)
            rows = dict(found.rows)
            for name, value in values.items():
                key = (user_id if name.startswith(PRIVATE) else None, name)
                if value is None:
                    rows.pop(key, None)
                else:
                    rows[key] = value
            if len(rows) > len(found.rows):
                self._check_room(user_id, rows)
            if rows == found.rows or repository.replace(owner_id, mailbox_id, found.version, rows):
                return
            time.sleep(_RANDOM.uniform(0.001, 0.02))
        raise MailboxBusy(owner_id)

    def _check_room(self, user_id: UserId, rows: Mapping[tuple[UserId | None, str], bytes]) -> None:
        """See that neither one user nor all together note too much.

        Raises:
            LimitExceeded: they would.
        """
        of_user = sum(owner == user_id for owner, _ in rows)
        shared = sum(owner is None for owner, _ in rows)
        if max(of_user, shared) > DEFAULT_LIMITS.annotations:
            raise LimitExceeded("annotations", len(rows))
        if sum(len(name) + len(value) for (_, name), value in rows.items()) > DEFAULT_LIMITS.annotations_bytes:
            raise LimitExceeded("annotations", "bytes")

    def _where(self, user_id: UserId, actor: Actor, place: Place | None, needed: Right) -> tuple[UserId, MailboxId]:
        if place is None:
            return user_id, WHOLE_USER
        return place.owner_id, self._mailboxes.find(place.owner_id, place.name, actor, needed).id
