"""The outbound queue as users and staff see it: what waits, what became of it, and how they change that."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

from bson import ObjectId

from mailcore.errors import BeingSent, NotFound, NotPermitted, QueueEntryNotFound
from mailcore.model.actor import Actor, ActorKind
from mailcore.model.ids import TenantId, UserId
from mailcore.model.limits import Limits
from mailcore.model.outbound import (
    AUTHORED,
    BURST,
    HELD_FOR_ABUSE,
    SENDING_HOLD,
    Answer,
    EntryState,
    Notify,
    OutboundEntry,
    QueueId,
    Reason,
    RecipientState,
    RecipientStatus,
    ReturnContent,
)
from mailcore.services.content.stored_content import Content
from mailcore.services.events.audit import Audit
from mailcore.services.outbound.outbound_content import OutboundContent
from mailcore.services.outbound.queueing import Queueing, entry_key
from mailcore.services.outbound.trace import Step, Trace, TraceRow
from mailcore.services.process.clock import now
from mailcore.services.tenants.standing import check_sending
from mailcore.store.placement import Home, Placement

MOST: Final = 1000


class Outbound:
    """Tells how far messages are that go out, and changes what becomes of them."""

    def __init__(
        self,
        placement: Placement,
        content: OutboundContent,
        audit: Audit,
        trace: Trace,
        queueing: Queueing,
        limits: Limits,
    ) -> None:
        self._placement = placement
        self._content = content
        self._audit = audit
        self._trace = trace
        self._queueing = queueing
        self._limits = limits

    # -- looking ----------------------------------------------------------------------------

    def get(self, user_id: UserId, queue_id: str) -> OutboundEntry:
        """Return an entry as it stands; remembered for a week after its end.

        Raises:
            QueueEntryNotFound: the user has none of this id.
        """
        return entry_of(self._document(user_id, queue_id))

    def content(self, user_id: UserId, queue_id: str) -> Content:
        """Return the message of an entry that has not ended.

        Raises:
            QueueEntryNotFound: none of this id, or it has ended.
        """
        document = self._document(user_id, queue_id, with_content=True)
        if "skeleton" not in document:
            raise QueueEntryNotFound(queue_id)
        home = self._placement.home(user_id)
        return self._content.open(home.shard, home.tenant_id, document)

    def list_of_user(self, user_id: UserId, limit: int = 100, *, waiting: bool = True) -> list[OutboundEntry]:
        """Return a user's entries, latest first; all that are remembered unless only those `waiting`."""
        outbound = self._placement.home(user_id).shard.outbound
        return [entry_of(document) for document in outbound.list_of_user(user_id, min(limit, MOST), waiting=waiting)]

    def list_authored(self, user_id: UserId, limit: int, after: str = "") -> list[OutboundEntry]:
        """Return what a user wrote and had sent, as far as it is remembered, latest first.

        One round trip, and one more to go on `after` an entry; one that is forgotten begins anew.
        """
        outbound = self._placement.home(user_id).shard.outbound
        last = None
        if after:
            with suppress(QueueEntryNotFound):
                last = self._document(user_id, after)
        reasons = sorted(each.value for each in AUTHORED)
        return [entry_of(document) for document in outbound.list_for_reasons(user_id, reasons, last, min(limit, MOST))]

    def list_of_message(self, user_id: UserId, message_id: str) -> list[OutboundEntry]:
        """Return the remembered entries of a message that the user sent, by its Message-ID, latest first."""
        outbound = self._placement.home(user_id).shard.outbound
        return [entry_of(document) for document in outbound.list_of_message(user_id, message_id, MOST)]

    def list_of_tenant(
        self, tenant_id: TenantId, limit: int = 100, *, waiting: bool = True,
        since: datetime | None = None, until: datetime | None = None, after: tuple[datetime, bytes] | None = None,
    ) -> list[OutboundEntry]:  # fmt: skip
        """Return a tenant's entries, latest first: made `since` and before `until`, those after the `place` of one.

        One round trip for each shard.
        """
        found = [
            entry_of(document)
            for shard in self._placement.shards(self._placement.tenant(tenant_id).region)
            for document in shard.outbound.list_of_tenant(
                tenant_id, min(limit, MOST), waiting=waiting, since=since, until=until, after=after
            )
        ]
        return sorted(found, key=lambda entry: entry.place, reverse=True)[:limit]

    # -- changing ---------------------------------------------------------------------------

    def cancel(self, actor: Actor, user_id: UserId, queue_id: str) -> OutboundEntry:
        """Do not send it to those who have not got it yet; return the entry as it was.

        Raises:
            QueueEntryNotFound: none of this id, or it has ended.
            BeingSent: a relay has it at this moment.
        """
        home = self._placement.home(user_id)
        key = entry_key(user_id, queue_id)
        with self._audit.of_user(actor, "outbound.cancelled", user_id, {"queue_id": queue_id}):
            before = home.shard.outbound.cancel(user_id, key[12:], now() + self._kept())
            if before is None:
                raise self._why_not(user_id, queue_id, EntryState.QUEUED, EntryState.HELD)
        self._content.let_go(home.shard, home.tenant_id, key, before)
        self._note(home, before, Step.CANCELLED)
        return entry_of(before)

    def hold(self, actor: Actor, user_id: UserId, queue_id: str, why: str) -> None:
        """Keep an entry back until it is released.

        Raises:
            QueueEntryNotFound: none of this id, or it has ended.
            BeingSent: a relay has it at this moment.
            NotPermitted: it is held already, for a cause that support ends.
        """
        home = self._placement.home(user_id)
        if self.get(user_id, queue_id).held in HELD_FOR_ABUSE:
            raise NotPermitted("outgoing mail of its sender is on hold, which support ends")
        with self._audit.of_user(actor, "outbound.held", user_id, {"queue_id": queue_id, "why": why}):
            if not home.shard.outbound.hold(user_id, entry_key(user_id, queue_id)[12:], why):
                raise self._why_not(user_id, queue_id, EntryState.QUEUED, EntryState.HELD)
        self._note(home, self._document(user_id, queue_id), Step.HELD, why)

    def release(self, actor: Actor, user_id: UserId, queue_id: str) -> None:
        """Let a held entry go, not before it was to be sent; its lifetime begins then.

        Raises:
            QueueEntryNotFound: none of this id is held.
            NotPermitted: all mail of its sender is held, or it was far too much at once and staff have to look.
            SendingStopped: one of the tenant lets it go, which sends nothing now.
        """
        home = self._placement.home(user_id)
        held, is_bound = self.get(user_id, queue_id).held, actor.kind in {ActorKind.USER, ActorKind.MEMBER}
        if held == SENDING_HOLD or (held == BURST and is_bound):
            raise NotPermitted("outgoing mail of its sender is on hold, which support ends")
        if is_bound:
            check_sending(home)
        kept = timedelta(seconds=self._limits.outbound.lifetime_s)
        with self._audit.of_user(actor, "outbound.released", user_id, {"queue_id": queue_id}):
            if not home.shard.outbound.release(user_id, entry_key(user_id, queue_id)[12:], kept):
                raise self._why_not(user_id, queue_id, EntryState.HELD)
        self._queueing.wake(home.shard.name)
        self._note(home, self._document(user_id, queue_id), Step.RELEASED)

    def retry(self, actor: Actor, user_id: UserId, queue_id: str) -> None:
        """Try now what waits for its next attempt.

        Raises:
            QueueEntryNotFound: none of this id waits.
            BeingSent: a relay has it at this moment.
        """
        home = self._placement.home(user_id)
        with self._audit.of_user(actor, "outbound.retried", user_id, {"queue_id": queue_id}):
            if not home.shard.outbound.retry(user_id, entry_key(user_id, queue_id)[12:]):
                raise self._why_not(user_id, queue_id, EntryState.QUEUED)
        self._queueing.wake(home.shard.name)

    # -- parts ------------------------------------------------------------------------------

    def _document(self, user_id: UserId, queue_id: str, *, with_content: bool = False) -> dict[str, Any]:
        home = self._placement.home(user_id)
        document = home.shard.outbound.find(user_id, entry_key(user_id, queue_id)[12:], with_content=with_content)
        if document is None:
            raise QueueEntryNotFound(queue_id)
        return document

    def _why_not(self, user_id: UserId, queue_id: str, *states: EntryState) -> NotFound | BeingSent:
        """Return the error that says why an entry could not be changed."""
        entry = self.get(user_id, queue_id)
        return BeingSent(queue_id) if entry.state in states and entry.is_leased else QueueEntryNotFound(queue_id)

    def _kept(self) -> timedelta:
        return timedelta(seconds=self._limits.outbound.remembered_s)

    def _note(self, home: Home, document: Mapping[str, Any], step: Step, why: str = "") -> None:
        entry = entry_of(document)
        ended = {RecipientState.SENT, RecipientState.FAILED}
        first, *others = [each.address for each in entry.recipients if each.state not in ended] or [""]
        row = TraceRow(step, entry.id, entry.header_message_id, entry.reverse_path, first, entry.user_id)
        row = replace(row, detail={"why": why} if why else {}, others=tuple(others))
        self._trace.note(home.tenant_id, row)


