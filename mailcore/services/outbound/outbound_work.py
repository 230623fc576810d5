"""The queue as relays see it: leases, and what they write down under them."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final

from mailcore import fault
from mailcore.errors import StoreUnavailable
from mailcore.model.ids import TenantId
from mailcore.model.limits import OutboundLimits
from mailcore.model.outbound import Answer, OutboundEntry, RecipientState, RecipientStatus
from mailcore.services.content.stored_content import Content
from mailcore.services.outbound.outbound import entry_of
from mailcore.services.outbound.outbound_content import OutboundContent
from mailcore.store.shard import ShardStores

log = logging.getLogger(__name__)

INSIST_S: Final = 600.0
"""So long a relay tries to write down what became of a message while the database is away: else it is sent twice."""
INSIST_PAUSE_S: Final = 0.5
_RANDOM: Final = random.Random()  # noqa: S311  jitter, no secret


class LeaseLost(Exception):
    """Another relay has the entry now; nothing that this one says of it counts any more."""


@dataclass(slots=True)
class Claim:
    """An entry that this relay has for itself.

    Attributes:
        was_interrupted: whoever had it before ended without a word: it may have been sent already.
    """

    shard: ShardStores = field(repr=False)
    key: bytes
    entry: OutboundEntry
    document: Mapping[str, Any] = field(repr=False)
    was_interrupted: bool
    leased_at: datetime
    began_s: float
    has_ended: bool = False
    """The entry ended with the last thing that was written down."""

    def now(self) -> datetime:
        """Return the time by the database's clock, as far as this process can tell."""
        return self.leased_at + timedelta(seconds=time.monotonic() - self.began_s)

    def with_changes(self, changes: Mapping[int, RecipientStatus]) -> OutboundEntry:
        """Return the entry as it stands with these recipients changed."""
        recipients = list(self.entry.recipients)
        for number, status in changes.items():
            recipients[number] = status
        return replace(self.entry, recipients=tuple(recipients))

    def recipients(self) -> list[tuple[int, RecipientStatus]]:
        """Return the recipients with their numbers."""
        return list(enumerate(self.entry.recipients))


