"""Everything that this Stripe knows: objects as their JSON, a clock, and what happened."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from stripe._api_version import _ApiVersion

from infra.devstack.outside.stripe.faults import missing

Object = dict[str, Any]
START = 1_800_000_000
"""What the clock says at first, unless told otherwise; seconds since 1970."""
API_VERSION = _ApiVersion.CURRENT


@dataclass
class World:
    """The state of one account; what is kept of it survives a restart."""

    now: int = START
    objects: dict[str, Object] = field(default_factory=dict)
    """By id, in order of creation."""
    events: list[Object] = field(default_factory=list)
    used_keys: dict[str, Any] = field(default_factory=dict)
    """Idempotency key -> what was asked with it and what was answered."""
    retry_after_days: tuple[int, ...] = (3, 5, 7)
    """After a payment failed: when it is tried again, counted from the attempt before."""
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    on_event: Callable[[Object], None] = lambda _event: None
    base_url: str = ""
    """Where the pages are that it shows."""

    def new_id(self, prefix: str) -> str:
        """Return an id that nothing has."""
        return f"{prefix}_{next(self.numbers):010d}"

    def add(self, prefix: str, kind: str, **fields: Any) -> Object:
        """Store a new object."""
        found = {"id": self.new_id(prefix), "object": kind, "created": self.now, "livemode": False, **fields}
        self.objects[found["id"]] = found
        return found

    def get(self, kind: str, object_id: str) -> Object:
        """Return an object.

        Raises:
            ApiFault: there is none of that kind.
        """
        found = self.objects.get(object_id)
        if found is None or found["object"] != kind:
            raise missing(kind, object_id)
        return found

    def of_kind(self, kind: str, **values: Any) -> list[Object]:
        """Return the objects of a kind whose fields have these values, the newest first."""
        return [
            each
            for each in reversed(self.objects.values())
            if each["object"] == kind and all(each.get(name) == value for name, value in values.items())
        ]

    def tell(self, what: str, about: Object) -> None:
        """Note that something happened, with the object as it is now."""
        event = {
            "id": self.new_id("evt"),
            "object": "event",
            "api_version": API_VERSION,
            "created": self.now,
            "data": {"object": copy.deepcopy(about)},
            "livemode": False,
            "pending_webhooks": 1,
            "request": {"id": None, "idempotency_key": None},
            "type": what,
        }
        self.events.append(event)
        self.on_event(event)

    def imagined(self) -> World:
        """Return a copy in which one may try what would be; nobody hears of it."""
        last = next(self.numbers)
        self.numbers = itertools.count(last)
        return World(
            self.now,
            copy.deepcopy(self.objects),
            retry_after_days=self.retry_after_days,
            numbers=itertools.count(last),
        )

    def to_json(self) -> dict[str, Any]:
        """Return what is kept."""
        last = next(self.numbers)
        self.numbers = itertools.count(last)
        return {
            "now": self.now,
            "objects": self.objects,
            "events": self.events,
            "used_keys": self.used_keys,
            "next_number": last,
        }

    @classmethod
    def from_json(cls, kept: dict[str, Any]) -> World:
        """Return the world as it was kept."""
        return cls(
            kept["now"],
            kept["objects"],
            kept["events"],
            kept["used_keys"],
            numbers=itertools.count(kept["next_number"]),
        )


def listed(url: str, found: list[Object], limit: int = 10, starting_after: str = "") -> Object:
    """Return a page of objects."""
    if starting_after:
        ids = [each["id"] for each in found]
        if starting_after not in ids:
            raise missing("object", starting_after)
        found = found[ids.index(starting_after) + 1 :]
    return {"object": "list", "url": url, "data": found[:limit], "has_more": len(found) > limit}
