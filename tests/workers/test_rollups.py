"""Sums for charts are what happened, recounted here from replies, sign-ins and stored bytes, whoever dies meanwhile."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from bson import ObjectId
from pymongo import UpdateOne, monitoring
from redis import Redis

from mailcore import fault
from mailcore.errors import AddressNotFound, AuthenticationFailed, StoreUnavailable
from mailcore.lmtp.policy import LmtpPolicy
from mailcore.model.access import Protocol
from mailcore.model.actor import Actor, ActorKind, Door
from mailcore.model.ids import TenantId
from mailcore.model.outbound import NewOutbound, OutboundRecipient, Reason
from mailcore.model.secret import Secret
from mailcore.model.tally import AGE_DAYS, AGES, DAY_S, HOUR_S, Counted, hour_of, start_of
from mailcore.model.tally import sign_in as sign_in_name
from mailcore.model.verdict import Verdict
from mailcore.services import MailServices
from mailcore.services.inbound.delivery import DeliveryTarget
from mailcore.services.outbound.trace import Step, TraceRow
from mailcore.services.tenants import rollups, tallies
from mailcore.services.tenants.rollups import Rollups
from mailcore.services.tenants.tallies import Tallies
from mailcore.store.message import upload
from mailcore.store.message.chunks import Tier, new_generation
from mailcore.store.user import rollups as rows
from mailcore.store.user.tallies import TallyRows
from tests.builders import OPERATOR, MadeUser, make_services, make_settings, make_tenant, make_user
from tests.store.mailbox.test_round_trips import Listener
from tests.store.test_delivery import MTA, deliver, message
from tests.transcripts.lmtp.conftest import Lmtp
from workers.context import JobContext
from workers.enqueue import enqueue
from workers.jobs.demotion import demote_shard, redate
from workers.jobs.rollups import sum_up_shard
from workers.main import make_worker

LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
SOMEBODY = Actor(ActorKind.MEMBER, Door.PORTAL, "test@portal.test")
SPAM = b"X-Spam: Yes\r\nSubject: Buy\r\n\r\nBuy.\r\n"


class Dies(Exception):
    """What a killed process does: it goes no further."""


@pytest.fixture(autouse=True)
def disarm() -> Iterator[None]:
    yield
    fault.install({})


@pytest.fixture
def user(services: MailServices) -> MadeUser:
    return make_user(services, shard="a")


@pytest.fixture
def lmtp(services: MailServices) -> Lmtp:
    settings = make_settings(services.settings.mongo_uri.reveal_text(), EIDER_HOSTNAME="foo.test")
    opened = Lmtp(services, LmtpPolicy(services.delivery, services.spam, settings, services.trace))
    opened.greet()
    return opened


@pytest.fixture
def roll_up(services: MailServices, context: JobContext) -> Callable[[MadeUser], dict[str, int]]:
    """Everything that was counted is written and summed up; return the day of a user's tenant."""

    def run(user: MadeUser) -> dict[str, int]:
        write(services)
        sum_up_shard(context, "a")
        return today(services, user)

    return run


def write(services: MailServices) -> None:
    services.auth_log.flush()
    services.tallies.flush()


def today(services: MailServices, user: MadeUser) -> dict[str, int]:
    """All days together, which are one or, at midnight, two."""
    total: Counter[str] = Counter()
    for each in services.rollups.days(user.tenant_id, LONG_AGO):
        total.update(each.counts)
    return dict(total)


def send(lmtp: Lmtp, *to: str) -> list[str]:
    """A transaction; return the replies that recipients got, to RCPT or to the message."""
    lmtp.say(b"MAIL FROM:<ann@else.test>\r\n", "250 ...")
    replies = []
    for address in to:
        lmtp._take(lmtp.connection.receive(f"RCPT TO:<{address}>\r\n".encode()))
        replies.append(lmtp._unread.pop())
    taken = sum(reply.startswith("250") for reply in replies)
    if not taken:
        lmtp.say(b"RSET\r\n", "250 ...")
        return replies
    lmtp.say(b"DATA\r\n", "354 ...")
    lmtp._take(lmtp.connection.receive(b"Subject: Hello\r\n\r\nHello\r\n.\r\n"))
    answers, lmtp._unread = lmtp._unread, []
    assert len(answers) == taken
    return [reply for reply in replies if not reply.startswith("250")] + answers


