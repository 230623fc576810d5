"""Automatic replies to the letter of RFC 3834: who is answered, how often, and by whom of many servers."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from typing import Any

import dkim
import pytest

from mailcore import fault
from mailcore.errors import StoreUnavailable, UserNotFound, ValueInvalid
from mailcore.model.ids import UserId
from mailcore.model.outbound import Reason
from mailcore.services import MailServices
from mailcore.services.inbound import responder
from mailcore.store.user import autoreplies as stored
from tests.builders import OPERATOR, MadeUser, make_services, make_tenant, make_user
from tests.services.inbound_mail import SENDER, box, content, count, mail, queued, take

AWAY = {"is_on": True, "subject": "Away", "text": "I am away until Monday."}


@pytest.fixture(autouse=True)
def disarm() -> Iterator[None]:
    yield
    fault.install({})


def away(services: MailServices, **changes: Any) -> MadeUser:
    user = make_user(services)
    services.autoreplies.set(OPERATOR, user.user_id, AWAY | changes)
    return user


def test_a_sender_is_answered_once(services: MailServices) -> None:
    user = away(services, html="<p>away</p>", name="Ada")
    for _ in range(3):
        assert take(services, mail(user.address), user.address) == [None]
    assert count(services, user) == 3
    [entry] = queued(services, user)
    assert (entry.reason, entry.reverse_path, entry.recipients[0].address) == (Reason.AUTOREPLY, "", SENDER)
    assert entry.recipients[0].notify == frozenset(), "nobody is told of an answer that does not arrive"
    answer = message_from_bytes(content(services, entry), policy=policy.default)
    assert answer["From"] == f"Ada <{user.address}>"
    assert answer["To"] == SENDER
    assert answer["Subject"] == "Away"
    assert answer["Auto-Submitted"] == "auto-replied"
    assert answer["In-Reply-To"] == answer["References"]
    take(services, mail(user.address), user.address, sender="carol@outside.test")
    assert len(queued(services, user)) == 2


def test_a_sender_whose_path_changes_every_day_is_answered_once(services: MailServices) -> None:
    """Mail that was sent on comes from another rewritten path each day."""
    user = away(services)
    for day in ("aa", "ab", "ac"):
        sender = "SRS0=h4sh=" + day + "=outside.test=bob@relay.test"
        take(services, mail(user.address), user.address, sender=sender)
    take(services, mail(user.address), user.address, sender=SENDER)
    [entry] = queued(services, user)
    assert entry.recipients[0].address == "SRS0=h4sh=aa=outside.test=bob@relay.test"


NEVER = [
    pytest.param(["Auto-Submitted: auto-replied"], SENDER, id="auto-submitted"),
    pytest.param(["Precedence: bulk"], SENDER, id="bulk"),
    pytest.param(["List-Id: <l.outside.test>"], SENDER, id="list"),
    pytest.param(["X-Auto-Response-Suppress: OOF"], SENDER, id="suppressed"),
    pytest.param([], "", id="null"),
    pytest.param([], "MAILER-DAEMON@outside.test", id="mailer-daemon"),
    pytest.param([], "owner-list@outside.test", id="owner"),
    pytest.param([], "list-request@outside.test", id="request"),
    pytest.param([], "list-bounces+ada=here@outside.test", id="bounces"),
]


def check_never(services: MailServices, fields: list[str], sender: str) -> None:
    user = away(services)
    assert take(services, mail(user.address, *fields), user.address, sender=sender) == [None]
    assert count(services, user) == 1
    assert queued(services, user) == []


@pytest.mark.parametrize(("fields", "sender"), NEVER)
def test_what_a_program_sent_is_never_answered(services: MailServices, fields: list[str], sender: str) -> None:
    """M10."""
    check_never(services, fields, sender)


@pytest.mark.parametrize(("fields", "sender"), NEVER)
def test_answer_to_everybody_would_be_seen(
    services: MailServices, fields: list[str], sender: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control of M10."""
    monkeypatch.setattr(responder.Responder, "may_answer", lambda *_: True)
    with pytest.raises((AssertionError, ValueError)):
        check_never(services, fields, sender or "someone@outside.test")


def test_only_mail_that_names_the_user_is_answered(services: MailServices) -> None:
    """RFC 3834 §2: an own address in To or Cc; being on a list or a hidden copy is no reason to answer."""
    user = away(services)
    domain = user.address.partition("@")[2]
    services.addresses.create(OPERATOR, user.user_id, f"second.name@{domain}")
    take(services, mail("others@outside.test"), user.address)
    assert queued(services, user) == []
    take(services, mail("x@outside.test", f"Cc: Second <SecondName+tag@{domain}>"), f"secondname+tag@{domain}")
    [entry] = queued(services, user)
    assert message_from_bytes(content(services, entry), policy=policy.default)["From"] == f"second.name@{domain}"


