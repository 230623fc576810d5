"""What a login asks of MongoDB and of Redis, counted."""

from __future__ import annotations

import pytest

from mailcore.errors import AuthenticationFailed, TooManyConnections
from mailcore.model.access import Protocol
from mailcore.model.address_range import address_range
from mailcore.model.secret import Secret
from mailcore.sasl import PasswordOffer
from mailcore.services import MailServices
from mailcore.services.process.redis_link import RedisLink
from tests.builders import OPERATOR, PASSWORD, MadeUser, make_user
from tests.store.mailbox.test_round_trips import Listener


def sign_in(services: MailServices, user: MadeUser, address: str = "192.0.2.1") -> None:
    """As a session does."""
    identity = services.authentication.accept(PasswordOffer(user.address, Secret(PASSWORD)), Protocol.IMAP, address)
    services.connections.open(identity.user_id, identity.limits.connections)


def test_a_login_waits_once_for_mongodb_and_once_for_redis(
    watched: MailServices, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first before its hash, for leave to look at the password and for its connection; a repeated one for that.

    What was counted before the hash is taken back with the next question, and not by one of its own.
    """
    user = make_user(watched)
    watched.placement.tenant(user.tenant_id)
    asked: list[object] = []
    watched._link.start(lambda work: None)
    watched.connections.start(lambda work: None)
    ask = RedisLink.ask
    monkeypatch.setattr(RedisLink, "ask", lambda self, question: asked.append(question) or ask(self, question))

    listener.commands.clear()
    sign_in(watched, user)
    assert [command for _, command, _ in listener.commands] == ["find"], "the user by the main address"
    assert len(asked) == 1
    assert watched.connections.count(user.user_id) == 1
    assert set(watched.failed_logins.failures(user.user_id)) == {"anywhere", address_range("192.0.2.1")}, "not told yet"

    listener.commands.clear()
    asked.clear()
    sign_in(watched, user)
    assert [command for _, command, _ in listener.commands] == ["find"], "the user"
    assert len(asked) == 1
    assert watched.connections.count(user.user_id) == 2
    assert not watched.failed_logins.failures(user.user_id)


def test_control_a_login_that_opens_no_connection_keeps_no_place(watched: MailServices) -> None:
    user = make_user(watched)
    watched.placement.tenant(user.tenant_id)
    watched.connections.start(lambda work: None)
    identity = watched.authentication.login(user.address, Secret(PASSWORD), Protocol.API, "192.0.2.1")
    assert watched.connections.count(user.user_id) == 0
    watched.connections.open(identity.user_id, 1)
    assert watched.connections.count(user.user_id) == 1


def test_a_guess_gives_its_place_back(watched: MailServices) -> None:
    """By the next telling of ends; until then as many connections as ever may be opened here."""
    user = make_user(watched)
    watched.tenants.set_user_limit(OPERATOR, user.tenant_id, "connections", 2)
    watched.placement.tenant(user.tenant_id)
    watched.connections.start(lambda work: None)
    with pytest.raises(AuthenticationFailed):
        watched.authentication.accept(PasswordOffer(user.address, Secret("a guess")), Protocol.IMAP, "192.0.2.1")
    assert watched.connections.count(user.user_id) == 1
    watched.connections.flush()
    assert watched.connections.count(user.user_id) == 0
    sign_in(watched, user)
    with pytest.raises(AuthenticationFailed):
        watched.authentication.accept(PasswordOffer(user.address, Secret("a guess")), Protocol.IMAP, "192.0.2.1")
    assert watched.connections.count(user.user_id) == 1, "beyond half of the limit no guess has a place"
    sign_in(watched, user)
    with pytest.raises(TooManyConnections):
        sign_in(watched, user)
