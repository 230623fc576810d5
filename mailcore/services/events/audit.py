"""The audit trail: no setting, user or secret changes without an event that says who did it.

A change is announced (majority) before it is made and settled after it. A process that dies in
between leaves the announcement: after ten minutes it is told as an event of unknown outcome, so a
change may be told though it did not happen, and never the other way round. Changes of mail need
none of this: their log entry is the commit, and names its actor.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

from bson import ObjectId

from mailcore import fault
from mailcore.errors import MailError, Unavailable
from mailcore.model.actor import Actor
from mailcore.model.event import NOTHING, PLATFORM, Detail, Details, Outcome
from mailcore.model.ids import TenantId, UserId
from mailcore.services.process.clock import now
from mailcore.services.tenants.standing import check_change
from mailcore.store.directory import Directory
from mailcore.store.placement import Placement
from mailcore.store.user.trail import Trail, record_key

log = logging.getLogger(__name__)

KEPT_FOR: Final = timedelta(days=400)
"""How long the trail is kept here; whoever needs it longer pulls it."""


class Planned(Exception):
    """A dry run got as far as the change: every check before it passed, and nothing was changed."""

    def __init__(self, kind: str, wanted: Details) -> None:
        super().__init__(kind)
        self.kind = kind
        self.wanted = wanted


@dataclass(slots=True)
class Change:
    """A change under way: what it turned from and into may be noted."""

    before: dict[str, Detail] = field(default_factory=dict)
    after: dict[str, Detail] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Place:
    """Which trail an event goes to, and whose it is."""

    trail: Trail
    tenant_id: TenantId
    user_id: UserId | None


class Audit:
    """Announces changes and settles them; two small writes for each, on the shard of whom it concerns."""

    def __init__(self, directory: Directory, placement: Placement) -> None:
        self._directory = directory
        self._placement = placement

    @contextmanager
    def of_user(self, actor: Actor, kind: str, user_id: UserId, wanted: Details = NOTHING) -> Iterator[Change]:
        """Surround a change that concerns a user; `wanted` says what is to be, without secrets.

        An error that says nothing was changed withdraws the announcement.

        Raises:
            UserNotFound: there is no such user, so nothing to change.
            MailReadOnly: it is of mail, which the tenant's users only read now.
            StoreUnavailable: the user's shard did not take the announcement; nothing may be changed.
        """
        home = self._placement.home(user_id)
        check_change(home, actor, kind)
        with self._change(_Place(home.shard.trail, home.tenant_id, user_id), actor, kind, wanted) as change:
            yield change

    @contextmanager
    def of_tenant(
        self,
        actor: Actor,
        kind: str,
        tenant_id: TenantId,
        wanted: Details = NOTHING,
        *,
        new_user: UserId | None = None,
        shard: str | None = None,
    ) -> Iterator[Change]:
        """Surround a change that concerns a tenant, or a user that does not exist yet (`new_user`).

        `shard` is given where the directory cannot tell it yet; by default it is the tenant's home shard.

        Raises:
            TenantNotFound: there is no such tenant.
            StoreUnavailable: the shard did not take the announcement; nothing may be changed.
        """
        stores = self._placement.shard(shard or self._placement.tenant(tenant_id).home_shard)
        with self._change(_Place(stores.trail, tenant_id, new_user), actor, kind, wanted) as change:
            yield change

    @contextmanager
    def of_platform(self, actor: Actor, kind: str, wanted: Details = NOTHING) -> Iterator[Change]:
        """Surround a change that concerns no tenant.

        Raises:
            StoreUnavailable: the directory did not take the announcement; nothing may be changed.
        """
        with self._change(_Place(self._directory.trail, PLATFORM, None), actor, kind, wanted) as change:
            yield change

    def happened(self, actor: Actor, kind: str, user_id: UserId, details: Details = NOTHING) -> None:
        """Tell of something that concerns a user and that nobody changed, such as a sign-in from elsewhere."""
        with self.of_user(actor, kind, user_id, details):
            pass

    @contextmanager
    def _change(self, place: _Place, actor: Actor, kind: str, wanted: Details) -> Iterator[Change]:
        if actor.dry_run:
            raise Planned(kind, wanted)
        key = record_key(place.user_id or place.tenant_id)
        place.trail.announce(key, _content(place, actor, kind, wanted))
        fault.hit("audit.announced")
        change = Change()
        try:
            yield change
        except Unavailable:
            self._settle(place, key, Outcome.UNKNOWN, change)
            raise
        except MailError:
            self._withdraw(place, key)
            raise
        except BaseException:
            self._settle(place, key, Outcome.UNKNOWN, change)
            raise
        fault.hit("audit.changed")
        self._settle(place, key, Outcome.DONE, change)
        log.info(kind, extra=_fields(place, actor, wanted))

    def _settle(self, place: _Place, key: bytes, outcome: Outcome, change: Change) -> None:
        """Settle; where that fails the announcement stands, and is told with unknown outcome."""
        content = {"before": _plain(change.before), "after": _plain(change.after)}
        try:
            if not place.trail.settle(key, outcome, content):
                log.warning("audit.settled_late", extra={"key": key.hex()})
        except MailError as error:
            log.warning("audit.not_settled", extra={"key": key.hex(), "reason": type(error).__name__})

    def _withdraw(self, place: _Place, key: bytes) -> None:
        try:
            place.trail.withdraw(key)
        except MailError as error:
            log.warning("audit.not_withdrawn", extra={"key": key.hex(), "reason": type(error).__name__})


def _content(place: _Place, actor: Actor, kind: str, wanted: Details) -> dict[str, Any]:
    return {
        "tenant": place.tenant_id.binary,
        "user": place.user_id,
        "kind": kind,
        "actor": {
            "kind": actor.kind.value,
            "door": actor.door.value,
            "identity": actor.identity,
            "on_behalf_of": actor.on_behalf_of,
            "remote_address": actor.remote_address,
            "request_id": actor.request_id,
        },
        "wanted": _plain(wanted),
        "expires_at": now() + KEPT_FOR,
    }


def _plain(details: Details) -> dict[str, Any]:
    """Return details as they are stored.

    Raises:
        TypeError: one is not plain: a `Secret`, bytes, or an object, of which nobody knows what it shows.
    """
    return {name: _plain_value(value) for name, value in details.items()}


def _plain_value(value: object) -> object:
    if value is None or isinstance(value, str | int | float | bool) or hasattr(value, "tzinfo"):
        return value
    if isinstance(value, ObjectId):
        return str(value)
    if isinstance(value, list | tuple):
        return [_plain_value(item) for item in value]
    if isinstance(value, dict):
        return {str(name): _plain_value(item) for name, item in value.items()}
    raise TypeError(f"{type(value).__name__} does not go into the audit trail")


def _fields(place: _Place, actor: Actor, wanted: Details) -> dict[str, object]:
    return {
        "tenant": str(place.tenant_id),
        "user": str(place.user_id or ""),
        "actor": actor.identity,
        "door": actor.door.value,
        "request": actor.request_id,
        "wanted": wanted,
    }
