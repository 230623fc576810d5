"""Bounce and complaint rates, and what follows: mail is held, never lost, and goes out once (Promise P17)."""

from __future__ import annotations

import itertools
from datetime import timedelta

import pytest

from infra.devstack.outside.mail_exchanger import Behaviour
from mailcore.errors import Conflict, NotPermitted, SendingStopped, UserNotFound, ValueInvalid
from mailcore.model.actor import Actor, ActorKind, Door
from mailcore.model.outbound import (
    BURST,
    HELD_WITH_SENDER,
    SENDING_HOLD,
    EntryState,
    OutboundRecipient,
    QueueId,
    Reason,
    RecipientState,
)
from mailcore.model.reputation import Counts, Fate, HeldSender, HoldCause, Rates
from mailcore.relay.handling import Handling
from mailcore.services import MailServices
from mailcore.services.outbound import reputation, sending_holds
from mailcore.services.outbound.feedback import Feedback
from mailcore.services.outbound.origin_marks import OriginMarks
from mailcore.services.outbound.reputation import Reputation
from mailcore.services.outbound.sending_holds import SendingHolds
from mailcore.services.outbound.submission import Sender, Submitted
from mailcore.services.outbound.trace import Step
from mailcore.services.process.clock import now
from mailcore.store.user.outbound import OutboundEntries
from tests.builders import OPERATOR, MadeUser, make_tenant, make_user
from tests.relay.conftest import Relaying
from tests.relay.test_feedback import SIGNED, UNSIGNED, report, sent, tell

BAD = Behaviour(recipient=lambda path: "550 5.1.1 unknown" if path.startswith("TO:<bad") else "250 2.1.5 OK")
"""By how the address begins: the domain has the hexadecimal id of a user in it, which may hold these letters."""


_numbers = itertools.count(1)


@pytest.fixture
def domain(relaying: Relaying) -> str:
    """A domain elsewhere whose server knows nobody whose name begins with `bad`."""
    name = f"d{relaying.user.user_id}.test"
    relaying.world.domain(name, BAD)
    return name


def bad(domain: str, count: int) -> list[str]:
    return [f"bad{number}-{now().timestamp()}@{domain}" for number in range(count)]


def rates(relaying: Relaying, user: MadeUser | None = None) -> Rates:
    relaying.services.reputation.flush()
    user = user or relaying.user
    return relaying.services.reputation.of_users(user.tenant_id).get(user.user_id, Rates())


def watch(services: MailServices, *users: MadeUser) -> list[HeldSender]:
    """What the job does, of what it says only these users' tenants."""
    services.reputation.flush()
    tenants = {user.tenant_id for user in users}
    return [one for one in services.sending_holds.watch() if one.tenant_id in tenants]


def submit(relaying: Relaying, *to: str, user: MadeUser | None = None) -> QueueId:
    user = user or relaying.user
    raw = f"From: {user.address}\r\nTo: {to[0]}\r\nMessage-ID: <{now().timestamp()}{to[0]}>\r\n\r\nHi\r\n".encode()
    submitted = Submitted(raw, user.address, [OutboundRecipient(each) for each in to], "ESMTPSA")
    sender = Sender(user.user_id, user.tenant_id, user.address)
    return relaying.services.submission.submit(OPERATOR, sender, submitted).queue_id


def taken(relaying: Relaying, domain: str) -> int:
    return len(relaying.world.exchangers[f"mx.{domain}"].taken)


# -- what is counted ------------------------------------------------------------------------


def test_what_another_service_said_is_counted_for_the_user(relaying: Relaying, domain: str) -> None:
    relaying.send(f"ann@{domain}", f"bob@{domain}", *bad(domain, 1), "eve@nowhere-at-all.test")
    assert rates(relaying).day == rates(relaying).week == Counts(sent=2, bounced=2)
    (hour,) = relaying.services.reputation.by_hour(relaying.user.tenant_id, now() - timedelta(hours=2))
    assert hour[1] == Counts(sent=2, bounced=2)
    assert relaying.services.reputation.of_tenant(relaying.user.tenant_id).day == Counts(sent=2, bounced=2)


