"""`eider queue`, `trace`, `suppression`, `smarthost`."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from mailcore.services import MailServices
from mailcore.services.outbound.trace import Step, TraceRow
from mailcore.services.process.clock import now
from tests.builders import OPERATOR, MadeUser, make_services, make_user
from tests.cli.conftest import Eider
from tests.services.test_outbound import new_outbound


@pytest.fixture
def services(directory_uri: str, shard_uris: dict[str, Any], redis_url: str) -> Iterator[MailServices]:
    services = make_services(directory_uri, shard_uris, redis_url)
    yield services
    services.close()


@pytest.fixture
def user(services: MailServices) -> MadeUser:
    return make_user(services)


def tenant_name(services: MailServices, user: MadeUser) -> str:
    return services.placement.tenant(user.tenant_id).name


def test_message_is_listed_shown_held_released_retried_and_cancelled(
    services: MailServices, user: MadeUser, eider: Eider
) -> None:
    queue_id = services.queueing.enqueue(new_outbound(user, ["bob@x.test", "eve@y.test"]), OPERATOR)
    name = tenant_name(services, user)
    for owner in (("--user", user.address), ("--tenant", name)):
        listed = eider("queue", "list", *owner)
        assert queue_id in listed.out
        assert "bob@x.test +1" in listed.out
    one = ("--user", user.address, queue_id)
    assert eider("queue", "retry", *one).status == 0
    assert eider("queue", "hold", *one, "--why", "a look at it").status == 0
    shown = eider("queue", "show", *one).out
    assert "held: a look at it" in shown
    assert "eve@y.test" in shown
    assert eider("queue", "release", *one).status == 0
    assert eider("queue", "cancel", *one).out == "cancelled\n"
    assert queue_id not in eider("queue", "list", "--user", user.address).out
    assert queue_id in eider("queue", "list", "--user", user.address, "--all").out
    refused = eider("queue", "cancel", *one)
    assert (refused.status, refused.err.startswith("eider: ")) == (1, True)
    services.trace.flush()
    traced = eider("trace", "--tenant", name, "--to", "eve@y.test")
    assert [line.split()[2] for line in traced.out.splitlines()[1:]] == ["queued", "held", "released", "cancelled"]
    traced = eider("trace", "--tenant", name, "--queue-id", queue_id)
    assert "bob@x.test" in traced.out


def test_suppressions(services: MailServices, user: MadeUser, eider: Eider) -> None:
    name = tenant_name(services, user)
    assert eider("suppression", "add", "--tenant", name, "gone@x.test", "--why", "asked to").status == 0
    assert "asked to" in eider("suppression", "list", "--tenant", name).out
    assert eider("suppression", "remove", "--tenant", name, "gone@x.test").status == 0
    assert eider("suppression", "remove", "--tenant", name, "gone@x.test").status == 1


def test_complaints(services: MailServices, user: MadeUser, eider: Eider) -> None:
    name = tenant_name(services, user)
    home = services.placement.shard(services.placement.tenant(user.tenant_id).home_shard)
    rows = [
        TraceRow(Step.SENT, f"{number:024x}", "1@x.test", user.address, f"bob{number}@x.test") for number in range(4)
    ]
    for row in rows:
        services.trace.note(user.tenant_id, row)
    services.trace.flush()
    home.complaints.add(user.tenant_id, user.user_id, rows[0].queue_id, rows[0].recipient, now(), timedelta(days=1))
    said = eider("suppression", "complaints", "--tenant", name).out
    assert "1 complaints of 4 messages that were sent in 7 days (25.00%)" in said
    assert eider("suppression", "complaints", "--tenant", name, "--days", "31").status == 2


def test_smarthost_of_a_user_before_that_of_the_tenant(services: MailServices, user: MadeUser, eider: Eider) -> None:
    name = tenant_name(services, user)
    told = eider("smarthost", "set", "--tenant", name, stdin="smtps://box:s%40cret@smart.test\n")
    assert (told.status, "cret" in told.out) == (0, False)

    def found() -> Any:
        services.placement.forget_tenant(user.tenant_id)
        return services.smarthosts.of(services.placement.home(user.user_id))

    assert (found().host, found().port, found().password.reveal_text()) == ("smart.test", 465, "s@cret")
    eider("smarthost", "set", "--user", user.address, stdin="smtp://own.test\n")
    assert (found().host, found().port, found().password) == ("own.test", 25, None)
    eider("smarthost", "clear", "--user", user.address)
    eider("smarthost", "clear", "--tenant", name)
    assert found() is None
    assert eider("smarthost", "set", "--tenant", name, stdin="http://x\n").status == 1
