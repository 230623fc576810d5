"""What a login asks of MongoDB and of Redis, counted."""

from __future__ import annotations

import pytest

from mailcore.model.access import Protocol
from mailcore.model.secret import Secret
from mailcore.services import MailServices
from mailcore.services.process.redis_link import RedisLink
from tests.builders import PASSWORD, MadeUser, make_user
from tests.store.mailbox.test_round_trips import Listener


def sign_in(services: MailServices, user: MadeUser, address: str = "192.0.2.1") -> None:
    """As a session does."""
    identity = services.authentication.login(user.address, Secret(PASSWORD), Protocol.IMAP, address)
    services.connections.open(identity.user_id, identity.limits.connections)


def test_limits_cost_mongodb_nothing_and_redis_two_waits_or_one(
    watched: MailServices, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first login waits for Redis before its hash and for its connection; a repeated one for its connection.

    What was counted before the hash is taken back with the question for the connection, and not by one of its own.
    """
    user = make_user(watched)
    watched.placement.tenant(user.tenant_id)
    asked: list[object] = []
    watched._link.start(lambda work: None)
    ask = RedisLink.ask
    monkeypatch.setattr(RedisLink, "ask", lambda self, question: asked.append(question) or ask(self, question))

    listener.commands.clear()
    sign_in(watched, user)
    assert [command for _, command, _ in listener.commands] == ["find", "find"], "address and credentials"
    assert len(asked) == 2
    assert not watched.failed_logins.failures(user.user_id)

    listener.commands.clear()
    asked.clear()
    sign_in(watched, user)
    assert [command for _, command, _ in listener.commands] == ["find"], "the user"
    assert len(asked) == 1
