"""Automatic replies and forwards between users, tenants and an outside that answers everything end by themselves."""

from __future__ import annotations

import re
from collections.abc import Callable
from email import message_from_bytes
from email.utils import make_msgid

import pytest

from mailcore.model.actor import Actor, ActorKind, Door
from mailcore.model.outbound import Reason
from mailcore.relay.handling import Handling
from mailcore.services.inbound import forwarding, responder
from mailcore.services.inbound.delivery import DeliveryTarget
from tests.builders import OPERATOR, MadeUser, make_tenant, make_user
from tests.relay.conftest import Relaying, one_after_the_other
from tests.stubs.outside import MailExchanger, Taken

MTA = Actor(ActorKind.MTA, Door.LMTP, "mx.eider.test")
MOST = 30
"""So many messages may be handed over; what ends by itself ends long before."""
Echo = Callable[[Taken], tuple[str, bytes]]


def answering(taken: Taken) -> tuple[str, bytes]:
    """An outside that answers whatever comes, as no program should: from a person's address, saying nothing of it."""
    came = message_from_bytes(content_of(taken))
    sender, own = came.get("From", ""), path_of(taken.recipients[0])
    head = f"From: {own}\r\nTo: {sender}\r\nSubject: Re: {came.get('Subject', '')}\r\n"
    return own, f"{head}Message-ID: {make_msgid()}\r\n\r\nanswered\r\n".encode()


def returning(taken: Taken) -> tuple[str, bytes]:
    """An outside that sends on whatever comes, without a look, to where it came from."""
    return path_of(taken.recipients[0]), b"Received: from here by echo.test; now\r\n" + content_of(taken)


def path_of(command: str) -> str:
    """The address in what MAIL or RCPT said."""
    found = re.search(r"<([^>]*)>", command)
    assert found is not None
    return found[1]


def content_of(taken: Taken) -> bytes:
    return taken.wire.removesuffix(b".\r\n").replace(b"\r\n..", b"\r\n.")


class Exchange:
    """Everybody's mail, until nothing moves any more."""

    def __init__(self, relaying: Relaying) -> None:
        self.relaying = relaying
        self.services = relaying.services
        self.handed_over = 0
        self.sent = 0
        """Messages that the outside got."""

    def user(self, **settings: object) -> MadeUser:
        """A user of a tenant and domain of its own, whose mail comes here."""
        return self.member(make_tenant(self.services, "a"), **settings)

    def member(self, tenant: tuple[object, str], **settings: object) -> MadeUser:
        user = make_user(self.services, tenant=tenant)  # type: ignore[arg-type]
        self.relaying.world.dns.add(user.address.rpartition("@")[2], "MX", "10 mx.eider.test.")
        if settings:
            self.services.users.set_settings(OPERATOR, user.user_id, settings)
        return user

    def away(self, *users: MadeUser) -> None:
        for user in users:
            self.services.autoreplies.set(OPERATOR, user.user_id, {"is_on": True, "text": "away"})

    def let_in(self, raw: bytes, sender: str, address: str) -> None:
        target = DeliveryTarget(
            self.services.delivery.resolve(address, sender or None), f"Delivered-To: {address}\r\n".encode()
        )
        [result] = self.services.delivery.deliver(raw, [target], None, MTA, sender)
        assert result.error is None, result.error

    def run(self, echo: MailExchanger | None = None, how: Echo = answering, back_to: MadeUser | None = None) -> None:
        """Hand everything over until all is quiet; the outside answers or returns what it gets."""
        seen = 0
        while self._relay() or (echo is not None and len(echo.accepted) > seen):
            for taken in echo.accepted[seen:] if echo is not None else []:
                seen += 1
                sender, raw = how(taken)
                to = back_to.address if back_to is not None else path_of(taken.mail)
                if to:
                    self.let_in(raw, sender, to)
        self.sent = seen

    def _relay(self) -> bool:
        """Hand over what is due now; return whether anything was."""
        work = self.relaying.parts.work
        claims = [claim for shard in self.services.placement.shards() if (claim := work.claim(shard)) is not None]
        for claim in claims:
            self.handed_over += 1
            Handling(self.relaying.parts, claim, one_after_the_other).run()
        assert self.handed_over < MOST, "it does not end"
        return bool(claims)

    def count(self, user: MadeUser) -> int:
        return self.services.mailboxes.open(user.user_id, "INBOX").exists

    def replies(self, *users: MadeUser) -> int:
        entries = [
            entry for user in users for entry in self.services.outbound.list_of_user(user.user_id, waiting=False)
        ]
        return sum(entry.reason is Reason.AUTOREPLY for entry in entries)


def first(to: str, sender: str) -> bytes:
    return f"From: {sender}\r\nTo: {to}\r\nSubject: hello\r\nMessage-ID: {make_msgid()}\r\n\r\nhello\r\n".encode()


@pytest.fixture
def exchange(relaying: Relaying) -> Exchange:
    return Exchange(relaying)


def check_two_users(exchange: Exchange, *, one_tenant: bool) -> None:
    tenant = make_tenant(exchange.services, "a")
    ada = exchange.member(tenant)
    bob = exchange.member(tenant) if one_tenant else exchange.user()
    exchange.away(ada, bob)
    exchange.let_in(first(ada.address, bob.address), bob.address, ada.address)
    exchange.let_in(first(bob.address, ada.address), ada.address, bob.address)
    exchange.run()
    assert (exchange.replies(ada), exchange.replies(bob)) == (1, 1)
    assert (exchange.count(ada), exchange.count(bob)) == (2, 2)
    assert exchange.handed_over == 2


