"""Holds: outgoing mail of a user, or of a whole tenant, waits in the queue because other services complain of it.

A hold stands in the document of whom it holds, which whoever sends has in memory anyway: new mail is queued as held,
and a relay that is about to send holds what it has claimed. So nothing is lost and nothing is refused that was taken,
and a process learns of a hold within half a minute. Once the hold is ended, everything goes out by itself.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from bson import ObjectId

from mailcore.errors import Conflict, MailError, NotFound, TenantNotFound, UserNotFound, ValueInvalid
from mailcore.model.actor import Actor, ActorKind, Door
from mailcore.model.ids import TenantId, UserId
from mailcore.model.limits import Limits
from mailcore.model.outbound import BURST, HELD_FOR_ABUSE, HELD_WITH_SENDER, SENDING_HOLD
from mailcore.model.reputation import NOTHING_SENT, Counts, HeldSender, HoldCause, SendingHold, cause_in, judge
from mailcore.services.events.audit import Audit
from mailcore.services.outbound.queueing import Queueing
from mailcore.services.outbound.reputation import Reputation
from mailcore.services.process.clock import now
from mailcore.store.directory import Directory
from mailcore.store.placement import Placement
from mailcore.store.shard import ShardStores

log = logging.getLogger(__name__)

WATCH: Final = Actor(ActorKind.SYSTEM, Door.WORKER, "reputation")
LONGEST_WORDS: Final = 1000
LOOKED_BACK: Final = timedelta(minutes=15)
"""So far back a run looks for trouble: several runs may have been missed, or counts written late."""
HOUR: Final = timedelta(hours=1)
_HELD_WITH_SENDER: Final = sorted(each.value for each in HELD_WITH_SENDER)
_FOR_ABUSE: Final = sorted(HELD_FOR_ABUSE)


class SendingHolds:
    """Holds, looks who is to be held, and lets go."""

    def __init__(
        self,
        directory: Directory,
        placement: Placement,
        audit: Audit,
        reputation: Reputation,
        queueing: Queueing,
        limits: Limits,
    ) -> None:
        self._directory = directory
        self._placement = placement
        self._audit = audit
        self._reputation = reputation
        self._queueing = queueing
        self._limits = limits

    # -- looking ----------------------------------------------------------------------------

    def list_all(self) -> list[HeldSender]:
        """Return every hold, the oldest first; two round trips."""
        return self._directory.sending_holds.list_all()

    def list_of_tenant(self, tenant_id: TenantId) -> list[HeldSender]:
        """Return the holds of a tenant and of its users; two round trips."""
        return self._directory.sending_holds.list_of_tenant(tenant_id)

    def waiting(self, held: HeldSender) -> int:
        """Return how many messages a hold keeps back; one round trip for each shard of the region."""
        shards = self._shards(held.tenant_id)
        return sum(each.outbound.count_held(held.tenant_id, held.user_id, _FOR_ABUSE) for each in shards)

    # -- changing ---------------------------------------------------------------------------

    def hold(
        self,
        actor: Actor,
        tenant_id: TenantId,
        user_id: UserId | None,
        cause: HoldCause,
        why: str,
        *,
        counts: Counts = NOTHING_SENT,
        stops: bool = False,
    ) -> bool:
        """Hold all outgoing mail that people of a tenant wrote, or one of them; False if it is held already.

        `stops`: new mail is refused, too.

        Raises:
            TenantNotFound, UserNotFound: nobody to hold.
            ValueInvalid: without a reason.
        """
        hold = SendingHold(ObjectId(), cause, now(), counts, stops, _words(why))
        try:
            self._begin(actor, tenant_id, user_id, hold)
        except Conflict:
            return False
        self._forget(tenant_id, user_id)
        for shard in self._shards(tenant_id):
            shard.outbound.hold_all(tenant_id, user_id, _HELD_WITH_SENDER, SENDING_HOLD)
        return True

    def release(self, actor: Actor, tenant_id: TenantId, user_id: UserId | None, why: str) -> int:
        """End a hold; what waited goes out, once. Return how many messages.

        What is counted until the end of this hour is no reason for another hold.

        Raises:
            Conflict: nothing is held.
            ValueInvalid: without a reason.
        """
        held, why = self._held(tenant_id, user_id), _words(why)
        fresh_at = now().replace(minute=0, second=0, microsecond=0) + HOUR
        with self._audit.of_tenant(actor, "sending.released", tenant_id, {"why": why}, new_user=user_id):
            if not self._directory.sending_holds.end(tenant_id, user_id, held.id, fresh_at):
                raise Conflict("nothing is held")
        self._forget(tenant_id, user_id)
        return self._let_go(tenant_id, user_id)

    def keep(
        self, actor: Actor, tenant_id: TenantId, user_id: UserId | None, why: str, *, stops: bool | None = None
    ) -> None:
        """Note that a hold stays, and why; `stops`: whether new mail is refused from now on, None: as before.

        Raises:
            Conflict: nothing is held.
            ValueInvalid: without a reason.
        """
        held, why = self._held(tenant_id, user_id), _words(why)
        holds, after = self._directory.sending_holds, held.stops if stops is None else stops
        with self._audit.of_tenant(actor, "sending.kept", tenant_id, {"why": why, "stops": after}, new_user=user_id):
            holds.set_field(tenant_id, user_id, held.id, "note", why)
            if stops is not None:
                holds.set_field(tenant_id, user_id, held.id, "stops", stops)
        self._forget(tenant_id, user_id)

    def appeal(self, actor: Actor, tenant_id: TenantId, user_id: UserId | None, words: str) -> None:
        """Note what the held say of it; staff read it.

        Raises:
            Conflict: nothing is held.
            ValueInvalid: without words.
        """
        held, words = self._held(tenant_id, user_id), _words(words)
        with self._audit.of_tenant(actor, "sending.appealed", tenant_id, {"words": words}, new_user=user_id):
            self._directory.sending_holds.set_field(tenant_id, user_id, held.id, "appeal", words)

    def note_told(self, held: HeldSender) -> None:
        """Remember that whom it concerns was written to."""
        self._directory.sending_holds.set_field(held.tenant_id, held.user_id, held.hold.id, "is_told", value=True)

    # -- by itself --------------------------------------------------------------------------

    def watch(self) -> list[HeldSender]:
        """Hold whom the counts of the last minutes tell to; return who is held and was not told yet.

        Whose mail waits for a burst is held whatever was counted, so that somebody sees it; what a process queued as
        held that had not heard of the end of a hold is let go.
        """
        for tenant_id in self._reputation.troubled(now() - LOOKED_BACK):
            try:
                self._judge(tenant_id)
            except MailError as error:
                log.warning("reputation.not_judged", extra={"tenant": str(tenant_id), "reason": type(error).__name__})
        self._hold_bursts()
        held = self.list_all()
        self._let_strays_go(held)
        return [one for one in held if not one.hold.is_told]

    def _judge(self, tenant_id: TenantId) -> None:
        own, joint = self._reputation.counting(tenant_id)
        guilty = [user_id for user_id, rates in own.items() if cause_in(rates, self._limits.reputation)]
        left = self._directory.users.among(tenant_id, guilty)
        own = {user_id: own[user_id] for user_id in left}  # who was deleted explains nothing, and counts for the rest
        for user_id, (cause, counts) in judge(own, joint, self._limits.reputation).items():
            self._hold_by_itself(tenant_id, user_id, cause, counts)

    def _hold_bursts(self) -> None:
        """Hold whose mail waits for a burst: its counts may be lost, or older than a release in the same hour."""
        for shard in self._placement.shards():
            try:
                for tenant_id, user_id in shard.outbound.senders_held(BURST):
                    self._hold_by_itself(tenant_id, user_id, HoldCause.BURST, NOTHING_SENT)
            except MailError as error:
                log.warning("reputation.bursts_wait", extra={"shard": shard.name, "reason": type(error).__name__})

    def _hold_by_itself(self, tenant_id: TenantId, user_id: UserId | None, cause: HoldCause, counts: Counts) -> None:
        fields = {"tenant": str(tenant_id), "user": str(user_id or ""), "cause": cause.value}
        try:
            is_new = self.hold(WATCH, tenant_id, user_id, cause, f"by itself: {cause.value}", counts=counts)
        except NotFound:
            log.info("reputation.user_gone", extra=fields)
            return
        if is_new:
            log.warning("reputation.held", extra=fields)

    def _let_strays_go(self, held: Sequence[HeldSender]) -> None:
        tenants = [one.tenant_id for one in held if one.user_id is None]
        users = [one.user_id for one in held if one.user_id is not None]
        kept = timedelta(seconds=self._limits.outbound.lifetime_s)
        for shard in self._placement.shards():
            try:
                if shard.outbound.release_others(SENDING_HOLD, tenants, users, kept):
                    self._queueing.wake(shard.name)
            except MailError as error:
                log.warning("reputation.strays_wait", extra={"shard": shard.name, "reason": type(error).__name__})

    # -- parts ------------------------------------------------------------------------------

    def _begin(self, actor: Actor, tenant_id: TenantId, user_id: UserId | None, hold: SendingHold) -> None:
        known = self._known(tenant_id, user_id)
        details = {"cause": hold.cause.value, "why": hold.note, "stops": hold.stops, **hold.counts.to_document()}
        with self._audit.of_tenant(actor, "sending.held", tenant_id, details, new_user=known):
            if not self._directory.sending_holds.begin(tenant_id, user_id, hold):
                raise Conflict("it is held already")

    def _held(self, tenant_id: TenantId, user_id: UserId | None) -> SendingHold:
        for one in self.list_of_tenant(tenant_id):
            if one.user_id == user_id:
                return one.hold
        raise Conflict("nothing is held")

    def _known(self, tenant_id: TenantId, user_id: UserId | None) -> UserId | None:
        """Return the user once it is known to be the tenant's.

        Raises:
            TenantNotFound, UserNotFound: there is none.
        """
        if self._directory.tenants.find(tenant_id) is None:
            raise TenantNotFound(tenant_id)
        user = None if user_id is None else self._directory.users.find(user_id)
        if user_id is not None and (user is None or user.tenant_id != tenant_id):
            raise UserNotFound(user_id)
        return user_id

    def _let_go(self, tenant_id: TenantId, user_id: UserId | None) -> int:
        """Release what waits; of users who are held themselves a relay holds it again."""
        kept = timedelta(seconds=self._limits.outbound.lifetime_s)
        count = 0
        for shard in self._shards(tenant_id):
            count += shard.outbound.release_all(tenant_id, user_id, _FOR_ABUSE, kept)
            self._queueing.wake(shard.name)
        return count

    def _forget(self, tenant_id: TenantId, user_id: UserId | None) -> None:
        if user_id is None:
            self._placement.forget_tenant(tenant_id)
        else:
            self._placement.forget(user_id)

    def _shards(self, tenant_id: TenantId) -> list[ShardStores]:
        return self._placement.shards(self._placement.tenant(tenant_id).region)


def _words(text: str) -> str:
    words = " ".join(text.split())[:LONGEST_WORDS]
    if not words:
        raise ValueInvalid("give a reason")
    return words