def counted_replies(replies: list[str]) -> dict[str, int]:
    kinds = {"250": Counted.DELIVERED, "550": Counted.UNKNOWN, "452": Counted.FULL}
    return dict(Counter(kinds[reply[:3]].value for reply in replies))


def test_sums_are_what_lmtp_answered(
    services: MailServices, lmtp: Lmtp, user: MadeUser, roll_up: Callable[[MadeUser], dict[str, int]]
) -> None:
    domain = user.address.partition("@")[2]
    full = make_user(services, tenant=(user.tenant_id, domain), quota_bytes=1)
    deliver(services, b"Subject: x\r\n\r\nfills it\r\n", user, full)
    write(services)
    before = roll_up(user)
    replies = [
        reply
        for to in [(user.address,), (user.address, f"nobody@{domain}"), (f"none@{domain}",), (full.address,)]
        for reply in send(lmtp, *to)
    ]
    truth = Counter(before) + Counter(counted_replies(replies))
    assert len(replies) == 5
    assert roll_up(user) == dict(truth)
    assert truth[Counted.UNKNOWN] == 2
    assert truth[Counted.DELIVERED] == len(services.mailboxes.open(user.user_id, "INBOX").uids) + (
        before[Counted.DELIVERED] - 1
    )


def test_spam_is_what_was_filed_as_such(
    services: MailServices, user: MadeUser, roll_up: Callable[[MadeUser], dict[str, int]]
) -> None:
    for verdict in (Verdict(20.0, True, "add header", ()), Verdict(0.1, False, "no action", ()), None):
        target = DeliveryTarget(services.delivery.resolve(user.address))
        assert [one.error for one in services.delivery.deliver(SPAM, [target], None, MTA, "", verdict)] == [None]
    in_junk = services.mailboxes.open(user.user_id, "Junk").exists
    assert roll_up(user) == {Counted.DELIVERED: 3, Counted.SPAM: in_junk} == {"in:delivered": 3, "in:spam": 1}


def test_sign_ins_are_counted_by_protocol_and_outcome(
    services: MailServices, user: MadeUser, roll_up: Callable[[MadeUser], dict[str, int]]
) -> None:
    tries = [(Protocol.IMAP, True), (Protocol.IMAP, True), (Protocol.IMAP, False), (Protocol.POP3, False)]
    for protocol, right in tries:
        try:
            services.authentication.login(
                user.address, Secret(user.password if right else "wrong password"), protocol, "192.0.2.1"
            )
        except AuthenticationFailed:
            assert not right
    truth = Counter(sign_in_name(protocol.value, right=right) for protocol, right in tries)
    assert roll_up(user) == dict(truth)
    logged: Counter[str] = Counter()
    for row in services.auth_log.list_of_user(user.user_id):
        logged[sign_in_name(row.sign_in.protocol, right=row.sign_in.result == "accepted")] += row.count
    assert logged == truth


def test_what_goes_out_is_counted_by_its_steps(
    services: MailServices, user: MadeUser, roll_up: Callable[[MadeUser], dict[str, int]]
) -> None:
    new = NewOutbound(
        user_id=user.user_id, tenant_id=user.tenant_id, reverse_path=user.address,
        forward_paths=(OutboundRecipient("a@else.test"), OutboundRecipient("b@else.test")), message=b"x: y\r\n\r\n",
        reason=Reason.SUBMISSION, key=os.urandom(12),
    )  # fmt: skip
    queue_id = services.queueing.enqueue(new, OPERATOR)
    services.queueing.enqueue(new, OPERATOR)
    services.outbound.hold(OPERATOR, user.user_id, queue_id, "looked at")
    for step, to in [(Step.SENT, "a@else.test"), (Step.FAILED, "b@else.test"), (Step.DEFERRED, "b@else.test")]:
        services.trace.note(user.tenant_id, TraceRow(step, queue_id, "", user.address, to, user.user_id))
    services.trace.flush()
    steps: Counter[str] = Counter()
    for row in services.trace.search(user.tenant_id):
        steps[row.step] += 1 + len(row.others)
    found = roll_up(user)
    assert found == {"out:queued": steps["queued"], "out:held": 2, "out:sent": 1, "out:failed": 1}
    assert steps["queued"] == 2, "the same message queued again is the same message"


