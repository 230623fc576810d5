"""Mail that is sent on: untouched, under a reverse-path of ours, never in circles, never instead of the copy here."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from mailcore import fault
from mailcore.errors import AddressNotFound, ForwardingStopped, MailLoop, RateExceeded, SendingStopped, StoreUnavailable
from mailcore.message.headers import find_all, iter_fields
from mailcore.model.actor import Actor, ActorKind, Door
from mailcore.model.outbound import SENDING_HOLD, EntryState, OutboundEntry, Reason
from mailcore.model.reputation import HoldCause
from mailcore.model.tenant import Standing, State
from mailcore.services import MailServices
from mailcore.services.accounts.usage import Usage
from mailcore.services.inbound import forwarding, inbound
from mailcore.services.inbound.arrival import Arrival
from mailcore.services.inbound.delivery import DeliveryTarget
from mailcore.services.inbound.forwarding import Forwarding
from mailcore.smtp.replies import reply_for
from tests.builders import OPERATOR, MadeUser, make_tenant, make_user
from tests.services.inbound_mail import MTA, SENDER, box, content, count, mail, queued, take

TARGET = "home@elsewhere.test"


@pytest.fixture(autouse=True)
def disarm() -> Iterator[None]:
    yield
    fault.install({})


def forwarder(services: MailServices, *targets: str, keeps: bool = True) -> MadeUser:
    user = make_user(services)
    services.users.set_settings(OPERATOR, user.user_id, {"targets": targets or (TARGET,), "keeps_forwarded": keeps})
    return user


def paths(entry: OutboundEntry) -> list[str]:
    return [recipient.address for recipient in entry.recipients]


def test_the_message_goes_on_untouched_under_a_path_of_ours(services: MailServices) -> None:
    user = forwarder(services, TARGET, "two@elsewhere.test")
    raw = mail(user.address, body="exact \t bytes ")
    assert take(services, raw, user.address) == [None]
    assert box(services, user)[0].endswith(raw)
    [entry] = queued(services, user)
    assert (entry.reason, paths(entry)) == (Reason.FORWARD, [TARGET, "two@elsewhere.test"])
    assert entry.reverse_path.startswith("SRS0=")
    sent = content(services, entry)
    assert sent.endswith(raw)
    on_top = sent.removesuffix(raw)
    assert [found.name for found in iter_fields(on_top)] == [b"x-eider-loop", b"delivered-to", b"received"]
    assert b"Return-Path" not in sent


def test_copy_is_kept_or_not_as_the_user_says(services: MailServices) -> None:
    user = forwarder(services, keeps=False)
    take(services, mail(user.address), user.address)
    assert (count(services, user), len(queued(services, user))) == (0, 1)


def test_a_bounce_goes_back_to_who_sent_the_message(services: MailServices) -> None:
    """And nobody else's mail: a rewritten path is no way to send through us."""
    user = forwarder(services)
    take(services, mail(user.address), user.address)
    path = queued(services, user)[0].reverse_path
    bounce = mail(path, "Auto-Submitted: auto-replied", sender="MAILER-DAEMON@elsewhere.test")
    assert take(services, bounce, path, sender="") == [None]
    returned = queued(services, user)[-1]
    assert (returned.reverse_path, paths(returned)) == ("", [SENDER])
    assert returned.recipients[0].notify == frozenset()
    assert content(services, returned).endswith(bounce)
    with pytest.raises(AddressNotFound):
        take(services, mail(path), path)
    with pytest.raises(AddressNotFound):
        take(services, bounce, path.replace("SRS0=", "SRS0=aa"), sender="")
    assert len(queued(services, user)) == 2
    assert count(services, user) == 1


def test_null_reverse_path_stays_null(services: MailServices) -> None:
    """A bounce that is sent on is never bounced in turn (M10)."""
    user = forwarder(services)
    take(services, mail(user.address), user.address, sender="")
    assert queued(services, user)[0].reverse_path == ""


def test_path_too_long_to_rewrite_becomes_the_users_own(services: MailServices) -> None:
    user = forwarder(services)
    take(services, mail(user.address), user.address, sender="x" * 50 + "@outside.test")
    assert queued(services, user)[0].reverse_path == user.address


