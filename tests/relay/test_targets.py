"""Forwarding to URLs: a web address that takes the message by POST, a mail server whatever DNS says."""

from __future__ import annotations

from typing import Any

import pytest

from mailcore.errors import AddressInvalid, ValueInvalid
from mailcore.model.filter import RuleAction, RuleContent, of_user
from mailcore.model.outbound import OutboundEntry, RecipientState
from mailcore.net.outgoing import OutgoingClient
from mailcore.services.outbound.trace import Step
from mailcore.services.process.clock import now
from tests.builders import OPERATOR, make_user
from tests.relay.conftest import Relaying
from tests.services.inbound_mail import box, mail, queued, take
from tests.stubs.outside import Behaviour

SENT, QUEUED, FAILED = RecipientState.SENT, RecipientState.QUEUED, RecipientState.FAILED


@pytest.fixture
def hook(relaying: Relaying) -> str:
    """A web address of the outside."""
    relaying.world.dns.add("hooks.test", "A", relaying.world.policy_address)
    relaying.world.posted.clear()
    relaying.world.answers.clear()
    return "https://hooks.test/in/box?key=1"


def forwarding_to(relaying: Relaying, *targets: str, **more: Any) -> None:
    relaying.services.users.set_settings(OPERATOR, relaying.user.user_id, {"targets": targets, **more})


def arrive(relaying: Relaying, ident: str | None = None, raw: bytes | None = None) -> tuple[bytes, OutboundEntry]:
    raw = raw or mail(relaying.user.address, body="exact \t bytes")
    assert take(relaying.services, raw, relaying.user.address, ident=ident) == [None]
    return raw, queued(relaying.services, relaying.user)[-1]


def test_a_web_address_gets_the_message_as_it_is(relaying: Relaying, hook: str) -> None:
    forwarding_to(relaying, hook)
    raw, entry = arrive(relaying)
    relaying.run()
    (posted,) = relaying.world.posted
    assert posted.url == "hooks.test/in/box?key=1"
    assert posted.body.endswith(raw)
    assert posted.fields["Content-Type"] == "message/rfc822"
    assert posted.fields["Idempotency-Key"] == entry.id
    assert posted.fields["X-Eider-Recipient"] == relaying.user.address
    assert posted.fields["X-Eider-Sender"] == entry.reverse_path
    assert relaying.recipient(entry.id).state is SENT
    assert len(box(relaying.services, relaying.user)) == 1, "and a copy stays"
    relaying.services.trace.flush()
    shown = repr(relaying.services.trace.search(relaying.user.tenant_id, queue_id=entry.id))
    assert "https://hooks.test:443" in shown
    assert "key=1" not in shown, "what stands in the path may be secret"
    rows = relaying.services.trace.search(relaying.user.tenant_id, queue_id=entry.id)
    [sent] = [row for row in rows if row.step is Step.SENT]
    assert (entry.target_host, sent.detail["target"]) == ("hooks.test", "hooks.test")


def test_where_nobody_answered_no_code_is_told(relaying: Relaying) -> None:
    forwarding_to(relaying, "https://nowhere.hooks.test/in")
    _, entry = arrive(relaying)
    relaying.run()
    relaying.services.trace.flush()
    rows = relaying.services.trace.search(relaying.user.tenant_id, queue_id=entry.id)
    [answer] = [row.detail["answer"] for row in rows if "answer" in row.detail]
    assert answer.startswith(("4.", "5.")), answer


@pytest.mark.parametrize("status", [500, 503, 429, 401])
def test_what_may_work_later_is_tried_again_under_the_same_key(relaying: Relaying, hook: str, status: int) -> None:
    forwarding_to(relaying, hook)
    relaying.world.answers.append(status)
    _, entry = arrive(relaying)
    relaying.run()
    assert relaying.recipient(entry.id).state is QUEUED
    relaying.services.outbound.retry(OPERATOR, relaying.user.user_id, entry.id)
    relaying.run()
    assert relaying.recipient(entry.id).state is SENT
    assert [each.fields["Idempotency-Key"] for each in relaying.world.posted] == [entry.id] * 2


@pytest.mark.parametrize("status", [404, 410, 413, 302])
def test_what_never_works_ends_and_no_redirect_is_followed(relaying: Relaying, hook: str, status: int) -> None:
    forwarding_to(relaying, hook)
    relaying.world.answers.append(status)
    _, entry = arrive(relaying)
    relaying.run()
    assert relaying.recipient(entry.id).state is FAILED
    assert len(relaying.world.posted) == 1


def test_a_delivery_that_is_repeated_is_posted_once(relaying: Relaying, hook: str) -> None:
    forwarding_to(relaying, hook, "smtp://elsewhere.test", "home@elsewhere.test")
    raw = mail(relaying.user.address)
    for _ in range(3):
        arrive(relaying, "Q1", raw)
    vias = sorted(entry.via for entry in queued(relaying.services, relaying.user))
    assert vias == ["", hook, "smtp://elsewhere.test"]