def test_an_address_that_is_suppressed_counts_as_that(relaying: Relaying, domain: str) -> None:
    (address,) = bad(domain, 1)
    relaying.send(address)
    relaying.send(address)
    assert rates(relaying).day == Counts(bounced=1, suppressed=1)


@pytest.mark.parametrize(
    "behaviour", [Behaviour(recipient="451 4.7.1 later"), Behaviour(recipient="554 5.3.4 too big")]
)
def test_what_is_not_the_senders_fault_counts_nothing(relaying: Relaying, behaviour: Behaviour) -> None:
    relaying.world.domain("odd.test", behaviour)
    relaying.send("ann@odd.test")
    assert rates(relaying) == Rates()


def test_mail_within_the_house_counts_nothing(relaying: Relaying) -> None:
    other = make_user(relaying.services, tenant=(relaying.user.tenant_id, relaying.host_users_domain()))
    queue_id = relaying.send(other.address, f"nobody@{relaying.host_users_domain()}")
    assert [each.state for each in relaying.entry(queue_id).recipients] == [RecipientState.SENT, RecipientState.FAILED]
    assert rates(relaying) == Rates()


def test_counts_of_several_processes_add_up(relaying: Relaying, domain: str) -> None:
    services = relaying.services
    other = Reputation(services.placement.directory, services.placement)
    for one in (services.reputation, other):
        for _ in range(3):
            one.note(relaying.user.tenant_id, relaying.user.user_id, Fate.SENT)
        one.flush()
    assert rates(relaying).day.sent == 6


# -- holding --------------------------------------------------------------------------------


def test_bounces_hold_the_user_who_causes_them(relaying: Relaying, domain: str) -> None:
    """What is sent from then on, and what waits already, is held; the others of the tenant go on."""
    services, user = relaying.services, relaying.user
    other = make_user(services, tenant=(user.tenant_id, relaying.host_users_domain()))
    waiting = relaying.send(f"late@{domain}", run=False, not_before=now() + timedelta(days=1))
    submit(relaying, *bad(domain, 25))
    relaying.run()
    (held,) = watch(services, user)
    assert (held.user_id, held.hold.cause, held.hold.counts) == (user.user_id, HoldCause.BOUNCES, Counts(bounced=25))
    later = submit(relaying, f"ann@{domain}")
    from_other = submit(relaying, f"bob@{domain}", user=other)
    relaying.run()
    for queue_id in (waiting, later):
        entry = relaying.entry(queue_id)
        assert (entry.state, entry.held) == (EntryState.HELD, SENDING_HOLD)
    assert relaying.entry(from_other, other).state is EntryState.DONE
    assert taken(relaying, domain) == 1
    assert services.sending_holds.waiting(held) == 2
    assert watch(services, user) == [held], "the same hold again is the same hold"
    services.sending_holds.note_told(held)
    assert watch(services, user) == []


def test_what_was_held_goes_out_once_and_not_before_its_time(relaying: Relaying, domain: str) -> None:
    services, user = relaying.services, relaying.user
    scheduled = relaying.send(f"late@{domain}", run=False, not_before=now() + timedelta(days=1))
    services.sending_holds.hold(OPERATOR, user.tenant_id, user.user_id, HoldCause.STAFF, "a look")
    ids = [submit(relaying, f"ann{number}@{domain}") for number in range(3)]
    relaying.run()
    assert taken(relaying, domain) == 0
    assert services.sending_holds.release(OPERATOR, user.tenant_id, user.user_id, "all is well") == 4
    relaying.run()
    relaying.run()
    assert [relaying.entry(each).state for each in ids] == [EntryState.DONE] * 3
    assert taken(relaying, domain) == 3
    entry = relaying.entry(scheduled)
    assert entry.state is EntryState.QUEUED
    assert entry.next_at is not None
    assert entry.next_at > now() + timedelta(hours=23)
    assert entry.expires_at > entry.next_at + timedelta(days=3)
    with pytest.raises(Conflict):
        services.sending_holds.release(OPERATOR, user.tenant_id, user.user_id, "again")


