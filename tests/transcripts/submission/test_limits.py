"""How much may be sent: by a user, from a domain, of a tenant; and what is far too much at once is held back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from bson import ObjectId

from mailcore.errors import RateExceeded
from mailcore.model import tenant as tenant_module
from mailcore.model.ids import TenantId
from mailcore.model.limits import PAYING, YOUNG, AgeLimits
from mailcore.model.outbound import EntryState
from mailcore.model.tenant import ManagedBy
from mailcore.services import MailServices
from mailcore.services.accounts.usage import Usage
from mailcore.services.process.redis_link import RedisLink
from tests.builders import OPERATOR, MadeUser, make_tenant, make_user
from tests.transcripts.submission.conftest import Client

TOO_MUCH = "452 4.7.28 Limit reached; try again later"


def send(client: Client, recipients: int = 1) -> str:
    return client.send(b"Subject: x\r\n\r\nx\r\n", *(f"r{number}@else.test" for number in range(recipients)))


@pytest.mark.parametrize(
    ("name", "value", "recipients"),
    [("messages_per_hour", 2, 1), ("recipients_per_day", 6, 3)],
)
def test_a_user(services: MailServices, client: Client, name: str, value: int, recipients: int) -> None:
    services.users.set_limit(OPERATOR, client.user.user_id, name, value)
    for _ in range(2):
        assert send(client, recipients).startswith("250 ")
    assert send(client, recipients) == TOO_MUCH
    assert len(client.queued()) == len(client.sent()) == 2


@pytest.mark.parametrize(
    ("name", "value", "recipients"),
    [
        ("tenant_messages_per_hour", 3, 1), ("tenant_recipients_per_day", 9, 3), ("domain_messages_per_hour", 3, 1),
        ("domain_recipients_per_day", 9, 3),
    ],
)  # fmt: skip
def test_users_together(
    services: MailServices, connect: Callable[..., Client], name: str, value: int, recipients: int
) -> None:
    """One limit for all users of the tenant, or of each of its domains; other tenants have their own."""
    tenant = make_tenant(services)
    services.tenants.set_sending_limit(OPERATOR, tenant[0], name, value)
    clients = [connect(make_user(services, tenant=tenant)).sign_in() for _ in range(2)]
    for client in (clients[0], clients[1], clients[0]):
        assert send(client, recipients).startswith("250 ")
    assert [send(client, recipients) for client in clients] == [TOO_MUCH, TOO_MUCH]
    domain = f"more.{tenant[1]}"
    services.domains.create(OPERATOR, tenant[0], domain)
    elsewhere = connect(make_user(services, tenant=(tenant[0], domain))).sign_in()
    assert send(elsewhere, recipients).startswith("250 " if name.startswith("domain") else "452 ")
    assert send(connect().sign_in(), recipients).startswith("250 ")


def test_processes_count_together_and_alone_they_allow_less(services: MailServices, client: Client) -> None:
    """Promise P16, for sending: without Redis a process allows a fifth, not everything."""
    user = client.user
    services.users.set_limit(OPERATOR, user.user_id, "messages_per_hour", 10)
    another = Usage(services.usage._link, services.placement)
    for _ in range(5):
        assert another.spend_on_sending(user.user_id, user.tenant_id, "x.test", 1) is None
        assert send(client).startswith("250 ")
    assert send(client) == TOO_MUCH
    alone = Usage(RedisLink(None), services.placement)
    for _ in range(2):
        assert alone.spend_on_sending(user.user_id, user.tenant_id, "x.test", 1) is None
    with pytest.raises(RateExceeded):
        alone.spend_on_sending(user.user_id, user.tenant_id, "x.test", 1)


def test_a_burst_is_taken_and_held_until_somebody_looked(services: MailServices, client: Client) -> None:
    """The account may be stolen: nothing leaves, nothing is lost, an event tells."""
    services.users.set_limit(OPERATOR, client.user.user_id, "recipients_per_burst", 4)
    assert "queued as" in send(client, 4)
    for _ in range(2):
        assert send(client, 1).startswith("250 2.0.0 OK held as ")
    states = [(entry.state, entry.held) for entry in client.queued()]
    assert states == [(EntryState.QUEUED, None), (EntryState.HELD, "burst"), (EntryState.HELD, "burst")]
    assert len(client.sent()) == 3
    for sequencer in services.events.sequencers():
        sequencer.catch_up()
    events = services.events.read(client.user.tenant_id, limit=1000).events
    assert [event.user_id for event in events if event.kind == "submission.burst"] == [client.user.user_id]
    services.outbound.release(OPERATOR, client.user.user_id, client.queued()[1].id)
    assert client.queued()[1].state is EntryState.QUEUED


def test_who_does_not_count_holds_nothing(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control of all of the above."""
    client.services.users.set_limit(OPERATOR, client.user.user_id, "recipients_per_burst", 1)
    client.services.users.set_limit(OPERATOR, client.user.user_id, "messages_per_hour", 1)
    monkeypatch.setattr(Usage, "spend_on_sending", lambda *_: None)
    assert ["queued as" in send(client, 5) for _ in range(3)] == [True, True, True]


