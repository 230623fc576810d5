"""Message trace: every step of a message, from where it was accepted to the answer of the last server.

Rows are gathered in memory and written by a greenlet or thread of the process a moment later, so nobody waits for
them; what a process that dies has not written is lost. What a message's fate rests on is the queue, never its trace.
"""

from __future__ import annotations

import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from bson import ObjectId

from mailcore.errors import MailError, ValueInvalid
from mailcore.metrics import Tally
from mailcore.model.ids import TenantId, UserId
from mailcore.model.limits import DEFAULT_LIMITS
from mailcore.model.tally import Counted
from mailcore.services.process.clock import now
from mailcore.services.tenants.tallies import Tallies
from mailcore.store.placement import Placement
from mailcore.store.user.trace_rows import search_key

log = logging.getLogger(__name__)

DROPPED = Tally("eider_trace_dropped", "Steps of messages that did not get into the trace")
FLUSH_S: Final = 0.5
BATCH: Final = 500
MOST: Final = 1000
WAITING: Final = 20_000
KEPT: Final = timedelta(seconds=DEFAULT_LIMITS.trace_kept_s)
LONGEST_DETAIL: Final = 500

Spawn = Callable[[Callable[[], None]], object]


class Step(StrEnum):
    """What happened to a message."""

    RECEIVED = "received"
    """From outside, for somebody here."""
    REFUSED = "refused"
    QUEUED = "queued"
    HELD = "held"
    RELEASED = "released"
    CANCELLED = "cancelled"
    SENT = "sent"
    """The next server took it over."""
    DELIVERED = "delivered"
    """It lies in a mailbox here."""
    DEFERRED = "deferred"
    FAILED = "failed"
    SUPPRESSED = "suppressed"
    REPORTED = "reported"
    """The sender was told."""
    COMPLAINED = "complained"
    """The recipient's service told that the recipient took it for abuse."""
    INTERRUPTED = "interrupted"
    """Whoever was sending it died or lost the lease: it may go out a second time."""


COUNTED: Final = {
    Step.QUEUED: Counted.QUEUED,
    Step.HELD: Counted.HELD,
    Step.SENT: Counted.SENT,
    Step.DELIVERED: Counted.SENT,
    Step.FAILED: Counted.FAILED,
    Step.SUPPRESSED: Counted.FAILED,
    Step.COMPLAINED: Counted.COMPLAINED,
}
"""As what a step of a user's own message is counted; what comes in is counted where it is delivered."""


@dataclass(frozen=True, slots=True)
class TraceRow:
    """One step of one message, for one recipient or for several that fared alike.

    Attributes:
        queue_id: ours, or that of the transfer agent that brought it; "" if it gave none.
        recipient: the first of them; `others` are the rest.
        detail: the other server's answer, the mailbox, why it is held; short texts.
        at: by the clock of the process that notes it.
        id: of a row that was found: further ones come before it.
    """

    step: Step
    queue_id: str
    message_id: str
    sender: str
    recipient: str
    user_id: UserId | None = None
    detail: Mapping[str, str] = field(default_factory=dict)
    at: datetime | None = None
    others: tuple[str, ...] = ()
    id: str = ""


