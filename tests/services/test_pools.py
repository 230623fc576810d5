"""Pools: what all users of a tenant may store together, on what they really use."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from mailcore.errors import OverQuota, ValueInvalid
from mailcore.model.ids import TenantId
from mailcore.model.uid_set import UidSet
from mailcore.services import MailServices
from mailcore.services.mailboxes.messages import NewMessage
from mailcore.services.tenants.pool_room import MOST, PARTS
from mailcore.services.tenants.quotas import Quotas
from mailcore.store.directory import pool_use
from tests.builders import OPERATOR, MadeUser, make_services, make_tenant, make_user
from tests.store.test_delivery import deliver, message


def pooled(services: MailServices, quota_bytes: int) -> tuple[MadeUser, MadeUser]:
    tenant = make_tenant(services)
    services.pools.set_quota(OPERATOR, tenant[0], quota_bytes)
    return make_user(services, tenant=tenant), make_user(services, tenant=tenant)


def append(services: MailServices, user: MadeUser, size: int) -> None:
    services.messages.append(user.user_id, OPERATOR, "INBOX", [NewMessage(b"Subject: x\r\n\r\n" + b"x" * size)])


def test_use_is_the_sum_of_all_users(services: MailServices) -> None:
    one, other = pooled(services, 10_000)
    deliver(services, message(b"one"), one)
    deliver(services, message(b"other"), other)
    assert services.pools.sum_up() >= 1
    used = services.quotas.use(one.user_id, fresh=True) + services.quotas.use(other.user_id, fresh=True)
    assert used > 0
    assert services.tenants.get(one.tenant_id).used_bytes == used


def overfull(services: MailServices) -> None:
    """Two users who have no quota of their own fill the pool together."""
    one, other = pooled(services, 10_000)
    append(services, one, 6000)
    services.pools.sum_up()
    with pytest.raises(OverQuota):
        append(services, other, 6000)
    append(services, other, 1000)


def test_what_does_not_fit_into_the_pool_is_refused(services: MailServices) -> None:
    overfull(services)


def test_control_without_the_look_at_the_pool_it_fits(services: MailServices, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Quotas, "_check_pool", lambda *_: None)
    with pytest.raises(pytest.fail.Exception):
        overfull(services)


def test_between_two_sums_a_process_counts_what_it_lets_in(services: MailServices) -> None:
    one, other = pooled(services, 10_000)
    services.pools.sum_up()
    append(services, one, 6000)
    with pytest.raises(OverQuota):
        append(services, other, 6000)


def test_what_was_deleted_makes_room_at_the_next_sum(services: MailServices) -> None:
    one, other = pooled(services, 10_000)
    append(services, one, 6000)
    services.pools.sum_up()
    services.mailboxes.create(one.user_id, OPERATOR, "Old")
    inbox = services.mailboxes.find(one.user_id, "INBOX").id
    view = services.mailboxes.refresh(one.user_id, inbox)
    uid = int(view.uids[0])
    services.messages.expunge(one.user_id, OPERATOR, inbox, UidSet(((uid, uid),)), only_deleted=False)
    services.pools.sum_up()
    append(services, other, 6000)


def test_more_may_be_promised_than_there_is(services: MailServices) -> None:
    """A pool counts real use: quotas of users may add up to more."""
    one, _ = pooled(services, 10_000)
    services.users.set_quota(OPERATOR, one.user_id, 1 << 40)
    append(services, one, 1000)


def test_a_pool_is_a_positive_number_or_none(services: MailServices) -> None:
    one, _ = pooled(services, 10_000)
    with pytest.raises(ValueInvalid):
        services.pools.set_quota(OPERATOR, one.tenant_id, 0)
    services.pools.set_quota(OPERATOR, one.tenant_id, None)
    append(services, one, 20_000)


SERVERS = 3
POOL = 200_000
SIZE = 700


def check_pool_of_processes(directory_uri: str, shard_uris: dict[str, Any], redis_url: str, *blind: str) -> None:
    """Processes store until each is told that nothing fits, while the pool is summed up again and again."""
    first = make_services(directory_uri, shard_uris, redis_url)
    try:
        tenant = make_tenant(first)
        first.pools.set_quota(OPERATOR, tenant[0], POOL)
        users = [make_user(first, tenant=tenant) for _ in range(SERVERS)]
        shards = {name: asdict(uris) for name, uris in shard_uris.items()}
        given = json.dumps(
            {"directory": directory_uri, "shards": shards, "redis": redis_url, "size": SIZE, "pool": POOL}
        )
        running = [
            subprocess.Popen(
                [sys.executable, "-m", "tests.services.pool_process", given, str(user.user_id), *blind],
                cwd=Path(__file__).parents[2],
                stdout=subprocess.PIPE,
                text=True,
            )
            for user in users
        ]
        while any(one.poll() is None for one in running):
            first.pools.sum_up()
        stored = [int(one.communicate()[0]) for one in running]
        assert all(one.returncode == 0 for one in running)
        used = first.pools.used(tenant[0])
        assert used >= sum(stored) * SIZE
        assert POOL * 0.9 < used <= POOL + SERVERS * (POOL // PARTS + SIZE + 600), used
    finally:
        first.close()


def test_processes_together_pass_the_pool_by_what_each_holds_at_most(
    directory_uri: str, shard_uris: dict[str, Any], redis_url: str
) -> None:
    check_pool_of_processes(directory_uri, shard_uris, redis_url)


def test_control_processes_that_take_without_a_look_would_be_seen(
    directory_uri: str, shard_uris: dict[str, Any], redis_url: str
) -> None:
    with pytest.raises(AssertionError):
        check_pool_of_processes(directory_uri, shard_uris, redis_url, "blind")


def test_control_sums_that_forget_what_was_promised_would_be_seen(
    services: MailServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is promised while a sum reads is missing in it, and must not be lost by its note."""
    assert promised_while_summing(services, monkeypatch) == 4000
    monkeypatch.setattr(
        pool_use, "_summed", lambda size, at: {"$set": {"use": {"bytes": size, "at": at, "taken": size}}}
    )
    assert promised_while_summing(services, monkeypatch) == 0


def promised_while_summing(services: MailServices, monkeypatch: pytest.MonkeyPatch) -> int:
    one, _ = pooled(services, 10_000)
    uses = services.placement.directory.pool_use
    with monkeypatch.context() as patch:
        note = pool_use.PoolUse.note

        def late(self: pool_use.PoolUse, used: dict[Any, int], at: datetime) -> None:
            assert uses.take(one.tenant_id, 10_000, 4000)
            note(self, used, at)

        patch.setattr(pool_use.PoolUse, "note", late)
        services.pools.sum_up()
    room = next(size for size in range(10_000, -1, -1000) if uses.take(one.tenant_id, 10_000, size))
    return 10_000 - room


def test_room_is_taken_by_one_update_for_many_messages(services: MailServices, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is spent of what a process holds asks nobody."""
    one, _ = pooled(services, 1 << 40)
    asked: list[int] = []
    take = pool_use.PoolUse.take

    def count(self: pool_use.PoolUse, tenant_id: TenantId, quota_bytes: int, size_bytes: int) -> bool:
        asked.append(size_bytes)
        return take(self, tenant_id, quota_bytes, size_bytes)

    monkeypatch.setattr(pool_use.PoolUse, "take", count)
    for _ in range(5):
        append(services, one, 100)
    assert asked == [MOST]
