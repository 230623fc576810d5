"""LMTP dialogues against the sans-IO connection on real services."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Any

import pytest

from mailcore.lmtp.policy import LmtpPolicy
from mailcore.model.actions import Peer, Send
from mailcore.services import MailServices
from mailcore.smtp.connection import SmtpConnection
from mailcore.store.client import Clients
from mailcore.store.directory import Directory
from tests.builders import MadeUser, make_services, make_settings


class Lmtp:
    """One connection, and the users it may deliver to."""

    def __init__(self, services: MailServices, policy: LmtpPolicy, peer: str = "127.0.0.1") -> None:
        self.services = services
        self.connection = SmtpConnection(policy, Peer(peer, 2525, None, "session1"), offers_tls=False)
        self._unread: list[str] = []
        self._take(self.connection.greeting())

    def _take(self, actions: Any) -> None:
        sent = b"".join(action.data for action in actions if isinstance(action, Send))
        self._unread += sent.decode().split("\r\n")[:-1]

    def _expect(self, expected: str) -> None:
        assert self._unread, f"nothing came for {expected!r}"
        got = self._unread.pop(0)
        matches = got.startswith(expected.removesuffix("...")) if expected.endswith("...") else got == expected
        assert matches, f"{got!r} is not {expected!r}"

    def say(self, data: bytes, *expected: str) -> None:
        """Send raw bytes; these lines must come, no more; "..." at the end stands for any text."""
        self._take(self.connection.receive(data))
        for line in expected:
            self._expect(line)
        assert not self._unread, f"left over: {self._unread}"

    def greet(self) -> None:
        self._take(self.connection.receive(b"LHLO peer.test\r\n"))
        assert self._unread.pop().startswith("250 ")
        self._unread.clear()

    def transcript(self, text: str, **values: object) -> None:
        """C: goes in, S: must come out, nothing may be left over."""
        for line in textwrap.dedent(text).strip().splitlines():
            kind, _, content = line.strip().partition(": ")
            content = content.format(**values)
            if kind == "C":
                self._take(self.connection.receive(content.encode() + b"\r\n"))
            elif kind == "S":
                self._expect(content)
            else:
                assert not kind or kind.startswith("#"), line
        assert not self._unread, f"left over: {self._unread}"

    def inbox(self, user: MadeUser) -> list[bytes]:
        """Every message of the INBOX, byte for byte."""
        view = self.services.mailboxes.open(user.user_id, "INBOX")
        found = []
        for row in range(view.exists):
            content = self.services.content.open(user.user_id, view.message_oid(row))
            found.append(b"".join(content.read()))
        return found


@pytest.fixture(scope="session")
def services(directory_uri: str, shard_uris: dict[str, Any], redis_url: str) -> Iterator[MailServices]:
    services = make_services(directory_uri, shard_uris, redis_url)
    yield services
    services.close()


@pytest.fixture
def directory(directory_uri: str) -> Iterator[Directory]:
    """The repositories, to set up what no service does."""
    clients = Clients({})
    yield Directory.of(clients.database(directory_uri))
    clients.close()


@pytest.fixture
def lmtp(services: MailServices, directory_uri: str) -> Lmtp:
    settings = make_settings(directory_uri, EIDER_HOSTNAME="foo.test")
    return Lmtp(services, LmtpPolicy(services.delivery, services.spam, settings, services.trace))
