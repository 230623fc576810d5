"""Mail to an address that is no user's: sent on to others, held for moderators, or returned to who sent it at first."""

from __future__ import annotations

import hashlib
import hmac
import logging

from bson import ObjectId

from mailcore.errors import ForwardingStopped, MailLoop, UserDisabled
from mailcore.model.autoreply import Autoreply
from mailcore.model.ids import TenantId, UserId
from mailcore.model.limits import DEFAULT_LIMITS, DEFAULT_USER_LIMITS, Spending
from mailcore.model.outbound import NewOutbound, OutboundRecipient, Reason
from mailcore.model.plan import AutomaticReply, Forward
from mailcore.model.routing import ForwardedAddress, ForwardedAutoreply, Group, onward
from mailcore.services.accounts.usage import Usage
from mailcore.services.addresses.resolution import Resolution
from mailcore.services.inbound.arrival import Arrival, compared
from mailcore.services.inbound.bounces import Bounce
from mailcore.services.inbound.forwarding import Forwarding, batches, held_with, without_return_path
from mailcore.services.inbound.responder import Responder, Voice
from mailcore.services.outbound.queueing import Queueing
from mailcore.services.process.clock import now
from mailcore.services.tenants.standing import sends_by_itself
from mailcore.store.directory import Directory
from mailcore.store.placement import Home, Placement

log = logging.getLogger(__name__)


class Onward:
    """Queues what leaves because of forwarded addresses, groups and bounces, on behalf of the tenant's postmaster."""

    def __init__(
        self,
        directory: Directory,
        placement: Placement,
        queueing: Queueing,
        usage: Usage,
        forwarding: Forwarding,
        responder: Responder,
    ) -> None:
        self._directory = directory
        self._placement = placement
        self._queueing = queueing
        self._usage = usage
        self._forwarding = forwarding
        self._responder = responder

    def send(self, arrival: Arrival, resolution: Resolution, trace: bytes) -> None:
        """Queue what leaves; a repeat of the delivery queues nothing twice.

        Raises:
            MailLoop: it came through here before.
            RateExceeded: a forwarded address, or its tenant, has sent on as much as it may.
            ForwardingStopped: nothing of the tenant's leaves by itself, and nobody here has got it either.
            UserDisabled: nobody of the tenant is there on whose behalf it could be sent.
            StoreUnavailable, StoreFull: not queued, as far as is known; the same delivery again is safe.
        """
        if resolution.bounce is not None:
            self._return(arrival, resolution.bounce, trace)
            return
        entry = resolution.group or resolution.forwarded
        if entry is None:
            return
        if resolution.moderators:
            self._hold(arrival, resolution.moderators[0].home, resolution.moderators[0].user_id, entry, trace)
            return
        tenant = self._placement.tenant(entry.tenant_id)
        if not sends_by_itself(tenant.admits, tenant.standing):
            if not resolution.recipients:
                raise ForwardingStopped(entry.display)
            log.info("onward.stopped", extra={"address": entry.display, "tenant": str(entry.tenant_id)})
            return
        if resolution.forwards:
            home = self._home(entry.tenant_id)
            self._check_loop(arrival, entry.display)
            limit = entry.forwards_per_day if isinstance(entry, ForwardedAddress) else 0
            self._usage.spend_of(entry.id, Spending.FORWARDS, limit or DEFAULT_USER_LIMITS.forwards_per_day)
            self._usage.spend_unasked(entry.tenant_id, len(resolution.forwards))
            forwards = [Forward(target.address) for target in resolution.forwards]
            is_kept = bool(resolution.recipients)
            key = _key(arrival, entry.id)
            self._forwarding.send(arrival, home, entry.display, key, forwards, trace, is_kept=is_kept, of_tenant=True)
        if isinstance(entry, ForwardedAddress) and entry.autoreply is not None:
            self._answer(arrival, entry, entry.autoreply)

    def _return(self, arrival: Arrival, bounce: Bounce, trace: bytes) -> None:
        """Queue a bounce for who sent the message that was sent on."""
        if arrival.hops > DEFAULT_LIMITS.received_fields:
            raise MailLoop(bounce.address)
        self._usage.spend_unasked(bounce.home.tenant_id, 1)
        new = NewOutbound(
            user_id=bounce.home.user_id,
            tenant_id=bounce.home.tenant_id,
            reverse_path="",
            forward_paths=(OutboundRecipient(bounce.address, frozenset()),),
            message=without_return_path(trace) + arrival.raw,
            reason=Reason.FORWARD,
            held=held_with(bounce.home),
            key=hashlib.sha256(b"bounce\0" + _key(arrival, bounce.home.user_id)).digest(),
            is_utf8=not bounce.address.isascii(),
            header_message_id=arrival.prepared.message_id.decode("ascii", "replace"),
        )
        self._queueing.enqueue(new, arrival.actor)

    def _hold(
        self, arrival: Arrival, home: Home, moderator_id: UserId, entry: ForwardedAddress | Group, trace: bytes
    ) -> None:
        """Queue a post for all members until a moderator lets it go; each gets it then by the usual way."""
        self._usage.spend_unasked(home.tenant_id, len(onward(entry)))
        reverse_path = self._forwarding.reverse_path(arrival, home, entry.display)
        for number, members in enumerate(batches(onward(entry))):
            new = NewOutbound(
                user_id=moderator_id,
                tenant_id=home.tenant_id,
                reverse_path=reverse_path,
                forward_paths=tuple(OutboundRecipient(member, frozenset()) for member in members),
                message=without_return_path(trace) + arrival.raw,
                reason=Reason.MODERATION,
                key=hashlib.sha256(b"moderation\0" + bytes([number]) + _key(arrival, entry.id)).digest(),
                held=f"post to {entry.display} waits for a moderator",
                is_utf8=not (reverse_path + "".join(members)).isascii(),
                header_message_id=arrival.prepared.message_id.decode("ascii", "replace"),
                group=entry.canonical,
            )
            self._queueing.enqueue(new, arrival.actor)

    def _check_loop(self, arrival: Arrival, address: str) -> None:
        if arrival.hops > DEFAULT_LIMITS.received_fields or compared(address) in arrival.passed:
            raise MailLoop(address)

    def _answer(self, arrival: Arrival, entry: ForwardedAddress, said: ForwardedAutoreply) -> None:
        period = Autoreply(is_on=said.is_on, start=said.start, end=said.end)
        if not (said.text or said.html) or not period.holds_at(now()) or not self._responder.may_answer(arrival):
            return
        reply = AutomaticReply(f"forwarded:{entry.canonical}", said.subject, said.text, said.html)
        voice = Voice(self._home(entry.tenant_id), entry.display, said.name or entry.name, frozenset({entry.canonical}))
        self._responder.answer(arrival, voice, _key(arrival, entry.id), reply)

    def _home(self, tenant_id: TenantId) -> Home:
        """Return on whose behalf a tenant's mail is sent on."""
        user_id = self._placement.tenant(tenant_id).postmaster or self._directory.users.find_oldest(tenant_id)
        if user_id is None:
            raise UserDisabled(tenant_id)
        return self._placement.home(user_id)


def _key(arrival: Arrival, owner_id: ObjectId) -> bytes:
    """Return what stands for this delivery to an address; a repeat has the same."""
    if arrival.ident is None:
        return ObjectId().binary
    what = arrival.ident.encode() + b"\0" + arrival.prepared.raw_sha256
    return hmac.digest(owner_id.binary, what, "sha256")[:12]
