"""Submission dialogues against the sans-IO connection on real services."""

from __future__ import annotations

import base64
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mailcore.model.actions import Close, Peer, Send, SetDeadline, StartTls, Tls
from mailcore.model.actor import Door
from mailcore.model.outbound import OutboundEntry
from mailcore.services import MailServices
from mailcore.services.accounts.door_session import DoorSession
from mailcore.smtp.connection import SmtpConnection
from mailcore.submission.policy import SubmissionPolicy
from tests.builders import MadeUser, make_services, make_user

TLS = Tls("TLSv1.3", "TLS_AES_256_GCM_SHA384")


class Client:
    """One connection, and what it was answered."""

    def __init__(
        self, services: MailServices, policy: SubmissionPolicy, user: MadeUser, *, tls: Tls | None = TLS
    ) -> None:
        self.services = services
        self.user = user
        peer = Peer("198.51.100.7", 2525, tls, "session1")
        self.woken = 0
        self.door = DoorSession(services, peer, self._wake, Door.SUBMISSION, plaintext_allowed=False, offers_tls=True)
        self.connection = SmtpConnection(policy, peer, True, self.door)
        self.is_closed = False
        self.starts_tls = False
        self.deadlines: list[SetDeadline] = []
        self.unread: list[str] = []
        self.take(self.connection.greeting())

    def _wake(self) -> None:
        self.woken += 1

    def take(self, actions: Any) -> None:
        for action in actions:
            if isinstance(action, Send):
                self.unread += action.data.decode().split("\r\n")[:-1]
            elif isinstance(action, SetDeadline):
                self.deadlines.append(action)
            self.is_closed |= isinstance(action, Close)
            self.starts_tls |= isinstance(action, StartTls)

    def expect(self, expected: str) -> None:
        assert self.unread, f"nothing came for {expected!r}"
        got = self.unread.pop(0)
        matches = got.startswith(expected.removesuffix("...")) if expected.endswith("...") else got == expected
        assert matches, f"{got!r} is not {expected!r}"

    def say(self, data: bytes | str, *expected: str) -> None:
        """Send; these lines must come, no more; "..." at the end stands for any text."""
        self.take(self.connection.receive(data.encode() if isinstance(data, str) else data))
        for line in expected:
            self.expect(line)
        assert not self.unread, f"left over: {self.unread}"

    def ask(self, data: bytes | str) -> list[str]:
        """Send; return what came."""
        self.take(self.connection.receive(data.encode() if isinstance(data, str) else data))
        answer, self.unread = self.unread, []
        return answer

    def transcript(self, text: str, **values: object) -> None:
        """C: goes in, S: must come out, nothing may be left over."""
        for line in textwrap.dedent(text).strip().splitlines():
            kind, _, content = line.strip().partition(": ")
            content = content.format(user=self.user.address, **values)
            if kind == "C":
                self.take(self.connection.receive(content.encode() + b"\r\n"))
            elif kind == "S":
                self.expect(content)
            else:
                assert not kind or kind.startswith("#"), line
        assert not self.unread, f"left over: {self.unread}"

    def sign_in(self) -> Client:
        """Greet and sign in by PLAIN."""
        self.unread.clear()
        self.ask("EHLO client.test\r\n")
        self.say(f"AUTH PLAIN {plain(self.user)}\r\n", "235 2.7.0 Signed in")
        return self

    def send(self, message: bytes, *recipients: str, sender: str | None = None, parameters: str = "") -> str:
        """Carry out a transaction by DATA; return the last reply."""
        path = self.user.address if sender is None else sender
        assert self.ask(f"MAIL FROM:<{path}>{parameters}\r\n")[0].startswith("250 "), path
        for recipient in recipients or ("bob@else.test",):
            assert self.ask(f"RCPT TO:<{recipient}>\r\n")[0].startswith("250 ")
        assert self.ask("DATA\r\n") == ["354 End with CRLF.CRLF"]
        stuffed = (b"\r\n" + message).replace(b"\r\n.", b"\r\n..")[2:]
        reply = self.ask(stuffed + b".\r\n")
        assert len(reply) == 1, reply
        return reply[0]

    def queued(self) -> list[OutboundEntry]:
        """What waits to be sent for the user, in order of arrival."""
        return self.services.outbound.list_of_user(self.user.user_id)[::-1]

    def outgoing(self) -> list[bytes]:
        """The bytes of each message that waits to be sent."""
        return [b"".join(self.services.outbound.content(self.user.user_id, entry.id).read()) for entry in self.queued()]

    def sent(self) -> list[bytes]:
        """What lies in Sent, byte for byte."""
        return messages_in(self.services, self.user, "Sent Mail")


def messages_in(services: MailServices, user: MadeUser, name: str) -> list[bytes]:
    view = services.mailboxes.open(user.user_id, name)
    oids = [view.message_oid(row) for row in range(view.exists)]
    return [b"".join(content.read()) for content in services.content.open_many(user.user_id, oids)]


def plain(user: MadeUser, password: str | None = None) -> str:
    return base64.b64encode(f"\0{user.address}\0{password or user.password}".encode()).decode()


@pytest.fixture(scope="session")
def services(directory_uri: str, shard_uris: dict[str, Any], redis_url: str) -> Iterator[MailServices]:
    services = make_services(directory_uri, shard_uris, redis_url, EIDER_HOSTNAME="mx.test")
    yield services
    services.close()


@pytest.fixture(scope="session")
def policy(services: MailServices) -> SubmissionPolicy:
    return SubmissionPolicy(services, services.settings)


@pytest.fixture
def connect(services: MailServices, policy: SubmissionPolicy) -> Callable[..., Client]:
    """Return `connect(user=..., tls=...)`: a connection of a new user unless told otherwise."""

    def connect_as(user: MadeUser | None = None, *, tls: Tls | None = TLS) -> Client:
        return Client(services, policy, user or make_user(services), tls=tls)

    return connect_as


@pytest.fixture(scope="module")
def common_user(services: MailServices) -> MadeUser:
    """A user for tests that may find what others left."""
    return make_user(services)


@pytest.fixture
def common(connect: Callable[..., Client], common_user: MadeUser) -> Iterator[Client]:
    """A signed-in client of a user that others use too."""
    client = connect(common_user).sign_in()
    yield client
    client.connection.eof()


@pytest.fixture
def client(connect: Callable[..., Client]) -> Client:
    """A signed-in client of a new user."""
    return connect().sign_in()
