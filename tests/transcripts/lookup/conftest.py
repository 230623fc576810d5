"""Questions of a transfer agent to the sans-IO connection on real services."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from mailcore.lookup.answers import Answers
from mailcore.lookup.connection import LookupConnection
from mailcore.lookup.wire import answer
from mailcore.model.actions import Send
from mailcore.services import MailServices
from tests.builders import make_services


class Lookup:
    """One connection."""

    def __init__(self, services: MailServices) -> None:
        self.services = services
        answers = Answers(services.domains, services.resolutions, services.delivery, services.settings.hostname)
        self.connection = LookupConnection(answers)
        self.connection.greeting()

    def ask(self, map_name: str, key: str) -> str:
        """Ask, and return the answer without its netstring."""
        return self.take(answer(f"{map_name} {key}"))

    def policy(self, recipient: str, sender: str = "") -> str:
        """Ask as check_policy_service does, and return the action."""
        lines = ("request=smtpd_access_policy", "protocol_state=RCPT", f"sender={sender}", f"recipient={recipient}")
        sent = self._sent("".join(f"{line}\n" for line in (*lines, "")).encode())
        assert sent.startswith(b"action=")
        assert sent.endswith(b"\n\n")
        return sent[len("action=") : -2].decode()

    def take(self, data: bytes) -> str:
        sent = self._sent(data)
        size, _, rest = sent.partition(b":")
        assert rest[int(size) :] == b","
        return rest[:-1].decode()

    def _sent(self, data: bytes) -> bytes:
        return b"".join(action.data for action in self.connection.receive(data) if isinstance(action, Send))


@pytest.fixture(scope="session")
def services(directory_uri: str, shard_uris: dict[str, Any], redis_url: str) -> Iterator[MailServices]:
    services = make_services(directory_uri, shard_uris, redis_url)
    yield services
    services.close()


@pytest.fixture
def lookup(services: MailServices) -> Lookup:
    return Lookup(services)
