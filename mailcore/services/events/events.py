"""Events: reading what happened, in order, from wherever one stopped."""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bson import ObjectId

from mailcore.errors import MailError, ValueInvalid
from mailcore.model.actor import Actor, ActorKind, Door
from mailcore.model.event import PLATFORM, Detail, Event, Outcome
from mailcore.model.ids import TenantId, UserId
from mailcore.services.events.sequencer import Mail, OnChange, Sequencer
from mailcore.store.directory import Directory
from mailcore.store.mailbox.log_entry import Op, decode_entry
from mailcore.store.placement import Placement
from mailcore.store.user.trail import Trail, instant

DIRECTORY = ""
MOST = 1000
_CURSOR = re.compile(r"([a-z0-9-]*):([0-9]{1,18})", re.ASCII)


@dataclass(frozen=True, slots=True)
class EventPage:
    """Some events, and the cursor after which the next ones are read."""

    events: tuple[Event, ...]
    cursor: str


class Events:
    """Reads the streams of tenants; a stream is what one shard has of one tenant."""

    def __init__(self, directory: Directory, placement: Placement, on_change: OnChange) -> None:
        self._on_change = on_change
        self._directory = directory
        self._placement = placement

    def read(self, tenant_id: TenantId, after: str = "", limit: int = 100, *, only_records: bool = False) -> EventPage:
        """Return a tenant's next events: in order within a shard, by time between shards; one read for each shard.

        Args:
            tenant_id: whose; `PLATFORM` for events that concern no tenant.
            after: cursor of the page before; "" begins with the oldest event kept.
            limit: 1 to 1000 events.
            only_records: leave out what changed mail.

        Raises:
            ValueInvalid: not a cursor, or a limit out of range.
            StoreUnavailable: a shard does not answer; its events cannot be skipped.
        """
        if not 1 <= limit <= MOST:
            raise ValueInvalid(f"limit: 1 to {MOST}")
        numbers = _numbers(after)
        pages = [
            [_event(name, document) for document in trail.after(
                tenant_id, numbers.get(name, 0), limit, only_records=only_records
            )]
            for name, trail in self._trails(tenant_id)
        ]  # fmt: skip
        taken = tuple(
            event for event, _ in zip(heapq.merge(*pages, key=lambda one: one.at), range(limit), strict=False)
        )
        numbers |= {event.shard: event.number for event in taken}
        return EventPage(taken, _cursor(numbers))

    def end(self, tenant_id: TenantId) -> str:
        """Return the cursor after everything that has a number; one read for each shard."""
        return _cursor({name: trail.highest_number(tenant_id) for name, trail in self._trails(tenant_id)})

    def places(self, after: str, page: EventPage) -> Iterator[tuple[str, Event]]:
        """Yield the events of a page that was read after a cursor, each with the cursor behind it."""
        numbers = _numbers(after)
        for event in page.events:
            numbers[event.shard] = event.number
            yield _cursor(numbers), event

    def sequencers(self) -> list[Sequencer]:
        """Return one for each shard and one for the directory, to be driven by one process at a time."""

        def tenant_of(user_id: UserId) -> TenantId:
            return self._placement.home(user_id).tenant_id

        shards = [
            Sequencer(
                stores.name,
                stores.trail,
                stores.streams,
                tenant_of,
                Mail(stores.head_changes, stores.events),
                self._on_change,
            )
            for stores in self._placement.shards()
        ]
        directory = self._directory
        return [
            Sequencer(DIRECTORY, directory.trail, directory.streams, tenant_of, None, self._on_change),
            *shards,
        ]

    def _trails(self, tenant_id: TenantId) -> Iterator[tuple[str, Trail]]:
        if tenant_id == PLATFORM:
            yield DIRECTORY, self._directory.trail
        else:
            for stores in self._placement.shards():
                yield stores.name, stores.trail


def _numbers(cursor: str) -> dict[str, int]:
    numbers = {}
    for part in filter(None, cursor.split(",")):
        match = _CURSOR.fullmatch(part)
        if match is None:
            raise ValueInvalid("not a cursor of the event stream")
        numbers[match[1]] = int(match[2])
    return numbers


def _cursor(numbers: Mapping[str, int]) -> str:
    return ",".join(f"{name}:{number}" for name, number in sorted(numbers.items()))


def _event(shard: str, document: dict[str, Any]) -> Event:
    make = _mail_event if "entry" in document else _record
    return make(shard, document, instant(document), TenantId(ObjectId(document["tenant"])))


def _record(shard: str, document: dict[str, Any], at: datetime, tenant_id: TenantId) -> Event:
    who = document["actor"]
    actor = Actor(
        ActorKind(who["kind"]), Door(who["door"]), who["identity"], who["on_behalf_of"], who["remote_address"],
        who["request_id"],
    )  # fmt: skip
    details = {name: document[name] for name in ("wanted", "before", "after") if document.get(name)}
    return Event(
        shard, document["number"], document["kind"], at, actor, tenant_id, document["user"],
        Outcome(document["outcome"]), details,
    )  # fmt: skip


def _mail_event(shard: str, document: dict[str, Any], at: datetime, tenant_id: TenantId) -> Event:
    key = bytes(document["_id"])
    try:
        entry = decode_entry(bytes(document["entry"]))
    except MailError:
        return Event(
            shard, document["number"], "message.unreadable", at, _NOBODY, tenant_id, UserId(ObjectId(key[:12]))
        )
    identity, _, rest = entry.stamp.party.partition("\n")
    remote_address, _, request_id = rest.partition("\n")
    details: dict[str, Detail] = {
        "mailbox_id": key[12:24].hex(),
        "modseq": int.from_bytes(key[24:32]),
        "at_ms": entry.stamp.at_ms,
    }
    if entry.op is Op.APPEND:
        details |= {"first_uid": document["first_uid"], "count": entry.count}
    elif entry.op is not Op.CLEAR and entry.block is None:
        details["uids"] = [[int(low), int(high)] for low, high in entry.ranges()]
    if entry.op is Op.FLAGS:
        details |= {"set_bits": str(entry.set_bits), "clear_bits": str(entry.clear_bits)}
    if entry.mailbox is not None:
        details["other_mailbox_id"] = str(entry.mailbox)
    actor = Actor(entry.stamp.kind, entry.stamp.door, identity, None, remote_address, request_id)
    user_id = UserId(ObjectId(key[:12]))
    kind = f"message.{entry.stamp.cause.value}"
    return Event(shard, document["number"], kind, at, actor, tenant_id, user_id, Outcome.DONE, details)


_NOBODY = Actor(ActorKind.SYSTEM, Door.WORKER, "")