class OutboundWork:
    """Claims what is due on a shard, and records what became of it."""

    def __init__(self, content: OutboundContent, limits: OutboundLimits) -> None:
        self._content = content
        self.limits = limits
        self._lease = timedelta(seconds=limits.lease_s)

    def claim(self, shard: ShardStores, not_of: Sequence[TenantId] = ()) -> Claim | None:
        """Lease what has been due longest; None if nothing is. One round trip."""
        began_s = time.monotonic()
        document = shard.outbound.claim(self._lease, not_of)
        if document is None:
            return None
        entry = entry_of(document)
        return Claim(shard, document["_id"], entry, document, document["was_leased"], document["leased_at"], began_s)

    def renew(self, claim: Claim) -> bool:
        """Prolong a lease; False if it is lost. One round trip."""
        return claim.shard.outbound.renew(claim.key, claim.entry.lease, self._lease)

    def content(self, claim: Claim) -> Content:
        """Return the message."""
        return self._content.open(claim.shard, claim.entry.tenant_id, dict(claim.document))

    def record(self, claim: Claim, changes: Mapping[int, RecipientStatus], *, ends: bool = False) -> None:
        """Write down how recipients stand now (majority), however long the database is away.

        `ends`: after that nobody waits any more and nothing is to be told, so the entry ends by the same write.

        Raises:
            LeaseLost: another relay has the entry.
        """
        if not changes:
            return
        fields, outbound, lease = _fields(changes), claim.shard.outbound, claim.entry.lease
        if ends:
            forget_at = claim.now() + timedelta(seconds=self.limits.remembered_s)
            self._insist(claim, lambda: outbound.finish(claim.key, lease, forget_at, fields))
            claim.has_ended = True
        else:
            self._insist(claim, lambda: outbound.record(claim.key, lease, fields))
        claim.entry = claim.with_changes(changes)
        fault.hit("relay.recorded")

    def settle(self, claim: Claim, not_before_s: float = 0) -> None:
        """End the lease: due again when the first recipient is, or ended if none waits any more.

        `not_before_s`: it is not due earlier than in about so long, whatever the recipients say.

        Raises:
            LeaseLost: another relay has the entry.
        """
        waiting = [each.due_at for each in claim.entry.recipients if each.state is RecipientState.QUEUED]
        outbound, lease = claim.shard.outbound, claim.entry.lease
        if claim.has_ended:
            self._content.let_go(claim.shard, claim.entry.tenant_id, claim.key, dict(claim.document))
            return
        if waiting:
            earliest = claim.now() + timedelta(seconds=not_before_s * _RANDOM.uniform(0.75, 1.25))
            next_at = max(min(due_at or earliest for due_at in waiting), earliest)
            self._insist(claim, lambda: outbound.give_back(claim.key, lease, next_at, {}))
            return
        forget_at = claim.now() + timedelta(seconds=self.limits.remembered_s)
        self._insist(claim, lambda: outbound.finish(claim.key, lease, forget_at, {}))
        fault.hit("relay.finished")
        self._content.let_go(claim.shard, claim.entry.tenant_id, claim.key, dict(claim.document))

    def hold(self, claim: Claim, why: str) -> None:
        """End the lease and keep the entry back until somebody releases it; one round trip.

        Raises:
            LeaseLost: another relay has the entry.
            StoreUnavailable: not known to be held; the lease ends by itself.
        """
        if not claim.shard.outbound.hold_leased(claim.key, claim.entry.lease, why):
            raise LeaseLost(claim.entry.id)

    def put_back(self, claim: Claim, after_s: float) -> None:
        """End the lease without a word on any recipient; due again in a while."""
        next_at = claim.now() + timedelta(seconds=after_s * _RANDOM.uniform(0.75, 1.25))
        try:
            claim.shard.outbound.give_back(claim.key, claim.entry.lease, next_at, {})
        except StoreUnavailable:
            log.info("outbound.lease.left", extra={"queue_id": claim.entry.id})  # ends by itself

    def after(self, attempts: int, now: datetime, until: datetime) -> datetime:
        """Return when the next attempt is due, with some jitter, not later than `until`."""
        schedule = self.limits.backoff_s
        wait_s = schedule[min(attempts, len(schedule)) - 1] * _RANDOM.uniform(0.9, 1.2)
        return min(now + timedelta(seconds=wait_s), max(until, now))

    def _insist(self, claim: Claim, write: Any) -> None:
        give_up_at = time.monotonic() + INSIST_S
        while True:
            try:
                if not write():
                    raise LeaseLost(claim.entry.id)
            except StoreUnavailable as error:
                if time.monotonic() >= give_up_at:
                    raise
                log.warning("outbound.not_recorded", extra={"queue_id": claim.entry.id, "reason": str(error)[:200]})
                time.sleep(INSIST_PAUSE_S)
            else:
                return


def answered(status: RecipientStatus, answer: Answer, at: datetime, due_at: datetime, **more: Any) -> RecipientStatus:
    """Return how a recipient stands after an answer."""
    state = (
        RecipientState.SENT
        if answer.is_positive
        else RecipientState.FAILED
        if answer.is_final
        else RecipientState.QUEUED
    )
    return replace(status, state=state, attempts=status.attempts + 1, last_at=at, due_at=due_at, answer=answer, **more)


def _fields(changes: Mapping[int, RecipientStatus]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for number, status in changes.items():
        prefix = f"recipients.{number}."
        fields[prefix + "state"] = status.state.value
        fields[prefix + "attempts"] = status.attempts
        fields[prefix + "due_at"] = status.due_at
        fields[prefix + "last_at"] = status.last_at
        fields[prefix + "answer"] = None if status.answer is None else asdict(status.answer)
        fields[prefix + "is_local"] = status.is_local
        fields[prefix + "relayed_dsn"] = status.relayed_dsn
        fields[prefix + "reported"] = sorted(status.reported)
    return fields
