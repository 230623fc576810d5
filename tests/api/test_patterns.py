"""What a client looks for is text, never a pattern (Attack W5): in directories, mail and rules."""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from bson import Regex
from pymongo import monitoring

from infra.devstack.endpoints import ShardUris
from mailcore.api.app import create_app
from mailcore.model.filter import Query, RuleAction, RuleContent, of_user
from mailcore.services import MailServices
from mailcore.services.accounts.tokens import owner_of_tenant
from mailcore.store.directory import address_search, dkim_keys, domains, user_search
from mailcore.store.user import correspondents
from tests.api.conftest import Api, token
from tests.builders import OPERATOR, MadeUser, make_services
from tests.store.test_delivery import deliver

HOSTILE = ["(a+)+$", "^(([a-z])+.)+[A-Z]([a-z])+$", ".*", "a|b", "[", "\\", "(?=a)", "(a|a)*" * 20, "a\0b"]
PATHS = [
    "/users?query=",
    "/addresses?query=",
    "/domainaliases?query=",
    "/dkim?query=",
    "/users/{}/addressregister?query=",
]
USERS = (address_search, dkim_keys, domains, user_search, correspondents)
"""Modules that make patterns of text."""


@dataclass
class Sent(monitoring.CommandListener):
    """Every pattern that was sent to a database."""

    patterns: list[str] = field(default_factory=list)

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        self._look(dict(event.command))

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        """Looked at when it began."""

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        """Looked at when it began."""

    def _look(self, value: Any) -> None:
        if isinstance(value, dict):
            for below in value.values():
                self._look(below)
        elif isinstance(value, list | tuple):
            for below in value:
                self._look(below)
        elif isinstance(value, Regex | re.Pattern):
            self.patterns.append(str(value.pattern))


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Sent:
    listener = Sent()
    listeners = monitoring._LISTENERS.command_listeners
    monkeypatch.setattr(
        monitoring, "_LISTENERS", monitoring._LISTENERS._replace(command_listeners=[*listeners, listener])
    )
    return listener


@pytest.fixture
def watched(
    sent: Sent, directory_uri: str, shard_uris: dict[str, ShardUris], services: MailServices
) -> Iterator[MailServices]:
    made = make_services(directory_uri, shard_uris)
    yield made
    made.close()


def is_text(pattern: str) -> bool:
    """Whether every character of a pattern stands for itself."""
    bare = pattern.removeprefix("\\A").removesuffix("\\Z").replace("\\x00", "")
    return re.escape(re.sub(r"\\(.)", r"\1", bare, flags=re.DOTALL)) == bare


def ask_everything(api: Api, user: MadeUser) -> None:
    for path in PATHS:
        for text in HOSTILE:
            answer = api.get(path.format(user.user_id) + urllib.parse.quote(text))
            assert answer.status == 200, answer.body
            assert answer.body.get("total", 0) == 0, (path, text)


def test_what_is_looked_for_stands_for_itself(watched: MailServices, sent: Sent, user: MadeUser) -> None:
    """Counted: every pattern that reaches a database, of hundreds, is plain text."""
    api = Api(create_app(watched), token(watched, owner_of_tenant(user.tenant_id)))
    ask_everything(api, user)
    assert len(sent.patterns) >= len(PATHS) * len(HOSTILE)
    assert [pattern for pattern in sent.patterns if not is_text(pattern)] == []


def test_a_pattern_that_is_taken_as_it_comes_would_be_seen(
    watched: MailServices, sent: Sent, user: MadeUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control: without the escaping a client writes patterns."""
    for module in USERS:
        monkeypatch.setattr(module, "part", lambda text: re.compile(text, re.IGNORECASE))
    monkeypatch.setattr("tests.api.test_patterns.HOSTILE", [".*", "(a+)+$"])
    with pytest.raises(AssertionError):
        test_what_is_looked_for_stands_for_itself(watched, sent, user)


def test_searches_of_mail_find_what_is_written(tenant: Api, services: MailServices, user: MadeUser) -> None:
    text = "(a+)+$"
    deliver(services, f"Subject: {text}\r\n\r\n{'a' * 5000}!\r\n".encode(), user)
    deliver(services, b"Subject: aaaa\r\n\r\naaaa\r\n", user)
    path = f"/users/{user.user_id}/search?subject={urllib.parse.quote(text)}"
    assert [one["subject"] for one in tenant.get(path).body["results"]] == [text]


def test_rules_compare_with_what_is_written(services: MailServices, user: MadeUser) -> None:
    content = RuleContent(query=Query(subject="(a+)+$"), action=RuleAction(seen=True))
    services.filters.create(OPERATOR, of_user(user.user_id), content)
    deliver(services, b"Subject: x (a+)+$\r\n\r\nx\r\n", user)
    deliver(services, f"Subject: {'a' * 900}!\r\n\r\nx\r\n".encode(), user)
    view = services.mailboxes.open(user.user_id, "INBOX")
    assert [int(flags) & 1 for flags in view.flags] == [int(view.flags[0]) & 1, 0]
    assert view.unseen == 1