def entry_of(document: Mapping[str, Any]) -> OutboundEntry:
    """Return an entry as a value."""
    key: bytes = document["_id"]
    return OutboundEntry(
        id=QueueId(key[12:].hex()),
        user_id=UserId(_object_id(key[:12])),
        tenant_id=TenantId(_object_id(document["tenant"])),
        reason=Reason(document["reason"]),
        state=EntryState(document["state"]),
        held=document.get("held"),
        reverse_path=document["reverse_path"],
        recipients=tuple(map(_recipient, document["recipients"])),
        size_bytes=document["size"],
        sha256=document["sha256"],
        header_message_id=document["message_id"],
        envelope_id=document.get("envelope_id"),
        return_content=ReturnContent(document["return"]) if "return" in document else None,
        is_utf8=document["utf8"],
        has_8bit=document["has_8bit"],
        has_utf8_header=document["has_utf8_header"],
        created_at=document["created_at"],
        expires_at=document["expires_at"],
        next_at=document.get("next_at"),
        lease=document["lease"],
        is_leased=document["is_leased"],
        actor=document["actor"],
        via=document.get("via", ""),
        of_tenant=document.get("of_tenant", False),
        group=document.get("group", ""),
        subject=document.get("subject", ""),
    )


def _recipient(fields: Mapping[str, Any]) -> RecipientStatus:
    answer = fields.get("answer")
    return RecipientStatus(
        address=fields["address"],
        notify=frozenset(map(Notify, fields["notify"])) if "notify" in fields else None,
        original_recipient=fields.get("orcpt"),
        state=RecipientState(fields["state"]),
        attempts=fields["attempts"],
        due_at=fields.get("due_at"),
        last_at=fields.get("last_at"),
        answer=None if answer is None else Answer(**answer),
        is_local=fields.get("is_local", False),
        relayed_dsn=fields.get("relayed_dsn", False),
        reported=frozenset(fields.get("reported", ())),
    )


def _object_id(binary: bytes) -> ObjectId:
    return ObjectId(bytes(binary))