def test_a_relay_holds_what_it_claimed_and_what_is_held_never_expires(relaying: Relaying, domain: str) -> None:
    """The hold came after the message was due: a process that did not know of it had queued it."""
    services, user = relaying.services, relaying.user
    queue_id = submit(relaying, f"ann@{domain}")
    hold_quietly(services, user)
    relaying.expire(queue_id)
    relaying.run()
    assert (relaying.entry(queue_id).state, relaying.entry(queue_id).held) == (EntryState.HELD, SENDING_HOLD)
    assert relaying.reports() == []
    services.sending_holds.release(OPERATOR, user.tenant_id, user.user_id, "all is well")
    relaying.run()
    assert relaying.entry(queue_id).state is EntryState.DONE
    assert taken(relaying, domain) == 1


def hold_quietly(services: MailServices, user: MadeUser) -> None:
    """Hold as another process does that holds nothing of the queue."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(OutboundEntries, "hold_all", lambda *_: 0)
        services.sending_holds.hold(OPERATOR, user.tenant_id, user.user_id, HoldCause.STAFF, "a look")


def test_without_the_look_of_the_relay_held_mail_would_leave(
    relaying: Relaying, domain: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control of the above."""
    submit(relaying, f"ann@{domain}")
    hold_quietly(relaying.services, relaying.user)
    monkeypatch.setattr(Handling, "_is_to_wait", lambda _: False)
    relaying.run()
    assert taken(relaying, domain) == 1


@pytest.mark.parametrize("reason", sorted(HELD_WITH_SENDER))
def test_a_relay_holds_whatever_waits_with_its_sender(relaying: Relaying, domain: str, reason: Reason) -> None:
    """Such as a post that a moderator lets go while all mail of the tenant is held."""
    services, user = relaying.services, relaying.user
    services.sending_holds.hold(OPERATOR, user.tenant_id, None, HoldCause.STAFF, "a look")
    queue_id = relaying.send(f"ann@{domain}", reason=reason)
    assert (relaying.entry(queue_id).state, relaying.entry(queue_id).held) == (EntryState.HELD, SENDING_HOLD)
    with pytest.raises(NotPermitted):
        services.outbound.release(OPERATOR, user.user_id, queue_id)
    services.sending_holds.release(OPERATOR, user.tenant_id, None, "all is well")
    relaying.run()
    assert taken(relaying, domain) == 1


def test_what_was_queued_as_held_too_late_is_let_go(relaying: Relaying, domain: str) -> None:
    """By a process that had not heard of the end of the hold."""
    services, user = relaying.services, relaying.user
    queue_id = relaying.send(f"ann@{domain}", held=SENDING_HOLD)
    other = make_user(services)
    services.sending_holds.hold(OPERATOR, other.tenant_id, other.user_id, HoldCause.STAFF, "a look")
    stays = relaying.send(f"eve@{domain}", held=SENDING_HOLD, user=other)
    watch(services, user)
    relaying.run()
    assert relaying.entry(queue_id).state is EntryState.DONE
    assert relaying.entry(stays, other).state is EntryState.HELD