@pytest.mark.parametrize("one_tenant", [True, False], ids=["one-tenant", "two-tenants"])
def test_two_users_who_are_away_answer_each_other_once(exchange: Exchange, one_tenant: bool) -> None:
    """M10: one answer each way, which nobody answers."""
    check_two_users(exchange, one_tenant=one_tenant)


def test_answers_to_answers_would_be_seen(exchange: Exchange, monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: whoever answers everything, from the user's own address, does not end."""
    monkeypatch.setattr(responder.Responder, "may_answer", lambda *_: True)
    monkeypatch.setattr(responder, "NewOutbound", _from_the_user)
    real = exchange.services.placement.shard("a").autoreplies
    monkeypatch.setattr(type(real), "is_claimed", lambda *_: False)
    monkeypatch.setattr(type(real), "claim", lambda *_: True)
    with pytest.raises(AssertionError):
        check_two_users(exchange, one_tenant=True)


def _from_the_user(**fields: object) -> object:
    from mailcore.model.outbound import NewOutbound

    found = re.search(rb"^From: .*?([^ <]+@[^ >\r]+)", fields["message"], re.MULTILINE)  # type: ignore[call-overload]
    assert found is not None
    return NewOutbound(**fields | {"reverse_path": found[1].decode()})  # type: ignore[arg-type]


def test_an_outside_that_answers_everything_gets_one_answer(exchange: Exchange) -> None:
    echo = exchange.relaying.world.domain(f"echo{id(exchange)}.test")
    address = f"robot@echo{id(exchange)}.test"
    ada = exchange.user()
    exchange.away(ada)
    exchange.let_in(first(ada.address, address), address, ada.address)
    exchange.run(echo, back_to=ada)
    assert exchange.replies(ada) == exchange.sent == 1
    assert exchange.count(ada) == 2, "the first message, and the answer to the answer"


def check_circle(exchange: Exchange) -> None:
    """A to B to C and back to A, of three tenants; saved past the check, as by two administrators at once."""
    users = [exchange.user() for _ in range(3)]
    for user, target in zip(users, [*users[1:], users[0]], strict=True):
        exchange.services.placement.directory.user_changes.set_settings(
            user.user_id,
            exchange.services.users.get(user.user_id).settings.changed({"targets": (target.address,)}),
            frozenset({"targets"}),
        )
        exchange.services.placement.forget(user.user_id)
    exchange.let_in(first(users[0].address, "x@outside.test"), "x@outside.test", users[0].address)
    exchange.run()
    assert [exchange.count(user) for user in users] == [1, 1, 1]
    assert exchange.handed_over == 3


def test_a_circle_of_forwards_through_three_tenants_lands_once_with_each(exchange: Exchange) -> None:
    """M11."""
    check_circle(exchange)


def test_a_circle_that_nobody_cuts_would_be_seen(exchange: Exchange, monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control of M11."""
    monkeypatch.setattr(forwarding.Forwarding, "has_landed", lambda *_: False)
    monkeypatch.setattr(forwarding.Arrival, "passed", frozenset())
    with pytest.raises(AssertionError):
        check_circle(exchange)


def test_an_outside_that_sends_everything_back_gets_it_once(exchange: Exchange) -> None:
    domain = f"back{id(exchange)}.test"
    echo = exchange.relaying.world.domain(domain)
    ada = exchange.user(targets=(f"ada@{domain}",))
    exchange.away(ada)
    exchange.let_in(first(ada.address, "x@outside.test"), "x@outside.test", ada.address)
    exchange.relaying.world.domain("outside.test")
    exchange.run(echo, returning, back_to=ada)
    assert exchange.sent == 1
    assert exchange.count(ada) == 1


def test_bounces_of_what_was_sent_on_reach_the_first_sender_and_go_no_further(exchange: Exchange) -> None:
    """A target that refuses: the report to the rewritten path goes back, and is never answered or bounced itself."""
    domain, origin = f"no{id(exchange)}.test", f"from{id(exchange)}.test"
    refusing = exchange.relaying.world.domain(domain)
    refusing.behaviour.content = "550 5.7.1 no"
    home = exchange.relaying.world.domain(origin)
    exchange.relaying.world.dns.add("relay.eider.test", "MX", "10 mx.eider.test.")
    ada = exchange.user(targets=(f"ada@{domain}",))
    exchange.let_in(first(ada.address, f"bob@{origin}"), f"bob@{origin}", ada.address)
    exchange.run()
    reports = [taken for taken in home.accepted if b"multipart/report" in taken.wire]
    assert [(path_of(each.mail), *map(path_of, each.recipients)) for each in reports] == [("", f"bob@{origin}")]
    assert exchange.count(ada) == 1


def test_two_who_forward_to_each_other_are_refused_when_saved(exchange: Exchange) -> None:
    from mailcore.errors import AddressCycle

    ada, bob = exchange.user(), exchange.user()
    exchange.services.users.set_settings(OPERATOR, ada.user_id, {"targets": (bob.address,)})
    with pytest.raises(AddressCycle):
        exchange.services.users.set_settings(OPERATOR, bob.user_id, {"targets": (ada.address,)})
    with pytest.raises(AddressCycle):
        exchange.services.users.set_settings(OPERATOR, bob.user_id, {"targets": (bob.address,)})