def young(services: MailServices) -> tuple[TenantId, str]:
    """A tenant that came by itself, today."""
    tenant_id = services.tenants.create(OPERATOR, f"Young {ObjectId()}", "eu", managed_by=ManagedBy.PORTAL)
    domain = f"y{tenant_id}.test"
    services.domains.create(OPERATOR, tenant_id, domain)
    return tenant_id, domain


def fill(services: MailServices, user: MadeUser, step: AgeLimits) -> None:
    """Send what an age allows in an hour but one message."""
    another = Usage(services.usage._link, services.placement)
    for _ in range(step.messages_per_hour - 1):
        another.spend_on_sending(user.user_id, user.tenant_id, "x.test", 1)


def test_a_young_organisation_sends_less_until_it_pays_or_staff_raise_it(
    services: MailServices, connect: Callable[..., Client]
) -> None:
    tenant = young(services)
    user = make_user(services, tenant=tenant)
    services.users.set_limit(OPERATOR, user.user_id, "recipients_per_burst", 0)
    fill(services, user, YOUNG[0])
    client = connect(user).sign_in()
    assert send(client).startswith("250 ")
    assert send(client) == TOO_MUCH
    services.reputation.flush()
    assert services.reputation.of_tenant(tenant[0]).day.limited == 1
    used = services.usage.used_of_tenant(tenant[0])
    assert used["tenant_messages_per_hour"] == YOUNG[0].messages_per_hour
    services.tenants.set_pays(OPERATOR, tenant[0], pays=True)
    assert services.usage.sending_limits(tenant[0]).tenant_messages_per_hour == PAYING[0].messages_per_hour
    assert send(client).startswith("250 ")
    services.tenants.set_pays(OPERATOR, tenant[0], pays=False)
    assert send(client) == TOO_MUCH
    services.tenants.set_sending_limit(OPERATOR, tenant[0], "tenant_messages_per_hour", 1000, "a choir, known to us")
    assert send(client).startswith("250 ")
    for sequencer in services.events.sequencers():
        sequencer.catch_up()
    events = services.events.read(tenant[0], limit=1000).events
    told = [event.details for event in events if event.kind == "tenant.sending_limit"]
    assert "a choir, known to us" in str(told)


def test_a_day_has_its_limit_too(services: MailServices, connect: Callable[..., Client]) -> None:
    user = make_user(services, tenant=young(services))
    services.users.set_limit(OPERATOR, user.user_id, "recipients_per_burst", 0)
    client = connect(user).sign_in()
    assert send(client, YOUNG[0].recipients_per_day).startswith("250 ")
    assert send(client) == TOO_MUCH


def test_with_the_platforms_limits_a_young_organisation_would_send_all(
    services: MailServices, connect: Callable[..., Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control of the above."""
    user = make_user(services, tenant=young(services))
    services.users.set_limit(OPERATOR, user.user_id, "recipients_per_burst", 0)
    fill(services, user, YOUNG[0])
    monkeypatch.setattr(tenant_module, "limits_of_age", lambda platform, *_: platform)
    client = connect(user).sign_in()
    assert [send(client)[:4] for _ in range(2)] == ["250 ", "250 "]


def test_limits_of_the_platform_hold_where_nothing_else_is_said(services: MailServices, client: Client) -> None:
    sending = replace(services.settings.limits.sending, tenant_messages_per_hour=1)
    usage = Usage(services.usage._link, services.placement, sending=sending)
    user = client.user
    assert usage.spend_on_sending(user.user_id, user.tenant_id, "x.test", 1) is None
    with pytest.raises(RateExceeded):
        usage.spend_on_sending(user.user_id, user.tenant_id, "x.test", 1)
