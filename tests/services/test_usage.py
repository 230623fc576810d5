"""Messages an hour, recipients and traffic a day: counted by all processes, changeable for tenant and user."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from mailcore.errors import RateExceeded, UserNotFound, ValueInvalid
from mailcore.model.limits import DEFAULT_LIMITS, Spending, Traffic
from mailcore.model.secret import Secret
from mailcore.services import MailServices
from mailcore.services.accounts.usage import _ADD, DAY_S, Usage
from mailcore.services.process.redis_link import RedisLink
from tests.builders import OPERATOR, MadeUser, make_services, make_user


@pytest.fixture
def other(directory_uri: str, shard_uris: dict[str, Any], redis_url: str) -> Iterator[MailServices]:
    """Services of another process."""
    made = make_services(directory_uri, shard_uris, redis_url)
    yield made
    made.close()


@pytest.fixture
def user(services: MailServices) -> MadeUser:
    return make_user(services)


def test_recipients_of_all_processes_count_and_what_is_refused_does_not(
    services: MailServices, other: MailServices, user: MadeUser
) -> None:
    services.users.set_limit(OPERATOR, user.user_id, "recipients_per_day", 10)
    services.usage.spend(user.user_id, Spending.RECIPIENTS, 4)
    other.usage.spend(user.user_id, Spending.RECIPIENTS, 4)
    for _ in range(3):
        with pytest.raises(RateExceeded):
            services.usage.spend(user.user_id, Spending.RECIPIENTS, 3)
    assert other.usage.used(user.user_id)["recipients_per_day"] == 8
    services.usage.spend(user.user_id, Spending.RECIPIENTS, 2)
    with pytest.raises(RateExceeded):
        other.usage.spend(user.user_id, Spending.RECIPIENTS)
    services.usage.spend(user.user_id, Spending.MESSAGES)
    services.usage.forget(user.user_id)
    services.usage.spend(user.user_id, Spending.RECIPIENTS, 10)


def test_limits_of_tenant_and_user_replace_the_platforms(services: MailServices, user: MadeUser) -> None:
    platform = DEFAULT_LIMITS.user
    services.tenants.set_user_limit(OPERATOR, user.tenant_id, "messages_per_hour", 3)
    services.users.set_limit(OPERATOR, user.user_id, "connections", 2)
    limits = services.usage.limits(user.user_id)
    assert (limits.messages_per_hour, limits.connections) == (3, 2)
    assert limits.recipients_per_day == platform.recipients_per_day
    services.users.set_limit(OPERATOR, user.user_id, "messages_per_hour", 0)
    for _ in range(10):
        services.usage.spend(user.user_id, Spending.MESSAGES)
    services.users.set_limit(OPERATOR, user.user_id, "messages_per_hour", None)
    services.tenants.set_user_limit(OPERATOR, user.tenant_id, "messages_per_hour", None)
    assert services.usage.limits(user.user_id).messages_per_hour == platform.messages_per_hour
    for name, value in (("quota_bytes", 1), ("no.such", 1), ("connections", -1)):
        with pytest.raises(ValueInvalid):
            services.users.set_limit(OPERATOR, user.user_id, name, value)
        with pytest.raises(ValueInvalid):
            services.tenants.set_user_limit(OPERATOR, user.tenant_id, name, value)


def test_traffic_of_all_processes_counts_and_is_over_tomorrow(
    services: MailServices, other: MailServices, user: MadeUser
) -> None:
    what = Traffic.IMAP_DOWNLOAD
    services.users.set_limit(OPERATOR, user.user_id, what.value, 1000)
    now = [10 * DAY_S + 5.0]
    here, there = (Usage(one._link, one.placement, lambda: now[0]) for one in (services, other))
    here.note(user.user_id, what, 600)
    there.note(user.user_id, what, 600)
    here.check(user.user_id, what)
    for usage in (here, there, here):
        usage.note(user.user_id, what, 1)
        usage.flush()
    for usage in (here, there):
        with pytest.raises(RateExceeded):
            usage.check(user.user_id, what)
        usage.check(user.user_id, Traffic.IMAP_UPLOAD)
    assert here.used(user.user_id)[what.value] == 1203
    now[0] += DAY_S
    here.flush()
    here.check(user.user_id, what)


def test_alone_a_process_allows_its_share_and_tells_later(
    services: MailServices, user: MadeUser, redis_url: str
) -> None:
    services.users.set_limit(OPERATOR, user.user_id, "recipients_per_day", 10)
    services.users.set_limit(OPERATOR, user.user_id, "imap_upload_bytes_per_day", 1000)
    alone = Usage(RedisLink(Secret("redis://127.0.0.1:1/0")), services.placement)
    alone.spend(user.user_id, Spending.RECIPIENTS, 2)
    with pytest.raises(RateExceeded):
        alone.spend(user.user_id, Spending.RECIPIENTS)
    alone.note(user.user_id, Traffic.IMAP_UPLOAD, 199)
    alone.flush()
    alone.check(user.user_id, Traffic.IMAP_UPLOAD)
    alone.note(user.user_id, Traffic.IMAP_UPLOAD, 1)
    with pytest.raises(RateExceeded):
        alone.check(user.user_id, Traffic.IMAP_UPLOAD)
    alone._link = RedisLink(Secret(redis_url))
    alone._add_script = alone._link.script(_ADD)
    alone.flush()
    assert services.usage.used(user.user_id)["imap_upload_bytes_per_day"] == 200


def test_without_redis_a_day_ends_too(services: MailServices, user: MadeUser) -> None:
    what = Traffic.IMAP_DOWNLOAD
    services.users.set_limit(OPERATOR, user.user_id, what.value, 1000)
    now = [10 * DAY_S + 5.0]
    alone = Usage(RedisLink(None), services.placement, lambda: now[0])
    alone.note(user.user_id, what, 200)
    alone.flush()
    with pytest.raises(RateExceeded):
        alone.check(user.user_id, what)
    now[0] += DAY_S
    alone.flush()
    alone.check(user.user_id, what)


def test_limits_of_nobody(services: MailServices) -> None:
    from bson import ObjectId

    from mailcore.model.ids import UserId

    with pytest.raises(UserNotFound):
        services.users.set_limit(OPERATOR, UserId(ObjectId()), "connections", 1)


def check_others_keep_theirs(services: MailServices, user: MadeUser) -> None:
    """Who has reached a limit and tries again and again takes nothing from the others of the tenant."""
    services.users.set_limit(OPERATOR, user.user_id, "messages_per_hour", 1)
    services.usage.spend_on_sending(user.user_id, user.tenant_id, "x.test", 10)
    for _ in range(3):
        with pytest.raises(RateExceeded):
            services.usage.spend_on_sending(user.user_id, user.tenant_id, "x.test", 10)
    used = services.usage.used_of_tenant(user.tenant_id)
    assert used == {"tenant_messages_per_hour": 1, "tenant_recipients_per_day": 10}


def test_who_is_refused_uses_up_nothing_of_the_others(services: MailServices, user: MadeUser) -> None:
    check_others_keep_theirs(services, user)


def test_control_counted_together_whoever_is_refused_silences_the_tenant(
    services: MailServices, user: MadeUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, first = Usage._spend_all, []

    def together(self: Usage, *wanted: Any) -> str | None:
        if not first:
            first.extend(wanted)
            return None
        everything, first[:] = (*first, *wanted), []
        return real(self, *everything)

    monkeypatch.setattr(Usage, "_spend_all", together)
    with pytest.raises(AssertionError):
        check_others_keep_theirs(services, user)


def test_a_count_begun_anew_elsewhere_lets_go_on_here_after_a_flush(
    services: MailServices, user: MadeUser, redis_url: str
) -> None:
    """Though what is refused flows no more."""
    services.users.set_limit(OPERATOR, user.user_id, "imap_upload_bytes_per_day", 100)
    link = RedisLink(Secret(redis_url))
    other = Usage(link, services.placement)
    other.note(user.user_id, Traffic.IMAP_UPLOAD, 200)
    other.flush()
    services.usage.forget(user.user_id)
    with pytest.raises(RateExceeded):
        other.check(user.user_id, Traffic.IMAP_UPLOAD)
    other.flush()
    other.check(user.user_id, Traffic.IMAP_UPLOAD)
    link.close()


def test_what_flows_while_the_count_is_begun_anew_counts_once(
    services: MailServices, user: MadeUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage, what = services.usage, Traffic.IMAP_UPLOAD
    usage.note(user.user_id, what, 200)
    ask = usage._link.ask

    def forgotten_meanwhile(question: Any) -> Any:
        answer = ask(question)
        monkeypatch.setattr(usage._link, "ask", ask)
        usage.forget(user.user_id)
        usage.note(user.user_id, what, 10)
        return answer

    monkeypatch.setattr(usage._link, "ask", forgotten_meanwhile)
    usage.flush()
    usage.flush()
    assert usage.used(user.user_id)[what.value] == 10