@pytest.mark.parametrize("point", ["rollups.after_hours", "rollups.before_mark"])
@pytest.mark.parametrize("times", [1, 2])
def test_a_run_that_is_killed_and_done_again_gives_the_same_numbers(
    services: MailServices, context: JobContext, user: MadeUser, point: str, times: int
) -> None:
    deliver(services, message(b"one"), user)
    deliver(services, message(b"two"), user)
    write(services)

    def die() -> None:
        raise Dies

    for _ in range(times):
        fault.install({point: die})
        with pytest.raises(Dies):
            sum_up_shard(context, "a")
        fault.install({})
    for _ in range(2):
        sum_up_shard(context, "a")
        assert today(services, user) == {"in:delivered": 2}


def test_control_sums_that_are_added_up_would_count_twice(
    services: MailServices, context: JobContext, user: MadeUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    def adding(query: Any, update: Any, *, upsert: bool) -> UpdateOne:
        counts = {f"counts.{name}": count for name, count in update["$set"]["counts"].items()}
        return UpdateOne(query, {"$inc": counts}, upsert=upsert)

    monkeypatch.setattr(rows, "UpdateOne", adding)
    with pytest.raises(AssertionError):
        test_a_run_that_is_killed_and_done_again_gives_the_same_numbers(
            services, context, user, "rollups.before_mark", 1
        )


def test_what_is_counted_late_is_summed_up_again(services: MailServices, context: JobContext, user: MadeUser) -> None:
    """An hour of two days ago that a process could write only now: its shard was away."""
    late = datetime.now(UTC) - timedelta(days=2)
    services.tallies.add(user.tenant_id, Counted.DELIVERED, 3, late)
    write(services)
    sum_up_shard(context, "a")
    services.tallies.add(user.tenant_id, Counted.DELIVERED, 4, late)
    services.tallies.add(user.tenant_id, Counted.DELIVERED, 1, late + timedelta(days=1))
    write(services)
    sum_up_shard(context, "a")
    found = {each.at: each.counts for each in services.rollups.days(user.tenant_id, LONG_AGO)}
    assert found == {day(late): {"in:delivered": 7}, day(late + timedelta(days=1)): {"in:delivered": 1}}
    hours = services.rollups.hours(user.tenant_id, LONG_AGO)
    assert next((each.at, each.counts) for each in hours) == (start_of(hour_of(late)), {"in:delivered": 7})


def day(at: datetime) -> datetime:
    return start_of(hour_of(at) // 24 * 24)


def test_days_whose_hours_expire_are_left_as_they_are(
    services: MailServices, context: JobContext, user: MadeUser
) -> None:
    old = datetime.now(UTC) - tallies.KEPT + timedelta(hours=2)
    services.tallies.add(user.tenant_id, Counted.DELIVERED, 3, old)
    write(services)
    sum_up_shard(context, "a")
    assert services.rollups.days(user.tenant_id, LONG_AGO) == []


def test_two_processes_count_together_and_writing_again_changes_nothing(
    services: MailServices, context: JobContext, user: MadeUser
) -> None:
    here, there = Tallies(services.placement), Tallies(services.placement)
    for process, count in ((here, 3), (there, 4)):
        process.add(user.tenant_id, Counted.SENT, count)
        assert process.flush() == 1
        assert process.flush() == 0
    here.add(user.tenant_id, Counted.SENT)
    for each in here._hours.values():
        each.is_written = False  # as after an answer that was lost
    here.flush()
    for each in here._hours.values():
        each.is_written = False
    here.flush()
    sum_up_shard(context, "a")
    assert today(services, user) == {"out:sent": 8}


def test_a_shard_that_is_away_gets_the_counts_later(
    services: MailServices, context: JobContext, user: MadeUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise StoreUnavailable("away")

    deliver(services, message(b"one"), user)
    with monkeypatch.context() as patched:
        patched.setattr(TallyRows, "put", away)
        assert services.tallies.flush() == 0
    deliver(services, message(b"two"), user)
    write(services)
    sum_up_shard(context, "a")
    assert today(services, user) == {"in:delivered": 2}


def test_memory_is_bounded_and_hours_that_are_over_are_forgotten(
    services: MailServices, user: MadeUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tallies, "MOST", 3)
    monkeypatch.setattr(tallies, "MOST_DOMAINS", 2)
    process = Tallies(services.placement)
    for number in range(5):
        process.add(user.tenant_id, Counted.SENT, at=datetime.now(UTC) - timedelta(hours=number))
        process.refused(f"x@d{number}.test", AuthenticationFailed())
    assert (len(process._hours), len(process._refused)) == (3, 2)
    process.flush()
    assert (len(process._hours), len(process._refused)) == (1, 0)


def test_refusals_of_domains_that_nobody_proved_are_nobodys(
    services: MailServices, context: JobContext, user: MadeUser
) -> None:
    domain = f"claimed-{ObjectId()}.test"
    services.domains.create(SOMEBODY, user.tenant_id, domain)
    services.tallies.refused(f"x@{domain}", AddressNotFound("x"))
    services.tallies.refused("x@[192.0.2.1]", AddressNotFound("x"))
    services.tallies.refused("x@elsewhere.test", AddressNotFound("x"))
    write(services)
    sum_up_shard(context, "a")
    assert today(services, user) == {}


def sees_others(services: MailServices, context: JobContext) -> bool:
    """Whether a tenant without anything sees something of a tenant with mail."""
    busy, idle = make_user(services, shard="a"), make_user(services, shard="a")
    deliver(services, message(os.urandom(40_000)), busy)
    write(services)
    sum_up_shard(context, "a")
    services.rollups.measure_tenant(busy.tenant_id)
    assert today(services, busy)
    rolled = services.rollups
    found = [rolled.days, rolled.hours, rolled.stored]
    return any(read(idle.tenant_id, LONG_AGO) for read in found)


def test_a_tenants_sums_are_its_own_and_one_without_data_has_none(services: MailServices, context: JobContext) -> None:
    assert not sees_others(services, context)


def test_control_a_row_that_names_no_tenant_is_seen_by_all(
    services: MailServices, context: JobContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = rows._key
    monkeypatch.setattr(rows, "_key", lambda _tenant_id, kind, hour: real(TenantId(ObjectId("1" * 24)), kind, hour))
    assert sees_others(services, context)


def questions(services: MailServices, user: MadeUser) -> int:
    """How often the stores are asked for a delivery, a refusal at RCPT and a sign-in."""
    listener = Listener()
    monitoring.register(listener)
    heard = make_services(
        services.settings.mongo_uri.reveal_text(), {}
    )  # clients hear of listeners that were there before them
    try:
        deliver(heard, message(b"warm"), user)
        listener.commands.clear()
        deliver(heard, message(b"counted"), user)
        with pytest.raises(AddressNotFound):
            heard.delivery.resolve(f"none@{user.address.partition('@')[2]}")
        heard.authentication.login(user.address, Secret(user.password), Protocol.IMAP, "192.0.2.1")
        return len(listener.commands)
    finally:
        monitoring._LISTENERS.command_listeners.remove(listener)
        heard.close()


def test_counting_costs_deliveries_refusals_and_sign_ins_no_round_trip(
    services: MailServices, user: MadeUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    counting = questions(services, user)
    for name in ("add", "arrived", "refused"):
        monkeypatch.setattr(Tallies, name, lambda *_args, **_named: None)
    assert counting == questions(services, user) > 3


def test_control_counts_that_are_written_at_once_are_round_trips(
    services: MailServices, user: MadeUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Tallies.add

    def at_once(self: Tallies, *arguments: Any, **named: Any) -> None:
        real(self, *arguments, **named)
        self.flush()

    monkeypatch.setattr(Tallies, "add", at_once)
    with pytest.raises(AssertionError):
        test_counting_costs_deliveries_refusals_and_sign_ins_no_round_trip(services, user, monkeypatch)


def test_through_the_queue(services: MailServices, redis: Redis, user: MadeUser) -> None:
    deliver(services, message(b"one"), user)
    write(services)
    for job in ("rollups.all", "rollups.measure"):
        enqueue(redis, job)
    make_worker(services, redis).work(burst=True, logging_level="ERROR")
    assert today(services, user) == {"in:delivered": 1}
    [stored] = services.rollups.stored(user.tenant_id, LONG_AGO)
    assert stored.hot_bytes == services.pools.tiers(user.tenant_id).hot_bytes > 0


# -- storage, and what if older mail went to HDD ------------------------------------------------


def aged(services: MailServices, user: MadeUser, ages: dict[int, int]) -> None:
    """Attachments of so many bytes that came so many days ago, while the tenant kept them on SSD for long."""
    services.tenants.set_cold_after(OPERATOR, user.tenant_id, timedelta(days=4000))
    began = int(datetime.now(UTC).timestamp())
    for days, size_bytes in ages.items():
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(upload, "new_generation", lambda days=days: new_generation(began - days * DAY_S))
            deliver(services, message(os.urandom(size_bytes)), user)


AGED = {0: 40_000, 29: 41_000, 30: 43_000, 89: 47_000, 90: 53_000, 400: 59_000, 1500: 61_000}


@pytest.mark.parametrize("months", [0, 1, 3, 13, 36 - 1])
def test_what_if_is_what_really_moves(services: MailServices, context: JobContext, user: MadeUser, months: int) -> None:
    aged(services, user, AGED)
    before = services.rollups.measure_tenant(user.tenant_id)
    told = before.older_than(months)
    assert told == sum(size for days, size in AGED.items() if days >= months * AGE_DAYS)
    services.tenants.set_cold_after(OPERATOR, user.tenant_id, timedelta(days=months * AGE_DAYS))
    for _ in range(2):
        assert redate(context, str(user.tenant_id)) in {len(AGED), len(AGED) - moved_count(months)}
        demote_shard(context, "a")
    shard = services.placement.home(user.user_id).shard
    assert shard.chunks.size_bytes(user.tenant_id, Tier.COLD) == told
    after = services.rollups.measure_tenant(user.tenant_id)
    assert (after.cold_bytes - before.cold_bytes, before.hot_bytes - after.hot_bytes) == (told, told)
    assert after.older_than(months) == 0


def moved_count(months: int) -> int:
    return sum(days >= months * AGE_DAYS for days in AGED)


def test_control_ages_told_by_anything_else_are_no_forecast(
    services: MailServices, context: JobContext, user: MadeUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rollups, "MONTHS", [timedelta(days=31 * month) for month in range(AGES)])
    with pytest.raises(AssertionError):
        test_what_if_is_what_really_moves(services, context, user, 1)


def test_measured_every_few_hours_and_the_day_has_its_last(services: MailServices, user: MadeUser) -> None:
    make_tenant(services, "a")
    assert services.rollups.measure() >= 2
    assert services.rollups.measure() == 0
    deliver(services, message(os.urandom(50_000)), user)
    again = services.rollups.measure_tenant(user.tenant_id)
    assert services.rollups.stored(user.tenant_id, LONG_AGO)[-1] == again
    assert again.cold_bytes == 50_000
    assert HOUR_S == 3600


def check_goes_on(services: MailServices, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of three tenants one cannot be measured; the others are, whichever is looked at first."""
    tenants = [make_tenant(services, "a")[0] for _ in range(3)]
    real, unmeasured = Rollups.measure_tenant, _unmeasured()

    def fails_for_one(self: Rollups, tenant_id: TenantId) -> Any:
        if tenant_id == tenants[0]:
            raise StoreUnavailable
        return real(self, tenant_id)

    with monkeypatch.context() as patch:
        patch.setattr(Rollups, "measure_tenant", fails_for_one)
        services.rollups.measure()
    assert [bool(services.rollups.stored(each, LONG_AGO)) for each in tenants] == [False, True, True]
    assert _unmeasured() == unmeasured + 1, "and it is told"
    services.rollups.measure()
    assert services.rollups.stored(tenants[0], LONG_AGO)


def _unmeasured() -> float:
    (family,) = rollups.UNMEASURED.collect()
    return sum(sample.value for sample in family.samples)


def test_a_tenant_that_cannot_be_measured_stops_nobody_else(
    services: MailServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_goes_on(services, monkeypatch)


def test_control_a_run_that_stops_at_the_first_that_fails_is_seen(
    services: MailServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rollups, "MailError", AddressNotFound)
    with pytest.raises(StoreUnavailable):
        check_goes_on(services, monkeypatch)