def test_many_users_who_do_a_little_each_hold_the_tenant(relaying: Relaying, domain: str) -> None:
    services = relaying.services
    tenant = make_tenant(services, "a")
    users = [make_user(services, tenant=tenant) for _ in range(3)]
    for user in users:
        submit(relaying, *bad(domain, 9), user=user)
    relaying.run()
    (held,) = watch(services, *users)
    assert (held.user_id, held.hold.cause, held.hold.counts.bounced) == (None, HoldCause.BOUNCES, 27)
    newcomer = make_user(services, tenant=tenant)
    late = submit(relaying, f"ann@{domain}", user=newcomer)
    assert [one.hold for one in services.sending_holds.list_of_tenant(tenant[0])] == [held.hold]
    relaying.run()
    assert taken(relaying, domain) == 0
    services.sending_holds.release(OPERATOR, tenant[0], None, "sorted out")
    relaying.run()
    assert relaying.entry(late, newcomer).state is EntryState.DONE, relaying.entry(late, newcomer)
    assert taken(relaying, domain) == 1
    assert watch(services, *users) == [], "what was counted before does not hold again"


def test_a_burst_holds_and_its_messages_are_let_go_with_the_hold(relaying: Relaying, domain: str) -> None:
    services, user = relaying.services, relaying.user
    services.users.set_limit(OPERATOR, user.user_id, "recipients_per_burst", 2)
    ids = [submit(relaying, f"a{number}@{domain}") for number in range(4)]
    relaying.run()
    assert taken(relaying, domain) == 2
    (held,) = watch(services, user)
    assert (held.user_id, held.hold.cause) == (user.user_id, HoldCause.BURST)
    member = Actor(ActorKind.MEMBER, Door.PORTAL, "boss@here.test")
    with pytest.raises(NotPermitted):
        services.outbound.release(member, user.user_id, ids[3])
    services.sending_holds.release(OPERATOR, user.tenant_id, user.user_id, "a newsletter")
    relaying.run()
    assert taken(relaying, domain) == 4
    assert watch(services, user) == []


def burst_after_release(relaying: Relaying, domain: str) -> QueueId:
    """Mail held for a burst in the hour in which staff let another burst go; counted as what counts no more."""
    services, user = relaying.services, relaying.user
    services.users.set_limit(OPERATOR, user.user_id, "recipients_per_burst", 1)
    submit(relaying, f"a@{domain}")
    submit(relaying, f"b@{domain}")
    assert len(watch(services, user)) == 1
    services.sending_holds.release(OPERATOR, user.tenant_id, user.user_id, "a newsletter")
    relaying.run()
    again = submit(relaying, f"c@{domain}")
    assert relaying.entry(again).held == BURST
    return again


def test_a_burst_in_the_hour_of_a_release_waits_under_a_hold_that_is_seen(relaying: Relaying, domain: str) -> None:
    services, user = relaying.services, relaying.user
    again = burst_after_release(relaying, domain)
    (held,) = watch(services, user)
    assert (held.user_id, held.hold.cause) == (user.user_id, HoldCause.BURST)
    assert relaying.entry(again).held == SENDING_HOLD
    assert services.sending_holds.waiting(held) == 1
    services.sending_holds.release(OPERATOR, user.tenant_id, user.user_id, "the rest of it")
    assert watch(services, user) == [], "what went is no reason for another hold"
    relaying.run()
    assert relaying.entry(again).state is EntryState.DONE
    assert taken(relaying, domain) == 3


def test_a_burst_that_was_not_counted_is_held_visibly(relaying: Relaying, domain: str) -> None:
    """The process that counted it died before it wrote its counts."""
    services, user = relaying.services, relaying.user
    relaying.send(f"a@{domain}", held=BURST)
    (held,) = watch(services, user)
    assert (held.user_id, held.hold.cause) == (user.user_id, HoldCause.BURST)


