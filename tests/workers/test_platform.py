"""The platform's own numbers: measured as they are, and an hour has the last, the most or the sum of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from redis import Redis

from mailcore.errors import StoreUnavailable
from mailcore.model import platform_tally
from mailcore.model.event import PLATFORM
from mailcore.model.outbound import NewOutbound, OutboundRecipient, Reason
from mailcore.model.platform_tally import MERGED, Measured, merged, named, risen
from mailcore.model.tally import Counted
from mailcore.model.tenant import Shard
from mailcore.services import MailServices
from mailcore.services.tenants import platform_tallies
from mailcore.store.set_state import SetState
from tests.builders import OPERATOR, MadeUser, make_user
from workers.context import JobContext
from workers.enqueue import enqueue
from workers.jobs import platform
from workers.main import make_worker


def numbers(services: MailServices) -> Mapping[str, int]:
    """Of this hour."""
    return services.platform_tallies.hours(datetime.now(UTC) - timedelta(hours=1))[-1].counts


def queue(services: MailServices, user: MadeUser) -> None:
    services.queueing.enqueue(
        NewOutbound(
            user_id=user.user_id,
            tenant_id=user.tenant_id,
            reverse_path=user.address,
            forward_paths=(OutboundRecipient("bob@else.test"),),
            message=b"Subject: x\r\n\r\nbody\r\n",
            reason=Reason.SUBMISSION,
            key=str(user.user_id).encode(),
        ),
        OPERATOR,
    )


def forget(services: MailServices) -> None:
    services.placement.directory.database["rollups"].delete_many({})


def agree(context: JobContext) -> None:
    """What is measured is what is there, asked otherwise."""
    services = context.services
    forget(services)
    user = make_user(services)
    queue(services, user)
    job = enqueue(context.redis, "spam.learn")
    platform.measure(context)
    found = numbers(services)
    users = services.placement.directory.database["users"].count_documents({"shard": "a"})
    assert found[named(Measured.USERS, "a")] == users
    waiting = services.placement.shard("a").outbound.count_waiting()
    assert found[named(Measured.WAITING, "a")] == waiting > 0
    assert found[named(Measured.TRIED, "a")] == 0
    assert found[named(Measured.AWAY, "a")] == 0
    assert found[named(Measured.LAG_S, "a")] >= 0
    assert found[named(Measured.HOT_BYTES, "a")] > 0
    assert found[named(Measured.QUEUED, "maintenance")] == 1, job
    assert found[named(Measured.QUEUED, "portal")] == 0
    assert found[named(Measured.WORKERS)] == 0
    assert named(Measured.OPERATIONS, "a") not in found, "nobody knows since when the first count is"


def test_what_is_measured_is_what_is_there(context: JobContext) -> None:
    agree(context)


def test_control_a_backlog_that_counts_nothing_is_seen(context: JobContext, monkeypatch: pytest.MonkeyPatch) -> None:
    from mailcore.store.user.outbound import Backlog, OutboundEntries

    monkeypatch.setattr(OutboundEntries, "backlog", lambda _: Backlog())
    with pytest.raises(AssertionError):
        agree(context)


def test_operations_and_jobs_add_up_from_one_measurement_to_the_next(context: JobContext, redis: Redis) -> None:
    services = context.services
    forget(services)
    worker = make_worker(services, redis)
    worker.register_birth()
    try:
        platform.measure(context)
        for _ in range(2):
            enqueue(redis, "pools.sum_up")
            enqueue(redis, "dns.check_mx")
        for count in (1, 2):
            for _ in range(count):
                worker.increment_successful_job_count()
            worker.increment_failed_job_count()
            platform.measure(context)
        found = numbers(services)
        assert (found[named(Measured.JOBS_DONE)], found[named(Measured.JOBS_FAILED)]) == (3, 2)
        assert found[named(Measured.WORKERS)] == 1
        assert found[named(Measured.QUEUED, "maintenance")] == 4, "the most of the hour"
        assert found[named(Measured.OPERATIONS, "a")] > 0
    finally:
        worker.register_death()
        forget(services)


@pytest.fixture
def dead_shard(services: MailServices) -> Iterator[str]:
    """A shard where nobody listens."""
    nowhere = "mongodb://127.0.0.1:1/{}?serverSelectionTimeoutMS=200"
    shards = services.placement.directory.shards
    assert shards.insert(Shard("dead", "nowhere", nowhere.format("hot"), nowhere.format("cold"), is_open=False))
    services.placement.forget_shards()
    yield "dead"
    services.placement.directory.database["shards"].delete_one({"name": "dead"})
    services.placement.forget_shards()


def test_a_shard_without_a_primary_is_told_and_the_others_are_measured(
    services: MailServices, context: JobContext, dead_shard: str
) -> None:
    forget(services)
    platform.measure(context)
    found = numbers(services)
    assert (found[named(Measured.AWAY, dead_shard)], found[named(Measured.AWAY, "a")]) == (1, 0)
    assert named(Measured.HOT_BYTES, dead_shard) not in found
    assert found[named(Measured.HOT_BYTES, "a")] > 0
    assert found[named(Measured.USERS, dead_shard)] == 0
    forget(services)


def test_a_set_that_answers_but_says_nothing_of_itself_is_a_gap_and_not_away(
    services: MailServices, context: JobContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    forget(services)

    def refused(_database: Any) -> SetState:
        raise StoreUnavailable("not authorized")

    monkeypatch.setattr(platform_tallies, "state_of", refused)
    platform.measure(context)
    found = numbers(services)
    assert found[named(Measured.AWAY, "a")] == 0
    assert named(Measured.HOT_BYTES, "a") not in found
    assert named(Measured.WAITING, "a") in found
    forget(services)


def test_a_day_has_what_became_of_the_mail_of_all_tenants(services: MailServices, context: JobContext) -> None:
    forget(services)
    at = datetime.now(UTC)
    for _ in range(2):
        user = make_user(services)
        services.tallies.add(user.tenant_id, Counted.SENT, 7, at)
        services.tallies.add(user.tenant_id, Counted.FAILED, 1, at)
        services.tallies.add(user.tenant_id, Counted.UNKNOWN, 2, at)
    services.tallies.flush()
    services.rollups.sum_up("a")
    for _ in range(2):  # measuring again counts nothing twice
        platform.measure(context)
    today = services.platform_tallies.days(at.replace(hour=0, minute=0, second=0, microsecond=0))[-1].counts
    assert today[named(Measured.SENT)] >= 14
    tenants = [tenant.id for tenant in services.tenants.list_all()]
    days = [services.rollups.days(tenant_id, at - timedelta(days=1)) for tenant_id in tenants]
    expected = sum(each[-1].counts.get(Counted.SENT, 0) for each in days if each)
    assert today[named(Measured.SENT)] == expected
    forget(services)


def test_rows_are_bounded_in_time_and_in_names(services: MailServices, context: JobContext) -> None:
    forget(services)
    for _ in range(3):
        platform.measure(context)
    rows = list(services.placement.directory.database["rollups"].find())
    assert len(rows) <= 5, "an hour, two days, counters; and once more where an hour ends meanwhile"
    assert all(row["expires_at"] <= datetime.now(UTC) + timedelta(days=401) for row in rows)
    assert all(bytes(row["_id"]).startswith(PLATFORM.binary) for row in rows)
    index = services.placement.directory.database["rollups"].index_information()
    assert index["expires_at"]["expireAfterSeconds"] == 0
    forget(services)


def test_merging_has_the_last_the_most_or_the_sum() -> None:
    assert set(MERGED) == set(Measured)
    before = {named(Measured.USERS, "a"): 9, named(Measured.WAITING, "a"): 9, named(Measured.OPERATIONS, "a"): 9}
    after = merged(before, dict.fromkeys(before, 4))
    assert list(after.values()) == [4, 9, 13]
    assert merged({}, before) == before


def test_a_counter_that_began_anew_rose_by_what_it_has() -> None:
    assert risen({"x": 10, "y": 10, "z": 1}, {"x": 15, "y": 3, "new": 4}) == {"x": 5, "y": 3, "new": 4}
    assert platform_tally.risen({}, {}) == {}
