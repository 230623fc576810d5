"""The outbound queue: what is accepted here is sent or reported, once, whoever dies meanwhile.

A message is stored with a majority before `enqueue` returns. Its id is made of its key, so that a repeat (a client or
a transfer agent that missed the answer) finds it, also after it was sent.
"""

from __future__ import annotations

import hmac
import logging
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

from bson import ObjectId

from mailcore import fault
from mailcore.errors import BeingSent, NotFound, NotPermitted, QueueEntryNotFound, ValueInvalid
from mailcore.model.actor import Actor, ActorKind
from mailcore.model.ids import TenantId, UserId
from mailcore.model.limits import Limits, within
from mailcore.model.outbound import (
    AUTHORED,
    BURST,
    HELD_FOR_ABUSE,
    SENDING_HOLD,
    Answer,
    EntryState,
    NewOutbound,
    Notify,
    OutboundEntry,
    OutboundRecipient,
    QueueId,
    Reason,
    RecipientState,
    RecipientStatus,
    ReturnContent,
)
from mailcore.services.content.stored_content import Content
from mailcore.services.events.audit import Audit
from mailcore.services.outbound.outbound_content import OutboundContent
from mailcore.services.outbound.trace import Step, Trace, TraceRow
from mailcore.services.process.clock import now
from mailcore.services.process.redis_link import RedisLink
from mailcore.services.tenants.standing import check_sending
from mailcore.store.keys import message_key
from mailcore.store.placement import Home, Placement

log = logging.getLogger(__name__)

