"""Taking messages into the outbound queue: what is accepted here is sent or reported, once, whoever dies meanwhile.

A message is stored with a majority before `enqueue` returns. Its id is made of its key, so that a repeat (a client or
a transfer agent that missed the answer) finds it, also after it was sent.
"""

from __future__ import annotations

import hmac
import logging
import re
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

from mailcore import fault
from mailcore.errors import QueueEntryNotFound, ValueInvalid
from mailcore.model.actor import Actor
from mailcore.model.ids import UserId
from mailcore.model.limits import Limits, within
from mailcore.model.outbound import EntryState, NewOutbound, OutboundRecipient, QueueId, RecipientState
from mailcore.services.outbound.outbound_content import OutboundContent
from mailcore.services.outbound.trace import Step, Trace, TraceRow
from mailcore.services.process.clock import now
from mailcore.services.process.redis_link import RedisLink
from mailcore.store.keys import message_key
from mailcore.store.placement import Home, Placement

log = logging.getLogger(__name__)

WAKE_CHANNEL: Final = b"eider:outbound"
"""Redis channel on which relays hear that something is due: the name of the shard."""
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class Queueing:
    """Takes messages that go out, and wakes relays."""

    def __init__(
        self, placement: Placement, content: OutboundContent, trace: Trace, link: RedisLink, limits: Limits
    ) -> None:
        self._placement = placement
        self._content = content
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
        key = entry_key(new.user_id, queue_id)
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
        given |= {"group": new.group, "of_tenant": new.of_tenant, "subject": new.subject}
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

    def wake(self, shard_name: str) -> None:
        """Tell relays that something is due on a shard; without Redis they find it by looking."""
        self._link.ask(lambda redis: redis.publish(WAKE_CHANNEL, shard_name))

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


def queue_id_of(user_id: UserId, key: bytes) -> QueueId:
    """Return the id that a user's message with this key has or would have."""
    return QueueId(hmac.digest(user_id.binary, b"outbound" + key, "sha256")[:12].hex())


def entry_key(user_id: UserId, queue_id: str) -> bytes:
    """Return the key of a user's entry.

    Raises:
        QueueEntryNotFound: no entry has such an id.
    """
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