def test_own_mail_is_not_answered(services: MailServices) -> None:
    user = away(services)
    take(services, mail(user.address, sender=user.address), user.address, sender=user.address)
    assert queued(services, user) == []


def test_member_of_a_group_is_not_named_by_its_address(services: MailServices) -> None:
    tenant = make_tenant(services)
    user = make_user(services, tenant=tenant)
    services.autoreplies.set(OPERATOR, user.user_id, AWAY)
    group = services.groups.create(OPERATOR, tenant[0], f"team@{tenant[1]}", [user.address])
    take(services, mail(group.display), group.display)
    assert (count(services, user), queued(services, user)) == (1, [])


@pytest.mark.parametrize(
    ("changes", "answers"),
    [
        ({"start": timedelta(hours=1)}, 0),
        ({"start": timedelta(hours=-1)}, 1),
        ({"end": timedelta(hours=-1)}, 0),
        ({"start": timedelta(hours=-1), "end": timedelta(hours=1)}, 1),
        ({"is_on": False}, 0),
    ],
)
def test_only_in_its_time(services: MailServices, changes: dict[str, Any], answers: int) -> None:
    moment = datetime.now(UTC)
    given = {name: moment + by if isinstance(by, timedelta) else by for name, by in changes.items()}
    user = away(services, **given)
    take(services, mail(user.address), user.address)
    assert len(queued(services, user)) == answers


def test_changed_words_are_sent_again_and_none_after_it_is_taken_away(services: MailServices) -> None:
    user = away(services)
    take(services, mail(user.address), user.address)
    services.autoreplies.set(OPERATOR, user.user_id, {"text": "Until Tuesday."})
    take(services, mail(user.address), user.address)
    entries = queued(services, user)
    assert [b"Tuesday" in content(services, entry) for entry in entries] == [False, True]
    services.autoreplies.delete(OPERATOR, user.user_id)
    take(services, mail(user.address), user.address, sender="carol@outside.test")
    assert len(queued(services, user)) == 2
    assert services.autoreplies.get(user.user_id).text == ""