WAKE_CHANNEL: Final = b"eider:outbound"
"""Redis channel on which relays hear that something is due: the name of the shard."""
MOST: Final = 1000
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class Outbound:
    """Takes messages that go out, and tells how far they are."""

    def __init__(
        self,
        placement: Placement,
        content: OutboundContent,
        audit: Audit,
        trace: Trace,
        link: RedisLink,
        limits: Limits,
    ) -> None:
        self._placement = placement
        self._content = content
        self._audit = audit
        self._trace = trace
        self._link = link
        self._limits = limits

    def enqueue(self, new: NewOutbound, actor: Actor) -> QueueId:
        """Store a message to be sent (majority) and wake a relay; the same key again is the same entry.

        One round trip without attachments, and one to Redis.

        Raises:
            UserNotFound: nobody to send on behalf of.
            ValueInvalid: no recipient, too many, or one with a control character.
            StoreUnavailable, StoreFull: not taken, as far as is known; the same call again is safe.
        """
        self._check(new)
        home = self._placement.home(new.user_id)
        home.shard.room.check()
        queue_id = queue_id_of(new.user_id, new.key)
        key = _key(new.user_id, queue_id)
        fields = self._content.pack(home, key, new.message)
        document = fields | {
            "_id": key,
            "tenant": home.tenant_id.binary,
            "reason": new.reason.value,
            "state": (EntryState.QUEUED if new.held is None else EntryState.HELD).value,
            "reverse_path": new.reverse_path,
            "recipients": [_new_recipient(path) for path in new.forward_paths],
            "message_id": new.header_message_id,
            "utf8": new.is_utf8,
            "lease": 0,
            "is_leased": False,
            "actor": f"{actor.door.value}:{actor.identity}",
            "request": actor.request_id,
        }
        content = None if new.return_content is None else new.return_content.value
        given: dict[str, Any] = {"held": new.held, "envelope_id": new.envelope_id, "via": new.via, "return": content}
        given |= {"group": new.group, "of_tenant": new.of_tenant}
        document |= {name: value for name, value in given.items() if value}
        fault.hit("outbound.before_insert")
        is_new = home.shard.outbound.insert(
            document,
            delay=timedelta(seconds=new.delay_s),
            not_before=new.not_before,
            kept=timedelta(seconds=self._limits.outbound.lifetime_s),
        )
        fault.hit("outbound.after_insert")
        if is_new:
            self._note_queued(home, new, queue_id, actor)
            self._wake(home, new)
        else:
            self._content.let_go(home.shard, home.tenant_id, key, fields)
        return queue_id

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
        key = _key(user_id, queue_id)
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
            if not home.shard.outbound.hold(user_id, _key(user_id, queue_id)[12:], why):
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
            if not home.shard.outbound.release(user_id, _key(user_id, queue_id)[12:], kept):
                raise self._why_not(user_id, queue_id, EntryState.HELD)
        self.wake(home.shard.name)
        self._note(home, self._document(user_id, queue_id), Step.RELEASED)

    def retry(self, actor: Actor, user_id: UserId, queue_id: str) -> None:
        """Try now what waits for its next attempt.

        Raises:
            QueueEntryNotFound: none of this id waits.
            BeingSent: a relay has it at this moment.
        """
        home = self._placement.home(user_id)
        with self._audit.of_user(actor, "outbound.retried", user_id, {"queue_id": queue_id}):
            if not home.shard.outbound.retry(user_id, _key(user_id, queue_id)[12:]):
                raise self._why_not(user_id, queue_id, EntryState.QUEUED)
        self.wake(home.shard.name)

    def wake(self, shard_name: str) -> None:
        """Tell relays that something is due on a shard; without Redis they find it by looking."""
        self._link.ask(lambda redis: redis.publish(WAKE_CHANNEL, shard_name))

    # -- parts ------------------------------------------------------------------------------

    def _check(self, new: NewOutbound) -> None:
        if not new.forward_paths:
            raise ValueInvalid("recipients: at least one")
        limit = self._placement.home(new.user_id).limits.recipients_per_message
        most = within(limit, self._limits.recipients)
        if len(new.forward_paths) > most:
            raise ValueInvalid(f"recipients: at most {most}")
        addresses = [new.reverse_path, *(path.address for path in new.forward_paths)]
        originals = [path.original_recipient or "" for path in new.forward_paths]
        if any("<" in address or ">" in address for address in addresses):
            raise ValueInvalid("addresses: without angle brackets")
        if any(_CONTROL.search(text) for text in (*addresses, *originals, new.envelope_id or "")):
            raise ValueInvalid("addresses: no control characters")

    def _document(self, user_id: UserId, queue_id: str, *, with_content: bool = False) -> dict[str, Any]:
        home = self._placement.home(user_id)
        document = home.shard.outbound.find(user_id, _key(user_id, queue_id)[12:], with_content=with_content)
        if document is None:
            raise QueueEntryNotFound(queue_id)
        return document

    def _why_not(self, user_id: UserId, queue_id: str, *states: EntryState) -> NotFound | BeingSent:
        """Return the error that says why an entry could not be changed."""
        entry = self.get(user_id, queue_id)
        return BeingSent(queue_id) if entry.state in states and entry.is_leased else QueueEntryNotFound(queue_id)

    def _kept(self) -> timedelta:
        return timedelta(seconds=self._limits.outbound.remembered_s)

    def _wake(self, home: Home, new: NewOutbound) -> None:
        if new.held is None and not new.delay_s and (new.not_before is None or new.not_before <= now()):
            self.wake(home.shard.name)

    def _note_queued(self, home: Home, new: NewOutbound, queue_id: QueueId, actor: Actor) -> None:
        step = Step.QUEUED if new.held is None else Step.HELD
        detail = {"reason": new.reason.value, "size_bytes": str(len(new.message)), "actor": actor.identity}
        if new.held is not None:
            detail["held"] = new.held
        first, *others = (path.address for path in new.forward_paths)
        row = TraceRow(step, queue_id, new.header_message_id, new.reverse_path, first, new.user_id, detail)
        self._trace.note(home.tenant_id, replace(row, others=tuple(others)))
        log.info(
            "outbound.queued",
            extra={
                "queue_id": queue_id,
                "tenant": str(home.tenant_id),
                "user": str(new.user_id),
                "reason": new.reason.value,
                "recipients": len(new.forward_paths),
                "held": new.held or "",
                "message_id": new.header_message_id,
                "request": actor.request_id,
            },
        )

    def _note(self, home: Home, document: Mapping[str, Any], step: Step, why: str = "") -> None:
        entry = entry_of(document)
        ended = {RecipientState.SENT, RecipientState.FAILED}
        first, *others = [each.address for each in entry.recipients if each.state not in ended] or [""]
        row = TraceRow(step, entry.id, entry.header_message_id, entry.reverse_path, first, entry.user_id)
        row = replace(row, detail={"why": why} if why else {}, others=tuple(others))
        self._trace.note(home.tenant_id, row)


def queue_id_of(user_id: UserId, key: bytes) -> QueueId:
    """Return the id that a user's message with this key has or would have."""
    return QueueId(hmac.digest(user_id.binary, b"outbound" + key, "sha256")[:12].hex())


def _key(user_id: UserId, queue_id: str) -> bytes:
    try:
        oid = bytes.fromhex(queue_id)
    except ValueError:
        oid = b""
    if len(oid) != 12:
        raise QueueEntryNotFound(queue_id[:64])
    return message_key(user_id, oid)


def _new_recipient(path: OutboundRecipient) -> dict[str, Any]:
    fields: dict[str, Any] = {"address": path.address, "state": RecipientState.QUEUED.value, "attempts": 0}
    if path.notify is not None:
        fields["notify"] = sorted(each.value for each in path.notify)
    if path.original_recipient is not None:
        fields["orcpt"] = path.original_recipient
    return fields


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