def test_without_a_look_into_the_queue_a_burst_would_wait_unseen(
    relaying: Relaying, domain: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control of the above."""
    burst_after_release(relaying, domain)
    monkeypatch.setattr(SendingHolds, "_hold_bursts", lambda _: None)
    assert watch(relaying.services, relaying.user) == []


def test_users_who_are_deleted_still_count_for_the_tenant(relaying: Relaying, domain: str) -> None:
    """Many who do a little each: made, used and deleted again."""
    services = relaying.services
    tenant = make_tenant(services, "a")
    users = [make_user(services, tenant=tenant) for _ in range(2)]
    stays = make_user(services, tenant=tenant)
    for user in users:
        services.reputation.note(tenant[0], user.user_id, Fate.BOUNCED, 25)
        services.deleted_users.delete(OPERATOR, user.user_id)
    (held,) = watch(services, stays)
    assert (held.user_id, held.hold.cause, held.hold.counts.bounced) == (None, HoldCause.BOUNCES, 50)


def test_every_tenant_in_trouble_is_looked_at(relaying: Relaying, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many there are on a shard."""
    services = relaying.services
    users = [make_user(services, shard="a") for _ in range(5)]
    for user in users:
        services.reputation.note(user.tenant_id, user.user_id, Fate.BOUNCED, 25)
    monkeypatch.setattr(reputation, "TOGETHER", 2)
    assert {one.user_id for one in watch(services, *users)} == {user.user_id for user in users}
    assert {user.tenant_id for user in users} <= {tenant_id for tenant_id, _ in services.reputation.of_troubled()}


def test_who_only_released_one_message_of_a_held_sender_is_told(relaying: Relaying, domain: str) -> None:
    services, user = relaying.services, relaying.user
    services.sending_holds.hold(OPERATOR, user.tenant_id, user.user_id, HoldCause.STAFF, "a look")
    queue_id = submit(relaying, f"ann@{domain}")
    with pytest.raises(NotPermitted):
        services.outbound.release(OPERATOR, user.user_id, queue_id)


def test_staff_may_stop_new_mail_too(relaying: Relaying, domain: str) -> None:
    services, user = relaying.services, relaying.user
    services.sending_holds.hold(OPERATOR, user.tenant_id, None, HoldCause.STAFF, "spam", stops=True)
    with pytest.raises(SendingStopped):
        submit(relaying, f"ann@{domain}")
    services.sending_holds.keep(OPERATOR, user.tenant_id, None, "held is enough", stops=False)
    submit(relaying, f"ann@{domain}")
    services.sending_holds.keep(OPERATOR, user.tenant_id, None, "spam after all", stops=True)
    services.sending_holds.keep(OPERATOR, user.tenant_id, None, "looked at")
    with pytest.raises(SendingStopped):
        submit(relaying, f"eve@{domain}")
    services.sending_holds.keep(OPERATOR, user.tenant_id, None, "held is enough", stops=False)
    services.sending_holds.appeal(OPERATOR, user.tenant_id, None, "we are a choir")
    (held,) = services.sending_holds.list_of_tenant(user.tenant_id)
    assert (held.hold.note, held.hold.appeal, held.hold.stops) == ("held is enough", "we are a choir", False)


def test_a_hold_of_the_tenant_does_not_take_mail_again_of_a_user_who_is_stopped(
    relaying: Relaying, domain: str
) -> None:
    services, user = relaying.services, relaying.user
    services.sending_holds.hold(OPERATOR, user.tenant_id, user.user_id, HoldCause.STAFF, "spam", stops=True)
    services.sending_holds.hold(OPERATOR, user.tenant_id, None, HoldCause.STAFF, "a look")
    with pytest.raises(SendingStopped):
        submit(relaying, f"ann@{domain}")


def test_who_holds_says_why_and_whom(relaying: Relaying) -> None:
    services, user = relaying.services, relaying.user
    with pytest.raises(ValueInvalid):
        services.sending_holds.hold(OPERATOR, user.tenant_id, None, HoldCause.STAFF, "  ")
    other = make_user(services)
    with pytest.raises(UserNotFound):
        services.sending_holds.hold(OPERATOR, user.tenant_id, other.user_id, HoldCause.STAFF, "of another tenant")
    assert services.sending_holds.hold(OPERATOR, user.tenant_id, None, HoldCause.STAFF, "one")
    assert not services.sending_holds.hold(OPERATOR, user.tenant_id, None, HoldCause.STAFF, "two")
    events = [each.kind for each in all_events(services, user)]
    assert [kind for kind in events if kind.startswith("sending.")] == ["sending.held"]


def all_events(services: MailServices, user: MadeUser):  # type: ignore[no-untyped-def]
    for sequencer in services.events.sequencers():
        sequencer.catch_up()
    return services.events.read(user.tenant_id, limit=1000).events


# -- complaints -----------------------------------------------------------------------------


def complain(relaying: Relaying, count: int, *, forged: bool = False, on_top: str = SIGNED) -> None:
    """Let so many recipients of real messages complain, or somebody who made the mark up."""
    for _ in range(count):
        original = sent(relaying, f"c{next(_numbers)}@big.test")
        made = original.replace(b"X-Eider-Origin", b"X-Else") if forged else original
        tell(relaying.services, report(made, on_top=on_top))


def test_complaints_hold(relaying: Relaying) -> None:
    complain(relaying, 4)
    assert watch(relaying.services, relaying.user) == []
    complain(relaying, 1)
    assert rates(relaying).day == Counts(sent=5, complained=5)
    (held,) = watch(relaying.services, relaying.user)
    assert (held.user_id, held.hold.cause) == (relaying.user.user_id, HoldCause.COMPLAINTS)


def test_forged_complaints_hold_nobody(relaying: Relaying) -> None:
    complain(relaying, 6, forged=True)
    assert rates(relaying).day == Counts(sent=6)
    assert watch(relaying.services, relaying.user) == []


def test_who_has_seen_the_mark_holds_nobody(relaying: Relaying) -> None:
    """Such as a reader of the archive of a list: the reports are of real messages, and nobody vouches for them."""
    for on_top in UNSIGNED:
        complain(relaying, 1, on_top=on_top)
    assert rates(relaying).day == Counts(sent=len(UNSIGNED))
    assert watch(relaying.services, relaying.user) == []


def test_a_service_that_signs_for_all_of_its_domains_is_believed_if_the_operator_does(
    relaying: Relaying, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relaying.services.feedback, "_reporters", frozenset({"reports.test"}))
    complain(relaying, 5, on_top=SIGNED.replace("big.test", "reports.test"))
    (held,) = watch(relaying.services, relaying.user)
    assert held.hold.cause is HoldCause.COMPLAINTS


def test_control_without_a_look_who_vouches_anybody_who_saw_the_mark_would_hold(
    relaying: Relaying, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Feedback, "_is_vouched_for", lambda *_: True)
    complain(relaying, 5, on_top="")
    (held,) = watch(relaying.services, relaying.user)
    assert held.hold.cause is HoldCause.COMPLAINTS


def test_without_the_seal_forged_complaints_would_hold(relaying: Relaying, monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control of the above: a report is believed though it brings back no mark."""
    known: list[tuple[object, object]] = []

    def believe(*_: object) -> object:
        rows = relaying.services.trace.search(relaying.user.tenant_id)
        known.append((relaying.user.user_id, next(row.queue_id for row in rows if row.step is Step.SENT)))
        return known[-1]

    monkeypatch.setattr(OriginMarks, "find", believe)
    complain(relaying, 6, forged=True)
    (held,) = watch(relaying.services, relaying.user)
    assert held.hold.cause is HoldCause.COMPLAINTS


def test_who_never_judges_holds_nobody(relaying: Relaying, domain: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control of what holds by itself."""
    submit(relaying, *bad(domain, 25))
    relaying.run()
    monkeypatch.setattr(sending_holds, "judge", lambda *_: {})
    assert watch(relaying.services, relaying.user) == []
    assert isinstance(relaying.services.sending_holds, SendingHolds)
