"""Answers senders automatically, to the letter of RFC 3834: rarely, once, and never what a program sent."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass, field
from datetime import timedelta

from mailcore import fault
from mailcore.errors import RateExceeded, ValueInvalid
from mailcore.message.automatic import is_machine
from mailcore.message.reply import Answer, compose
from mailcore.metrics import Tally
from mailcore.model.limits import Spending
from mailcore.model.outbound import NewOutbound, OutboundRecipient, Reason
from mailcore.model.plan import AutomaticReply
from mailcore.services.accounts.usage import Usage
from mailcore.services.inbound.arrival import Arrival, compared
from mailcore.services.inbound.srs import sender_behind
from mailcore.services.outbound.dkim import Dkim
from mailcore.services.outbound.queueing import Queueing
from mailcore.services.process.clock import now
from mailcore.store.placement import Home

log = logging.getLogger(__name__)

ANSWERS = Tally("eider_automatic_answers", "Automatic replies by what became of them")


@dataclass(frozen=True, slots=True)
class Voice:
    """On whose behalf something is answered."""

    home: Home = field(repr=False)
    address: str
    """The own address that the message came to, or the main one."""
    name: str
    own: frozenset[str]
    """Canonical forms of every address that is the answerer's."""


class Responder:
    """Decides whether a message is answered, and queues the answer."""

    def __init__(self, queueing: Queueing, usage: Usage, dkim: Dkim, hostname: str) -> None:
        self._queueing = queueing
        self._dkim = dkim
        self._usage = usage
        self._hostname = hostname

    def may_answer(self, arrival: Arrival) -> bool:
        """Whether anything may answer a message at all; no round trip."""
        return not is_machine(sender_behind(arrival.reverse_path)) and not arrival.forbids_answers

    def answer(self, arrival: Arrival, voice: Voice, key: bytes, reply: AutomaticReply) -> bool:
        """Queue an answer to the sender if RFC 3834 §2 allows one; a repeat of the delivery queues it no second time.

        Nothing is answered while outgoing mail of the answerer is held: who waits for days wants no answer any more.

        Whom it goes to is remembered before it is queued, by one compare-and-insert on the user's shard, so that of
        servers that get mail of one sender at once one answers. Five round trips where it is queued, one where the
        sender was answered not long ago, none where nothing may answer.

        Raises:
            StoreUnavailable: not queued, as far as is known; the same call again is safe.
        """
        sender = arrival.reverse_path
        own = voice.own | frozenset(map(compared, reply.addresses))
        behind = compared(sender_behind(sender))
        if not self.may_answer(arrival) or own.isdisjoint(arrival.named) or behind in own:
            ANSWERS.inc("not_due")
            return False
        remembered = voice.home.shard.autoreplies
        what, moment, user_id = f"{reply.handle}\0{behind}", now(), voice.home.user_id
        if reply.every_s and remembered.is_claimed(user_id, what, key, moment):
            ANSWERS.inc("answered_before")
            return False
        if voice.home.sending_hold is not None:
            ANSWERS.inc("held")
            return False
        try:
            self._usage.spend(user_id, Spending.AUTOREPLIES)
            self._usage.spend_unasked(voice.home.tenant_id, 1)
        except RateExceeded:
            log.warning("autoreply.too_many", extra={"user": str(user_id)})
            ANSWERS.inc("too_many")
            return False
        until = moment + timedelta(seconds=reply.every_s)
        if reply.every_s and not remembered.claim(user_id, what, key, moment, until):
            ANSWERS.inc("answered_before")
            return False
        fault.hit("autoreply.after_claim")
        try:
            self._queue(arrival, voice, key, reply)
        except ValueInvalid:  # a reverse-path that nothing can be sent to is no reason to refuse the message
            ANSWERS.inc("unfit")
            return False
        ANSWERS.inc("queued")
        return True

    def _queue(self, arrival: Arrival, voice: Voice, key: bytes, reply: AutomaticReply) -> None:
        own_key = hashlib.sha256(b"reply\0" + key + reply.handle.encode()).digest()
        is_own = bool(reply.from_address) and compared(reply.from_address) in voice.own
        answer = Answer(
            from_name=reply.name or voice.name,
            from_address=reply.from_address if is_own else voice.address,
            to_address=arrival.reverse_path,
            header_message_id=f"<{own_key[:16].hex()}@{self._hostname}>",
            at=now(),
            subject=reply.subject,
            text=reply.text,
            html=reply.html,
            mime=reply.mime,
            kind=reply.kind,
        )
        message = compose(answer, arrival.header)
        from_domain = answer.from_address.rpartition("@")[2]
        signature = self._dkim.sign(voice.home.tenant_id, from_domain, message)
        new = NewOutbound(
            user_id=voice.home.user_id,
            tenant_id=voice.home.tenant_id,
            reverse_path="",
            forward_paths=(OutboundRecipient(arrival.reverse_path, frozenset()),),
            message=signature + message,
            reason=Reason.AUTOREPLY,
            key=own_key,
            is_utf8=not (answer.from_address + answer.to_address).isascii(),
            header_message_id=answer.header_message_id,
        )
        self._queueing.enqueue(new, arrival.actor)
