"""Retention: what may be destroyed, and the runs that destroy it."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np

from mailcore.errors import TenantNotFound, UserNotFound, ValueInvalid
from mailcore.model.actor import Actor
from mailcore.model.event import Detail
from mailcore.model.ids import MailboxId, TenantId, UserId
from mailcore.model.retention import DEFAULT_PURGE_AFTER, NO_TIME, RetentionPolicy, RetentionRule
from mailcore.model.tenant import User
from mailcore.services.events.audit import Audit
from mailcore.services.mailboxes.messages import Messages
from mailcore.services.process.offload import Offload
from mailcore.services.search.text_blocks import RANGE_UIDS, range_key
from mailcore.store.directory import Directory
from mailcore.store.mailbox.purge import PurgeBlock
from mailcore.store.mailbox.sweep import sweep_user
from mailcore.store.message.chunks import Tier
from mailcore.store.message.collection import CRASHED_AFTER_S, BlobCollector, CollectionCounts
from mailcore.store.message.demotion import Demoter
from mailcore.store.message.message_collection import DueRows, MessageCollector, Oids, oid_array_of
from mailcore.store.placement import Placement
from mailcore.store.shard import ShardStores

log = logging.getLogger(__name__)

MAX_BLOCKS = 200_000
"""So many purge blocks are looked at in one run for a shard."""
LONGEST = timedelta(days=36_500)
NOTHING = oid_array_of([])


def may_destroy(
    policy: RetentionPolicy, mailbox_id: MailboxId, expunged_at: datetime, arrived_at: datetime, now: datetime
) -> bool:
    """Whether an expunged message may be destroyed: the one function that stands before every destruction.

    Not under a legal hold, not before the purge period is over, not before a retention rule lets it.
    """
    if policy.legal_hold:
        return False
    return expunged_at + policy.purge_after <= now and arrived_at + policy.keep_for_in(mailbox_id) <= now


@dataclass(frozen=True, slots=True)
class Collected:
    """What one run for one user did."""

    messages: int
    blobs: CollectionCounts


class Retention:
    """Keeps what must be kept, and removes what nobody needs."""

    def __init__(
        self, directory: Directory, placement: Placement, messages: Messages, offload: Offload, audit: Audit
    ) -> None:
        self._directory = directory
        self._placement = placement
        self._messages = messages
        self._offload = offload
        self._audit = audit

    # -- rules ------------------------------------------------------------------------------

    def policy(self, user_id: UserId) -> RetentionPolicy:
        """Return the rules that hold for a user, read afresh.

        Raises:
            UserNotFound, TenantNotFound: there is no such user, so nothing says what may go.
        """
        user = self._directory.users.find(user_id)
        if user is None:
            raise UserNotFound(user_id)
        tenant = self._directory.tenants.find(user.tenant_id)
        if tenant is None:
            raise TenantNotFound(user.tenant_id)
        return RetentionPolicy.of(tenant.retention, user.retention)

    def set_tenant_rule(self, actor: Actor, tenant_id: TenantId, rule: RetentionRule) -> None:
        """Replace a tenant's rule; it may set a hold, and never releases one.

        Raises:
            ValueInvalid: a time is negative or longer than a hundred years.
            TenantNotFound: there is no such tenant.
        """
        _check_times(rule)
        with self._audit.of_tenant(actor, "retention.tenant", tenant_id, _told(rule)) as change:
            tenant = self._directory.tenants.find(tenant_id)
            if tenant is None or not self._directory.tenants.set_retention(tenant_id, rule):
                raise TenantNotFound(tenant_id)
            change.before |= _told(tenant.retention)

    def set_user_rule(self, actor: Actor, user_id: UserId, rule: RetentionRule) -> None:
        """Replace a user's rule; it may set a hold, and never releases one.

        Raises:
            ValueInvalid: as for a tenant.
            UserNotFound: there is no such user.
        """
        _check_times(rule)
        with self._audit.of_user(actor, "retention.user", user_id, _told(rule)) as change:
            user = self._directory.users.find(user_id)
            if user is None or not self._directory.user_changes.set_retention(user_id, rule):
                raise UserNotFound(user_id)
            change.before |= _told(user.retention)

    def set_tenant_hold(self, actor: Actor, tenant_id: TenantId, *, held: bool) -> None:
        """Hold what a tenant has, or release it: no run destroys anything of it, one under way included.

        Raises:
            TenantNotFound: there is no such tenant.
        """
        with self._audit.of_tenant(actor, "hold.tenant", tenant_id, {"legal_hold": held}):
            if not self._directory.tenants.set_legal_hold(tenant_id, held=held):
                raise TenantNotFound(tenant_id)

    def set_user_hold(self, actor: Actor, user_id: UserId, *, held: bool) -> None:
        """Hold what a user has, or release it; a hold of the tenant stays.

        Raises:
            UserNotFound: there is no such user.
        """
        with self._audit.of_user(actor, "hold.user", user_id, {"legal_hold": held}):
            if not self._directory.user_changes.set_legal_hold(user_id, held=held):
                raise UserNotFound(user_id)

    def list_held(self, tenant_id: TenantId) -> list[User]:
        """Return the tenant's users who are held themselves."""
        return self._directory.users.list_held(tenant_id)

    # -- one user ---------------------------------------------------------------------------

    def collect(self, user_id: UserId, *, sweep: bool = False) -> Collected:
        """Destroy what a user has expunged and retention lets go.

        Args:
            user_id: whose messages.
            sweep: finish mailboxes whose deletion was cut off, look at every stored message too, and remove
                what a crashed delivery or run left unnamed.

        Raises:
            UserNotFound, TenantNotFound: nothing is destroyed.
            StoreUnavailable: the next run goes on.
        """
        policy = self.policy(user_id)
        home = self._placement.home(user_id)
        shard = home.shard
        blobs = _collector(shard)
        if policy.legal_hold:
            return Collected(0, blobs.counts)
        if sweep:
            sweep_user(shard, user_id)
        self._fold(shard, user_id)
        now = datetime.now(UTC)
        crashed_before = now - timedelta(seconds=CRASHED_AFTER_S)
        due = self._due_rows(shard, user_id, policy, now)
        unnamed = self._stored_ids(shard, user_id, crashed_before) if sweep else NOTHING
        removed = MessageCollector(shard, blobs, self._offload.pause).collect(
            home.tenant_id,
            user_id,
            due,
            unnamed,
            max(crashed_before, now - policy.purge_after),
            lambda: self.policy(user_id) == policy,  # a hold set meanwhile ends the run
        )
        for rows in due:
            ranges = set((rows.block.rows.uids[rows.mask] // RANGE_UIDS).tolist())
            shard.blocks.delete(user_id, rows.block.mailbox_id, [range_key(number) for number in ranges])
        if removed:
            log.info(
                "retention.collected", extra={"user": str(user_id), "messages": removed, "blobs": blobs.counts.blobs}
            )
        return Collected(removed, blobs.counts)

    # -- one shard --------------------------------------------------------------------------

    def users_due(self, shard_name: str) -> list[UserId]:
        """Return users of a shard with something expunged longer ago than any tenant keeps it, oldest first."""
        shortest = DEFAULT_PURGE_AFTER
        after: TenantId | None = None
        while page := self._directory.tenants.list_all(after):
            shortest = min(shortest, *(tenant.retention.effective_purge_after for tenant in page))
            after = page[-1].id
        purge = self._placement.shard(shard_name).purge
        return purge.users_due(datetime.now(UTC) - shortest, limit=MAX_BLOCKS)

    def users_stored(self, shard_name: str) -> list[UserId]:
        """Return every user who has messages on a shard."""
        return [UserId(user_id) for user_id in self._placement.shard(shard_name).messages.users()]

    def sweep_blobs(self, shard_name: str, older_than_s: int = CRASHED_AFTER_S) -> CollectionCounts:
        """Remove what crashed uploads and runs left on a shard: references, headers, chunks."""
        shard = self._placement.shard(shard_name)
        collector = _collector(shard)
        collector.sweep_references(self._offload.pause, older_than_s)
        for tenant_id in shard.blobs.tenants():
            collector.sweep_headers(tenant_id, self._offload.pause)
        for tier in Tier:
            collector.sweep_chunks(tier, self._offload.pause, older_than_s)
        log.info("retention.swept", extra={"shard": shard_name, "counts": str(collector.counts)})
        return collector.counts

    def redate(self, tenant_id: TenantId) -> int:
        """Let attachments that lie on the hot set leave it when the tenant wants it now, and return how many those are.

        Raises:
            TenantNotFound: there is none.
        """
        tenant = self._directory.tenants.find(tenant_id)
        if tenant is None:
            raise TenantNotFound(tenant_id)
        return sum(shard.blobs.redate(tenant_id, tenant.cold_after) for shard in self._placement.shards())

    def demote(self, shard_name: str) -> int:
        """Move content that waits on a shard's hot set to the cold one, and return how many blobs went."""
        shard = self._placement.shard(shard_name)
        return Demoter(shard.blobs, shard.chunks).run(self._offload.pause)

    # -- parts ------------------------------------------------------------------------------

    def _fold(self, shard: ShardStores, user_id: UserId) -> None:
        """Have quiet mailboxes write down what was expunged from them."""
        for mailbox_id, head in shard.heads.each(user_id):
            if head.state.log:
                self._messages.fold(user_id, mailbox_id)
            self._offload.pause()

    def _due_rows(self, shard: ShardStores, user_id: UserId, policy: RetentionPolicy, now: datetime) -> list[DueRows]:
        due: list[DueRows] = []
        for block in shard.purge.of_user(user_id):
            mask = _due_mask(block, policy, now)
            if mask.any():
                due.append(DueRows(block, mask))
            self._offload.pause()
        return due

    def _stored_ids(self, shard: ShardStores, user_id: UserId, before: datetime) -> Oids:
        return oid_array_of([oid for oid, stored_at in shard.messages.stored_ids(user_id) if stored_at < before])


def _check_times(rule: RetentionRule) -> None:
    for time_ in (rule.purge_after or NO_TIME, rule.keep_for, *rule.mailbox_keep_for.values()):
        if not NO_TIME <= time_ <= LONGEST:
            raise ValueInvalid("mail is kept for 0 days to a hundred years")


def _told(rule: RetentionRule) -> dict[str, Detail]:
    """Return a rule as the audit trail tells it; times in seconds."""
    return {
        "purge_after_s": None if rule.purge_after is None else rule.purge_after.total_seconds(),
        "keep_for_s": rule.keep_for.total_seconds(),
        "mailbox_keep_for_s": {str(id_): time.total_seconds() for id_, time in rule.mailbox_keep_for.items()},
        "legal_hold": rule.legal_hold,
    }


def _due_mask(block: PurgeBlock, policy: RetentionPolicy, now: datetime) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    arrivals: Sequence[int] = block.rows.saved_dates.tolist()
    return np.array(
        [may_destroy(policy, block.mailbox_id, block.expunged_at, _instant(arrived), now) for arrived in arrivals],
        np.bool_,
    )


def _instant(seconds: int) -> datetime:
    """A row's date; what lies outside the calendar counts as now, which keeps longest."""
    try:
        return datetime.fromtimestamp(min(seconds, time.time()), UTC)
    except (OverflowError, OSError, ValueError):
        return datetime.now(UTC)


def _collector(shard: ShardStores) -> BlobCollector:
    return shard.collector()