def test_a_sender_is_answered_again_when_the_period_is_over(
    services: MailServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = away(services)
    take(services, mail(user.address), user.address)
    later = responder.now() + timedelta(days=4, minutes=1)
    monkeypatch.setattr(responder, "now", lambda: later)
    take(services, mail(user.address), user.address)
    take(services, mail(user.address), user.address)
    assert len(queued(services, user)) == 2


def check_servers_at_once(directory_uri: str, shard_uris: dict[str, Any], redis_url: str) -> None:
    servers = [make_services(directory_uri, shard_uris, redis_url) for _ in range(4)]
    try:
        user = away(servers[0])
        ready = threading.Barrier(len(servers))

        def serve(server: MailServices) -> None:
            ready.wait(10)
            take(server, mail(user.address), user.address)

        threads = [threading.Thread(target=serve, args=(server,)) for server in servers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert count(servers[0], user) == len(servers)
        assert len(queued(servers[0], user)) == 1
    finally:
        for server in servers:
            server.close()


def test_servers_that_get_mail_at_once_answer_once(
    directory_uri: str, shard_uris: dict[str, Any], redis_url: str
) -> None:
    check_servers_at_once(directory_uri, shard_uris, redis_url)


def test_a_memory_that_is_looked_at_and_not_claimed_answers_more_than_once(
    directory_uri: str, shard_uris: dict[str, Any], redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control: four servers that each looked and saw nothing."""
    monkeypatch.setattr(stored.Autoreplies, "is_claimed", lambda *_: False)
    monkeypatch.setattr(stored.Autoreplies, "claim", lambda *_: True)
    with pytest.raises(AssertionError):
        check_servers_at_once(directory_uri, shard_uris, redis_url)


class Crash(BaseException):
    """As if the process had ended here."""


def crash() -> None:
    raise Crash


def check_repeats(services: MailServices, point: str) -> None:
    user = away(services)
    raw = mail(user.address)
    fault.install({point: crash})
    with suppress(Crash):
        take(services, raw, user.address, ident="Q1")
    fault.install({})
    for _ in range(2):
        assert take(services, raw, user.address, ident="Q1") == [None]
    assert count(services, user) == 1
    assert len(queued(services, user)) == 1


@pytest.mark.parametrize(
    "point", ["commit.after_push", "autoreply.after_claim", "outbound.after_insert", "delivery.before_reply"]
)
def test_a_delivery_that_died_and_is_repeated_answers_once(services: MailServices, point: str) -> None:
    """P3, F10: dead before or after the answer was queued; the MTA comes again under its queue id."""
    check_repeats(services, point)


def test_a_claim_that_belongs_to_nobody_loses_the_answer(
    services: MailServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control: the process died between claim and queue, and the repeat finds somebody else's claim."""
    real = stored.Autoreplies.claim
    monkeypatch.setattr(
        stored.Autoreplies, "claim", lambda self, user_id, what, _cause, *when: real(self, user_id, what, b"x", *when)
    )
    with pytest.raises(AssertionError):
        check_repeats(services, "autoreply.after_claim")


def test_a_queue_that_is_away_is_temporary_trouble(services: MailServices, monkeypatch: pytest.MonkeyPatch) -> None:
    """P12: no 250 before the answer is queued; the repeat completes it."""
    user = away(services)
    raw = mail(user.address)

    def away_now(*_: object) -> None:
        raise StoreUnavailable("queue")

    with monkeypatch.context() as patched:
        patched.setattr(services.queueing, "enqueue", away_now)
        [error] = take(services, raw, user.address, ident="Q")
    assert isinstance(error, StoreUnavailable)
    assert take(services, raw, user.address, ident="Q") == [None]
    assert (count(services, user), len(queued(services, user))) == (1, 1)


def test_a_flood_of_senders_is_answered_so_often_and_remembered_no_further(services: MailServices) -> None:
    """M10: forged senders cannot make the table or the queue grow without end."""
    user = away(services)
    services.users.set_limit(OPERATOR, user.user_id, "autoreplies_per_day", 5)
    for number in range(12):
        take(services, mail(user.address), user.address, sender=f"s{number}@outside.test")
    shard = services.placement.home(user.user_id).shard
    assert len(queued(services, user)) == shard.autoreplies.remembered(user.user_id) == 5
    assert count(services, user) == 12
    rows = list(shard.hot["autoreplies"].find({"cause": {"$exists": True}}))
    assert rows
    assert all(row["expires_at"] for row in rows)


@pytest.mark.parametrize(
    "changes",
    [
        {"subject": "a\r\nBcc: all@x.test"},
        {"name": "Ada\n"},
        {"subject": "x" * 3000},
        {"text": "x" * 200_000},
        {"text": "a\x00b"},
        {"start": datetime(2026, 1, 2, tzinfo=UTC), "end": datetime(2026, 1, 1, tzinfo=UTC)},
        {"start": "tomorrow"},
        {"bcc": "all@x.test"},
        {"version": 7},
    ],
)
def test_what_cannot_be_sent_as_it_is_is_refused(services: MailServices, changes: dict[str, Any]) -> None:
    """M8."""
    user = make_user(services)
    with pytest.raises(ValueInvalid):
        services.autoreplies.set(OPERATOR, user.user_id, changes)
    assert services.autoreplies.get(user.user_id).created_at is None


def test_nobody_has_none(services: MailServices) -> None:
    from bson import ObjectId

    with pytest.raises(UserNotFound):
        services.autoreplies.set(OPERATOR, UserId(ObjectId()), AWAY)


def test_the_answer_is_about_the_message_as_it_came(services: MailServices) -> None:
    user = away(services, subject="")
    raw = mail(user.address)
    take(services, raw, user.address)
    [entry] = queued(services, user)
    number = raw.partition(b"Subject: Lunch ")[2].partition(b"\r\n")[0].decode()
    assert message_from_bytes(content(services, entry), policy=policy.default)["Subject"] == f"Auto: Lunch {number}"
    assert box(services, user)[0].endswith(raw)


def test_the_answer_is_signed_for_the_users_domain(services: MailServices) -> None:
    user = away(services)
    key = services.dkim_keys.create(OPERATOR, user.tenant_id, user.address.partition("@")[2])
    services.dkim_keys.activate(OPERATOR, user.tenant_id, key.id)
    take(services, mail(user.address), user.address)
    sent = content(services, queued(services, user)[0])
    assert dkim.verify(sent, dnsfunc=lambda *_, **__: key.record_value.encode())
    assert not dkim.verify(sent.replace(b"Monday", b"Sunday"), dnsfunc=lambda *_, **__: key.record_value.encode())