# -- circles (M11) ------------------------------------------------------------------------------


def check_coming_back(services: MailServices) -> None:
    """What was sent on and comes back lands once and goes nowhere."""
    user = forwarder(services)
    take(services, mail(user.address), user.address)
    sent = content(services, queued(services, user)[0])
    for back in (sent, b"Received: from elsewhere.test by mx; now\r\n" + sent):
        assert take(services, back, user.address) == [None]
    assert len(queued(services, user)) == 1
    assert count(services, user) == 1


def test_what_comes_back_lands_once_and_goes_nowhere(services: MailServices) -> None:
    """M11."""
    check_coming_back(services)


def test_mail_that_comes_back_unknown_would_be_seen(services: MailServices, monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control of M11."""
    monkeypatch.setattr(Forwarding, "has_landed", lambda *_: False)
    with pytest.raises(AssertionError):
        check_coming_back(services)


def test_a_mark_that_does_not_fit_keeps_the_message_and_sends_it_nowhere(services: MailServices) -> None:
    """Changed on the way, resent by hand, or marked by somebody else: kept, for it may be another message."""
    user = forwarder(services)
    take(services, mail(user.address), user.address)
    sent = content(services, queued(services, user)[0])
    resent = b"Resent-To: " + user.address.encode() + b"\r\n" + sent
    forged = b"X-Eider-Loop: " + user.address.encode() + b"; " + b"0" * 32 + b"\r\n" + mail(user.address)
    for number, back in enumerate((sent + b"a footer\r\n", resent, forged), 2):
        assert take(services, back, user.address) == [None]
        assert count(services, user) == number
    assert len(queued(services, user)) == 1


def test_anybodys_delivered_to_stops_it(services: MailServices) -> None:
    user = forwarder(services)
    take(services, mail(user.address, f"Delivered-To: {user.address}"), user.address)
    assert (count(services, user), queued(services, user)) == (1, [])


@pytest.mark.parametrize(("hops", "goes_on"), [(30, True), (31, False)])
def test_too_many_hops_end_the_way_and_not_the_message(services: MailServices, hops: int, goes_on: bool) -> None:
    user = forwarder(services)
    raw = mail(user.address, *["Received: from a by b; now"] * hops)
    assert take(services, raw, user.address) == [None]
    assert count(services, user) == 1
    assert bool(queued(services, user)) is goes_on


def test_too_many_forwards_of_a_day_never_cost_the_copy_here(services: MailServices) -> None:
    user = forwarder(services, keeps=False)
    services.users.set_limit(OPERATOR, user.user_id, "forwards_per_day", 2)
    for _ in range(4):
        assert take(services, mail(user.address), user.address) == [None]
    assert (len(queued(services, user)), count(services, user)) == (2, 2)


# -- repeats (P3, P12, F10) ---------------------------------------------------------------------


class Crash(BaseException):
    """As if the process had ended here."""


# -- holds and limits of the tenant -----------------------------------------------------------


def hold(services: MailServices, user: MadeUser) -> None:
    services.sending_holds.hold(OPERATOR, user.tenant_id, None, HoldCause.STAFF, "a look")


def check_held(services: MailServices) -> None:
    """What comes in is delivered; what goes on waits under the hold, and goes when it ends."""
    user = forwarder(services, keeps=False)
    waiting = take(services, mail(user.address), user.address)
    [before] = queued(services, user)
    hold(services, user)
    assert waiting == take(services, mail(user.address), user.address) == [None]
    entries = queued(services, user)
    assert [(one.state, one.held) for one in entries] == [(EntryState.HELD, SENDING_HOLD)] * 2
    assert count(services, user) == 1, "kept here as well, as nobody knows how long it waits"
    (held,) = services.sending_holds.list_of_tenant(user.tenant_id)
    assert services.sending_holds.waiting(held) == 2
    assert services.sending_holds.release(OPERATOR, user.tenant_id, None, "all is well") == 2
    assert {one.state for one in queued(services, user)} == {EntryState.QUEUED}
    assert before.id in {one.id for one in queued(services, user)}


def test_forwards_of_a_held_tenant_wait_and_the_mail_is_delivered(services: MailServices) -> None:
    check_held(services)


def test_forwards_that_know_no_holds_would_leave(services: MailServices, monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control of the above."""
    monkeypatch.setattr(forwarding, "held_with", lambda _: None)
    with pytest.raises(AssertionError):
        check_held(services)


def test_a_forwarded_address_and_a_group_of_a_held_tenant_wait(services: MailServices) -> None:
    tenant_id, domain = make_tenant(services)
    owner = make_user(services, tenant=(tenant_id, domain))
    services.forwarded_addresses.create(OPERATOR, tenant_id, f"info@{domain}", [TARGET])
    services.groups.create(OPERATOR, tenant_id, f"all@{domain}", [TARGET, owner.address])
    hold(services, owner)
    for address in (f"info@{domain}", f"all@{domain}"):
        assert take(services, mail(address), address) == [None]
    assert [one.held for one in queued(services, owner)] == [SENDING_HOLD] * 2
    assert count(services, owner) == 1


def test_a_held_tenant_answers_nobody_by_itself(services: MailServices) -> None:
    user = make_user(services)
    services.autoreplies.set(OPERATOR, user.user_id, {"is_on": True, "text": "away"})
    hold(services, user)
    assert take(services, mail(user.address), user.address) == [None]
    assert (count(services, user), queued(services, user)) == (1, [])
    services.sending_holds.release(OPERATOR, user.tenant_id, None, "all is well")
    take(services, mail(user.address), user.address)
    assert [one.reason for one in queued(services, user)] == [Reason.AUTOREPLY]


def limited(services: MailServices, recipients: int) -> MadeUser:
    """A user who has mail sent on, of a tenant that may send to so many a day."""
    user = forwarder(services, keeps=False)
    services.tenants.set_sending_limit(OPERATOR, user.tenant_id, "tenant_recipients_per_day", recipients, "young")
    return user


def check_counted(services: MailServices) -> None:
    user = limited(services, 4)
    for _ in range(4):
        assert take(services, mail(user.address), user.address) == [None]
    assert (len(queued(services, user)), count(services, user)) == (2, 2), "half of a day's; the rest is kept"
    assert services.usage.used_of_tenant(user.tenant_id)["tenant_recipients_per_day"] == 2
    for _ in range(2):
        services.usage.spend_on_sending(user.user_id, user.tenant_id, "x.test", 1)
    with pytest.raises(RateExceeded):
        services.usage.spend_on_sending(user.user_id, user.tenant_id, "x.test", 1)


def test_forwards_count_for_the_tenant_and_leave_half_for_its_people(services: MailServices) -> None:
    check_counted(services)


def test_forwards_that_count_for_nobody_would_pass_the_limit(
    services: MailServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control of the above."""
    monkeypatch.setattr(Usage, "spend_unasked", lambda *_: None)
    with pytest.raises(AssertionError):
        check_counted(services)


def test_forwards_get_nothing_where_people_have_sent_all(services: MailServices) -> None:
    user = limited(services, 4)
    services.usage.spend_on_sending(user.user_id, user.tenant_id, "x.test", 4)
    assert take(services, mail(user.address), user.address) == [None]
    assert (queued(services, user), count(services, user)) == ([], 1)


def test_a_forwarded_address_of_a_tenant_without_room_is_tried_again(services: MailServices) -> None:
    tenant_id, domain = make_tenant(services)
    owner = make_user(services, tenant=(tenant_id, domain))
    services.tenants.set_sending_limit(OPERATOR, tenant_id, "tenant_recipients_per_day", 2, "young")
    services.forwarded_addresses.create(OPERATOR, tenant_id, f"info@{domain}", [TARGET])
    assert take(services, mail(f"info@{domain}"), f"info@{domain}") == [None]
    [refused] = take(services, mail(f"info@{domain}"), f"info@{domain}")
    assert isinstance(refused, RateExceeded)
    assert len(queued(services, owner)) == 1


def crash() -> None:
    raise Crash


def check_repeats(services: MailServices, point: str) -> None:
    user = forwarder(services, TARGET)
    raw = mail(user.address)
    fault.install({point: crash})
    with suppress(Crash):
        take(services, raw, user.address, ident="Q1")
    fault.install({})
    for _ in range(2):
        assert take(services, raw, user.address, ident="Q1") == [None]
    assert (count(services, user), len(queued(services, user))) == (1, 1)
    take(services, raw, user.address, ident="Q2")
    assert (count(services, user), len(queued(services, user))) == (2, 2)


@pytest.mark.parametrize("point", ["commit.after_push", "outbound.after_insert", "forward.after_enqueue"])
def test_a_delivery_that_died_and_is_repeated_goes_on_once(services: MailServices, point: str) -> None:
    """P3, F10: equal messages sent twice stay two."""
    check_repeats(services, point)


def test_a_queue_without_memory_sends_twice(services: MailServices, monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: every try under a key of its own."""
    monkeypatch.setattr(Arrival, "copy_id", lambda *_: None)
    with pytest.raises(AssertionError):
        check_repeats(services, "forward.after_enqueue")


def test_a_queue_that_is_away_is_temporary_trouble(services: MailServices, monkeypatch: pytest.MonkeyPatch) -> None:
    """P12: 250 comes after the queue has it."""
    user = forwarder(services)
    raw = mail(user.address)

    def away_now(*_: object) -> None:
        raise StoreUnavailable("queue")

    with monkeypatch.context() as patched:
        patched.setattr(services.queueing, "enqueue", away_now)
        [error] = take(services, raw, user.address, ident="Q")
    assert isinstance(error, StoreUnavailable)
    assert take(services, raw, user.address, ident="Q") == [None]
    assert (count(services, user), len(queued(services, user))) == (1, 1)


# -- groups and forwarded addresses -------------------------------------------------------------


def test_a_group_is_one_answer_after_all_of_its_parts(services: MailServices) -> None:
    tenant = make_tenant(services)
    members = [make_user(services, tenant=tenant) for _ in range(3)]
    addresses = [*(member.address for member in members), TARGET]
    group = services.groups.create(OPERATOR, tenant[0], f"all@{tenant[1]}", addresses)
    raw = mail(group.display)
    for _ in range(2):
        assert take(services, raw, group.display, ident="Q") == [None]
    assert [count(services, member) for member in members] == [1, 1, 1]
    [entry] = queued(services, members[0])
    assert paths(entry) == [TARGET]
    assert content(services, entry).endswith(raw)


def test_a_member_without_room_is_no_reason_to_refuse_the_post(services: MailServices) -> None:
    tenant = make_tenant(services)
    full, fine = make_user(services, tenant=tenant, quota_bytes=10), make_user(services, tenant=tenant)
    group = services.groups.create(OPERATOR, tenant[0], f"all@{tenant[1]}", [full.address, fine.address])
    assert take(services, mail(group.display), group.display) == [None]
    assert (count(services, full), count(services, fine)) == (0, 1)


def test_a_member_that_cannot_get_it_now_gets_it_with_the_repeat_and_nobody_twice(
    services: MailServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant = make_tenant(services)
    one, two = make_user(services, tenant=tenant), make_user(services, tenant=tenant)
    group = services.groups.create(OPERATOR, tenant[0], f"all@{tenant[1]}", [one.address, two.address])
    raw = mail(group.display)
    real = type(services.messages).commit_rows

    def not_two(self: object, user_id: object, *rest: object, **options: object) -> object:
        if user_id == two.user_id:
            raise StoreUnavailable("shard")
        return real(self, user_id, *rest, **options)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(type(services.messages), "commit_rows", not_two)
        [error] = take(services, raw, group.display, ident="Q")
    assert isinstance(error, StoreUnavailable)
    assert take(services, raw, group.display, ident="Q") == [None]
    assert (count(services, one), count(services, two)) == (1, 1)


def test_a_group_of_many_elsewhere_is_queued_in_parts(services: MailServices, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forwarding, "MOST_RECIPIENTS", 2)
    tenant = make_tenant(services)
    postmaster = make_user(services, tenant=tenant)
    many = [f"m{number}@elsewhere.test" for number in range(5)]
    group = services.groups.create(OPERATOR, tenant[0], f"all@{tenant[1]}", many)
    for _ in range(2):
        assert take(services, mail(group.display, "Message-Id: <same@x>"), group.display) == [None]
    entries = queued(services, postmaster)
    assert sorted(path for entry in entries for path in paths(entry)) == sorted([*many, *many])
    assert sorted(len(entry.recipients) for entry in entries) == [1, 1, 2, 2, 2, 2]


def test_a_moderated_post_waits_for_everybody(services: MailServices) -> None:
    tenant = make_tenant(services)
    moderator, member = make_user(services, tenant=tenant), make_user(services, tenant=tenant)
    group = services.groups.create(
        OPERATOR, tenant[0], f"all@{tenant[1]}", [member.address, TARGET], moderators=[moderator.user_id]
    )
    assert take(services, mail(group.display), group.display) == [None]
    assert count(services, member) == 0
    [entry] = queued(services, moderator)
    assert (entry.reason, paths(entry)) == (Reason.MODERATION, [member.address, TARGET])
    assert entry.held


def test_a_forwarded_address_sends_on_answers_and_has_limits(services: MailServices) -> None:
    tenant = make_tenant(services)
    postmaster = make_user(services, tenant=tenant)
    entry = services.forwarded_addresses.create(OPERATOR, tenant[0], f"info@{tenant[1]}", [TARGET], forwards_per_day=1)
    assert take(services, mail(entry.display), entry.display) == [None]
    [sent] = queued(services, postmaster)
    assert paths(sent) == [TARGET]
    [error] = take(services, mail(entry.display), entry.display)
    assert isinstance(error, RateExceeded), "there is no copy here: the sender's agent tries again"
    [error] = take(services, content(services, sent), entry.display)
    assert isinstance(error, MailLoop)
    assert count(services, postmaster) == 0


def check_at_once(services: MailServices) -> None:
    """Two servers that get the same try at once, as after a lost answer."""
    user = forwarder(services)
    raw = mail(user.address)
    ready = threading.Barrier(2)

    def serve() -> None:
        ready.wait(10)
        take(services, raw, user.address, ident="Q")

    threads = [threading.Thread(target=serve) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(queued(services, user)) == 1


def test_a_try_that_comes_twice_at_once_goes_on_once(services: MailServices) -> None:
    check_at_once(services)


def test_who_has_set_up_nothing_pays_nothing(services: MailServices, monkeypatch: pytest.MonkeyPatch) -> None:
    """No look at marks, no count, no key."""
    user = make_user(services)

    def never(*_: object, **__: object) -> None:
        raise AssertionError

    for name in ("has_landed", "admitted", "send"):
        monkeypatch.setattr(forwarding.Forwarding, name, never)
    take(services, mail(user.address), user.address)
    assert find_all(box(services, user)[0], b"subject")


# -- suspended, or not paid (decision 46) -------------------------------------------------------

Stop = Callable[[MailServices, MadeUser], None]
STOPS: dict[str, Stop] = {
    "the user is suspended": lambda services, user: services.users.set_state(OPERATOR, user.user_id, State.SUSPENDED),
    "the tenant is suspended": lambda services, user: services.tenants.set_state(
        OPERATOR, user.tenant_id, State.SUSPENDED
    ),
    **{
        f"the standing is {standing.value}": lambda services, user, standing=standing: services.tenants.set_standing(  # type: ignore[misc]
            OPERATOR, user.tenant_id, standing
        )
        for standing in (Standing.NO_SENDING, Standing.READ_ONLY, Standing.CLOSED)
    },
}
REDIRECT = 'require ["vacation"]; vacation "away"; redirect "home@elsewhere.test";'


def check_nothing_leaves(services: MailServices, stop: Stop) -> None:
    """Neither by setting nor by script, and no answer; the mail is kept though it would only have been sent on."""
    user = forwarder(services, keeps=False)
    by_script, away = (make_user(services, tenant=(user.tenant_id, user.address.rpartition("@")[2])) for _ in range(2))
    services.scripts.put(OPERATOR, by_script.user_id, "main", REDIRECT.encode())
    services.scripts.activate(OPERATOR, by_script.user_id, "main")
    services.autoreplies.set(OPERATOR, away.user_id, {"is_on": True, "text": "away"})
    for one in (user, by_script, away):
        stop(services, one)
        assert take(services, mail(one.address), one.address) == [None]
        assert (count(services, one), queued(services, one)) == (1, []), one.address


@pytest.mark.parametrize("stop", STOPS.values(), ids=STOPS)
def test_nothing_of_who_is_suspended_or_has_not_paid_leaves_by_itself(services: MailServices, stop: Stop) -> None:
    check_nothing_leaves(services, stop)


def test_forwards_that_know_no_standing_would_leave(services: MailServices, monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control of the above."""
    monkeypatch.setattr(inbound, "sends_by_itself", lambda *_: True)
    with pytest.raises(AssertionError):
        check_nothing_leaves(services, STOPS["the user is suspended"])


@pytest.mark.parametrize("stop", list(STOPS.values())[1:], ids=list(STOPS)[1:])
def test_an_address_that_only_leads_elsewhere_is_tried_again(services: MailServices, stop: Stop) -> None:
    """There is nowhere to keep its mail; a group reaches its members here."""
    tenant_id, domain = make_tenant(services)
    owner = make_user(services, tenant=(tenant_id, domain))
    services.forwarded_addresses.create(OPERATOR, tenant_id, f"info@{domain}", [TARGET])
    services.groups.create(OPERATOR, tenant_id, f"outside@{domain}", [TARGET])
    services.groups.create(OPERATOR, tenant_id, f"all@{domain}", [TARGET, owner.address])
    known = services.delivery.resolve(f"info@{domain}", SENDER)
    stop(services, owner)
    for name in ("info", "outside"):
        with pytest.raises(ForwardingStopped) as refused:
            services.delivery.resolve(f"{name}@{domain}", SENDER)
        assert reply_for(refused.value).code == 450
    raw = mail(f"info@{domain}")
    [late] = services.delivery.deliver(raw, [DeliveryTarget(known)], None, MTA, SENDER)
    assert isinstance(late.error, ForwardingStopped), "it was stopped between RCPT and DATA"
    assert take(services, mail(f"all@{domain}"), f"all@{domain}") == [None]
    assert (count(services, owner), queued(services, owner)) == (1, [])


def test_one_who_is_suspended_stops_nothing_of_the_tenants(services: MailServices) -> None:
    """Also the oldest user, on whose behalf its addresses send on."""
    tenant_id, domain = make_tenant(services)
    oldest = make_user(services, tenant=(tenant_id, domain))
    services.forwarded_addresses.create(OPERATOR, tenant_id, f"info@{domain}", [TARGET])
    services.users.set_state(OPERATOR, oldest.user_id, State.SUSPENDED)
    assert take(services, mail(f"info@{domain}"), f"info@{domain}") == [None]
    assert [paths(entry) for entry in queued(services, oldest)] == [[TARGET]]


def test_no_moderator_lets_a_post_go_while_sending_is_stopped(services: MailServices) -> None:
    tenant = make_tenant(services)
    moderator = make_user(services, tenant=tenant)
    members = [moderator.address, TARGET]
    group = services.groups.create(OPERATOR, tenant[0], f"all@{tenant[1]}", members, moderators=[moderator.user_id])
    take(services, mail(group.display), group.display)
    [entry] = queued(services, moderator)
    actor = Actor(ActorKind.USER, Door.API, moderator.address, moderator.user_id)
    services.tenants.set_standing(OPERATOR, tenant[0], Standing.NO_SENDING)
    with pytest.raises(SendingStopped):
        services.outbound.release(actor, moderator.user_id, entry.id)
    assert [one.state for one in queued(services, moderator)] == [EntryState.HELD]
    services.tenants.set_standing(OPERATOR, tenant[0], Standing.FULL)
    services.outbound.release(actor, moderator.user_id, entry.id)
    assert [one.state for one in queued(services, moderator)] == [EntryState.QUEUED]