def test_a_mail_server_gets_it_for_the_address_it_came_to(relaying: Relaying) -> None:
    """Whatever DNS says of the address's domain, which is ours."""
    exchanger = relaying.world.exchanger("own.test")
    forwarding_to(relaying, "smtp://own.test", keeps_forwarded=False)
    raw, entry = arrive(relaying)
    relaying.run()
    (taken,) = exchanger.accepted
    assert taken.recipients == (f"TO:<{relaying.user.address}>",)
    assert taken.message.endswith(raw)
    assert relaying.recipient(entry.id).state is SENT
    assert box(relaying.services, relaying.user) == []


def test_a_server_that_promises_tls_from_the_start_must_prove_itself(relaying: Relaying) -> None:
    exchanger = relaying.world.exchanger("plain-text.test", Behaviour())
    forwarding_to(relaying, "smtps://plain-text.test")
    _, entry = arrive(relaying)
    relaying.run()
    assert relaying.recipient(entry.id).state is QUEUED
    assert exchanger.accepted == []


FORBIDDEN = [
    "http://127.0.0.1/",
    "https://10.0.0.1/x",
    "http://[::1]/",
    "smtp://127.0.0.1",
    "http://169.254.169.254/latest",
]


@pytest.mark.parametrize("url", FORBIDDEN)
def test_nobody_reaches_what_is_inside(relaying: Relaying, url: str) -> None:
    """Attack W18: neither loopback, nor a private address, nor that of a cloud's metadata."""
    forwarding_to(relaying, url)
    _, entry = arrive(relaying)
    relaying.run()
    status = relaying.recipient(entry.id)
    assert (status.state, status.answer and status.answer.enhanced) == (FAILED, "5.4.4")


def test_without_the_check_the_inside_would_be_asked(relaying: Relaying, monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: nobody listens there, which only somebody who tries finds out."""
    monkeypatch.setattr(OutgoingClient, "objection", lambda *_: None)
    forwarding_to(relaying, "http://127.0.0.1/")
    _, entry = arrive(relaying)
    relaying.run()
    status = relaying.recipient(entry.id)
    assert (status.state, status.answer and status.answer.enhanced) == (QUEUED, "4.4.1")


REFUSED = [
    "ftp://hooks.test/", "https://user:secret@hooks.test/", "https://hooks.test:22/", "smtp://hooks.test:22",
    "smtp://hooks.test/path", "https://", "https://hooks.test/#x", "https://hooks.test/\r\nHost: x",
    "https://hö oks.test/", "https://hooks.test/" + "x" * 1100, "http://2130706433/", "javascript://x.test/",
]  # fmt: skip


@pytest.mark.parametrize("url", REFUSED)
def test_other_urls_are_refused_when_they_are_set(relaying: Relaying, url: str) -> None:
    with pytest.raises(ValueInvalid):
        forwarding_to(relaying, url)
    with pytest.raises(ValueInvalid):
        RuleAction(targets=(url,))
    with pytest.raises(AddressInvalid):
        relaying.services.forwarded_addresses.create(
            OPERATOR, relaying.user.tenant_id, f"x@{relaying.user.address.partition('@')[2]}", [url]
        )


def test_rules_and_forwarded_addresses_have_such_targets_too(relaying: Relaying, hook: str) -> None:
    services, user = relaying.services, relaying.user
    content = RuleContent(action=RuleAction(targets=(hook,)))
    services.filters.create(OPERATOR, of_user(user.user_id), content)
    raw, _ = arrive(relaying)
    relaying.run()
    assert [posted.body.endswith(raw) for posted in relaying.world.posted] == [True]
    assert len(box(services, user)) == 1
    listed = make_user(services)
    address = f"list{now().microsecond}@{listed.address.partition('@')[2]}"
    services.forwarded_addresses.create(OPERATOR, listed.tenant_id, address, [hook])
    raw = mail(address)
    assert take(services, raw, address) == [None]
    relaying.run()
    assert relaying.world.posted[1].body.endswith(raw)
    assert relaying.world.posted[1].fields["X-Eider-Recipient"] == address


def test_a_kill_between_the_post_and_the_record_posts_once_more_under_the_same_key(
    relaying: Relaying, hook: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fault F12: whoever takes posts can tell the repeat."""
    forwarding_to(relaying, hook)
    _, entry = arrive(relaying)
    with monkeypatch.context() as patch:

        def dies(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        patch.setattr(type(relaying.parts.work), "record", dies)
        with pytest.raises(KeyboardInterrupt):
            relaying.run()
    for shard in relaying.services.placement.shards():
        shard.hot["outbound"].update_many({"is_leased": True}, [{"$set": {"next_at": "$$NOW"}}])
    relaying.run()
    assert [each.fields["Idempotency-Key"] for each in relaying.world.posted] == [entry.id] * 2
    assert relaying.recipient(entry.id).state is SENT
