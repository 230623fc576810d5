"""`eider filter`, `eider script`, `eider senders` and `eider tenant set-journal`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mailcore.model.filter import Match, Part, of_tenant, of_user
from mailcore.services import MailServices
from tests.builders import MadeUser, make_services, make_user
from tests.cli.conftest import Eider


@pytest.fixture
def services(directory_uri: str, shard_uris: dict[str, Any], redis_url: str) -> Iterator[MailServices]:
    made = make_services(directory_uri, shard_uris, redis_url)
    yield made
    made.close()


@pytest.fixture
def user(services: MailServices) -> MadeUser:
    return make_user(services)


@pytest.fixture
def tenant(services: MailServices, user: MadeUser) -> str:
    found = services.tenants.find(user.tenant_id)
    assert found is not None
    return found.name


def test_rules_of_a_user(eider: Eider, services: MailServices, user: MadeUser) -> None:
    whose = ("--user", user.address)
    words = ["--from", "ann", "--header", "X-A=b", "--regex", "X-C=^d=e$", "--larger", "5M", "--attachments", "yes"]
    words += ["--any", "--mailbox", "Archive", "--seen", "--keyword", "$Work", "--forward", "a@b.example", "--stop"]
    added = eider("filter", "add", *whose, *words, "--name", "one")
    assert added.status == 0, added.err
    assert eider("filter", "add", *whose, "--spam", "no").status == 0
    first, second = services.filters.list_of(of_user(user.user_id)).rules
    assert str(first.id) in added.out
    query, action = first.content.query, first.content.action
    assert (query.sender, query.larger_than, query.has_attachments, query.any_of) == ("ann", 5 << 20, True, True)
    assert [(one.part, one.match, one.header, one.value) for one in query.conditions] == [
        (Part.HEADER, Match.CONTAINS, "X-A", "b"),
        (Part.HEADER, Match.REGEX, "X-C", "^d=e$"),
    ]
    assert action.mailbox_id == services.mailboxes.find(user.user_id, "Archive").id
    assert (action.seen, action.targets, action.flags.keywords) == (True, ("a@b.example",), ("$Work",))
    assert (first.content.stops, second.content.action.spam) == (True, False)
    out = eider("filter", "list", *whose).out
    assert "any of; from: ann; attachments; larger than 5 MiB; X-A contains b; X-C regex ^d=e$" in out
    assert "forward to a@b.example; into Archive; seen; $Work; stop" in out
    assert "every message" in out
    assert eider("filter", "order", *whose, str(second.id), str(first.id)).status == 0
    assert [one.id for one in services.filters.list_of(of_user(user.user_id)).rules] == [second.id, first.id]
    assert eider("filter", "disable", *whose, str(first.id)).status == 0
    assert "disabled" in eider("filter", "list", *whose).out
    assert eider("filter", "enable", *whose, str(first.id)).status == 0
    assert "disabled" not in eider("filter", "list", *whose).out
    assert ["filters", "2", "400"] in [line.split() for line in eider("limits", "show", user.address).out.splitlines()]
    assert eider("filter", "delete", *whose, str(first.id)).status == 0
    assert eider("filter", "delete", *whose, str(first.id)).status == 1


def test_rules_of_a_tenant(eider: Eider, services: MailServices, user: MadeUser, tenant: str) -> None:
    assert eider("filter", "add", "--tenant", tenant, "--subject", "x", "--mailbox", "Legal").status == 0
    (rule,) = services.filters.list_of(of_tenant(user.tenant_id)).rules
    assert rule.content.action.mailbox_name == "Legal"
    assert "into Legal" in eider("filter", "list", "--tenant", tenant).out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--forward", "nobody"), "no address to forward to"),
        (("--header", "X"), "NAME=VALUE"),
        (("--regex", "X=("), "regular expression"),
        (("--larger", "much"), "much"),
        (("--mailbox", "Nowhere"), ""),
    ],
)
def test_what_is_wrong_is_said(eider: Eider, user: MadeUser, words: tuple[str, ...], says: str) -> None:
    refused = eider("filter", "add", "--user", user.address, *words)
    assert refused.status == 1
    assert says in refused.err


def test_scripts(eider: Eider, user: MadeUser, tmp_path: Path) -> None:
    file = tmp_path / "s.sieve"
    file.write_text("discard;\n")
    assert eider("script", "put", user.address, "a", str(file)).status == 0
    assert eider("script", "put", user.address, "b", "-", stdin="keep;").status == 0
    refused = eider("script", "put", user.address, "c", "-", stdin="keep;\nnonsense;")
    assert refused.status == 1
    assert "line 2" in refused.err
    assert eider("script", "show", user.address, "a").out == "discard;\n"
    assert eider("script", "activate", user.address, "a").status == 0
    assert [line.split()[:2] for line in eider("script", "list", user.address).out.splitlines()[1:]] == [
        ["*", "a"],
        ["b", "5"],
    ]
    assert eider("script", "delete", user.address, "a").status == 1
    assert eider("script", "activate", user.address).status == 0
    assert eider("script", "delete", user.address, "a").status == 0


def test_lists_of_senders(eider: Eider, tenant: str) -> None:
    assert eider("senders", "block", "vip", "Bad.Example", "--tenant", tenant).status == 0
    assert eider("senders", "allow", "vip", "good.example", "--tenant", tenant).status == 0
    rows = [line.split() for line in eider("senders", "list", "vip", "--tenant", tenant).out.splitlines()[1:]]
    assert [row[1:] for row in rows] == [["allow", "good.example"], ["block", "bad.example"]]
    assert eider("senders", "list", "vip").out.splitlines()[1:] == []
    assert eider("senders", "remove", rows[0][0]).status == 1
    assert eider("senders", "remove", rows[0][0], "--tenant", tenant).status == 0


def test_a_tenants_journal(eider: Eider, services: MailServices, user: MadeUser, tenant: str) -> None:
    assert eider("tenant", "set-journal", tenant, user.address).status == 0
    services.placement.forget_tenant(user.tenant_id)
    assert services.journal.archive_of(user.tenant_id) == user.user_id
    assert eider("tenant", "set-journal", tenant, make_user(services).address).status == 1
    assert eider("tenant", "set-journal", tenant).status == 0
    services.placement.forget_tenant(user.tenant_id)
    assert services.journal.archive_of(user.tenant_id) is None