class Trace:
    """Takes notes of steps, writes them, and finds them."""

    def __init__(self, placement: Placement, tallies: Tallies | None = None) -> None:
        self._placement = placement
        self._tallies = tallies
        self._waiting: list[tuple[TenantId, dict[str, Any]]] = []
        self._lock = threading.Lock()
        self._rows_wait = threading.Event()
        self._closed = threading.Event()

    def note(self, tenant_id: TenantId, row: TraceRow) -> None:
        """Remember a step; never waits and never raises."""
        if self._tallies is not None and row.user_id is not None and row.step in COUNTED:
            self._tallies.add(tenant_id, COUNTED[row.step], 1 + len(row.others), row.at)
        document = _document(tenant_id, row)
        with self._lock:
            if len(self._waiting) < WAITING:
                self._waiting.append((tenant_id, document))
            else:
                DROPPED.inc()
        self._rows_wait.set()

    def flush(self) -> int:
        """Write what was noted, and return how many rows; a shard that is away loses its own."""
        self._rows_wait.clear()
        with self._lock:
            waiting, self._waiting = self._waiting, []
        by_shard: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for tenant_id, document in waiting:
            try:
                by_shard[self._placement.tenant(tenant_id).home_shard].append(document)
            except MailError as error:
                self._lose(1, error)
        for name, documents in by_shard.items():
            for start in range(0, len(documents), BATCH):
                batch = documents[start : start + BATCH]
                try:
                    self._placement.shard(name).trace.add(batch)
                except MailError as error:
                    self._lose(len(batch), error)
        return len(waiting)

    def start(self, spawn: Spawn) -> None:
        """Write what is noted half a second later from now on, in a greenlet or thread that `spawn` makes."""
        spawn(self._flush_forever)

    def close(self) -> None:
        """Write what is left."""
        self._closed.set()
        self.flush()
        self._rows_wait.set()

    def search(
        self,
        tenant_id: TenantId,
        *,
        sender: str = "",
        recipient: str = "",
        message_id: str = "",
        queue_id: str = "",
        since: datetime | None = None,
        until: datetime | None = None,
        before: str = "",
        limit: int = 100,
    ) -> list[TraceRow]:
        """Return a tenant's steps that match everything given, latest first; all of them if nothing is given.

        `until` itself is not among them; `before` is the id of the last row that one has.

        Raises:
            ValueInvalid: a limit that is not 1 to 1000, or `before` is no id.
        """
        if not 1 <= limit <= MOST:
            raise ValueInvalid(f"limit: 1 to {MOST}")
        if before and not ObjectId.is_valid(before):
            raise ValueInvalid("before: the id of a row")
        wanted = {"sender": sender, "recipient": recipient, "message_id": message_id.strip("<>"), "queue": queue_id}
        keys = [search_key(tenant_id, kind, value) for kind, value in wanted.items() if value]
        shard = self._placement.shard(self._placement.tenant(tenant_id).home_shard)
        last = ObjectId(before).binary if before else b""
        if since is not None:
            since = max(since, now() - KEPT)
        if until is not None:
            until = max(until, now() - KEPT) if until <= now() else None
        return [_row(each) for each in shard.trace.find(tenant_id, keys, limit, since=since, until=until, before=last)]

    def _flush_forever(self) -> None:
        while not self._closed.is_set():
            self._rows_wait.wait()
            if not self._closed.wait(FLUSH_S):
                self.flush()

    def _lose(self, count: int, error: MailError) -> None:
        DROPPED.inc(by=count)
        log.warning("trace.lost", extra={"rows": count, "reason": type(error).__name__})


def _document(tenant_id: TenantId, row: TraceRow) -> dict[str, Any]:
    at = row.at or now()
    message_id = row.message_id.strip("<> ")
    found_by = [("sender", row.sender), ("message_id", message_id), ("queue", row.queue_id)]
    found_by += [("recipient", address) for address in (row.recipient, *row.others)]
    return {
        "_id": tenant_id.binary + ObjectId().binary,
        "keys": [search_key(tenant_id, kind, value) for kind, value in found_by if value],
        "at": at,
        "expires_at": at + KEPT,
        "step": row.step.value,
        "queue_id": row.queue_id,
        "message_id": message_id[:998],
        "sender": row.sender,
        "recipient": row.recipient,
        "user": row.user_id,
        **({"others": list(row.others)} if row.others else {}),
        "detail": {name: value[:LONGEST_DETAIL] for name, value in row.detail.items()},
    }


def _row(document: Mapping[str, Any]) -> TraceRow:
    user = document["user"]
    return TraceRow(
        Step(document["step"]),
        document["queue_id"],
        document["message_id"],
        document["sender"],
        document["recipient"],
        None if user is None else UserId(user),
        document["detail"],
        document["at"],
        tuple(document.get("others", ())),
        bytes(document["_id"])[-12:].hex(),
    )
