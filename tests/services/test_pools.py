"""Pools: what all users of a tenant may store together, on what they really use."""

from __future__ import annotations

import pytest

from mailcore.errors import OverQuota, ValueInvalid
from mailcore.model.uid_set import UidSet
from mailcore.services import MailServices
from mailcore.services.messages import NewMessage
from mailcore.services.quotas import Quotas
from tests.builders import OPERATOR, MadeUser, make_tenant, make_user
from tests.store.test_delivery import deliver, message


def pooled(services: MailServices, quota_bytes: int) -> tuple[MadeUser, MadeUser]:
    tenant = make_tenant(services)
    services.pools.set_quota(OPERATOR, tenant[0], quota_bytes)
    return make_user(services, tenant=tenant), make_user(services, tenant=tenant)


def append(services: MailServices, user: MadeUser, size: int) -> None:
    services.messages.append(user.user_id, OPERATOR, "INBOX", [NewMessage(b"Subject: x\r\n\r\n" + b"x" * size)])


def test_use_is_the_sum_of_all_users(services: MailServices) -> None:
    one, other = pooled(services, 10_000)
    deliver(services, message(b"one"), one)
    deliver(services, message(b"other"), other)
    assert services.pools.sum_up() >= 1
    used = services.quotas.use(one.user_id, fresh=True) + services.quotas.use(other.user_id, fresh=True)
    assert used > 0
    assert services.tenants.get(one.tenant_id).used_bytes == used


def overfull(services: MailServices) -> None:
    """Two users who have no quota of their own fill the pool together."""
    one, other = pooled(services, 10_000)
    append(services, one, 6000)
    services.pools.sum_up()
    with pytest.raises(OverQuota):
        append(services, other, 6000)
    append(services, other, 1000)


def test_what_does_not_fit_into_the_pool_is_refused(services: MailServices) -> None:
    overfull(services)


def test_control_without_the_look_at_the_pool_it_fits(services: MailServices, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Quotas, "_check_pool", lambda *_: None)
    with pytest.raises(pytest.fail.Exception):
        overfull(services)


def test_between_two_sums_a_process_counts_what_it_lets_in(services: MailServices) -> None:
    one, other = pooled(services, 10_000)
    services.pools.sum_up()
    append(services, one, 6000)
    with pytest.raises(OverQuota):
        append(services, other, 6000)


def test_what_was_deleted_makes_room_at_the_next_sum(services: MailServices) -> None:
    one, other = pooled(services, 10_000)
    append(services, one, 6000)
    services.pools.sum_up()
    services.mailboxes.create(one.user_id, OPERATOR, "Old")
    inbox = services.mailboxes.find(one.user_id, "INBOX").id
    view = services.mailboxes.refresh(one.user_id, inbox)
    uid = int(view.uids[0])
    services.messages.expunge(one.user_id, OPERATOR, inbox, UidSet(((uid, uid),)), only_deleted=False)
    services.pools.sum_up()
    append(services, other, 6000)


def test_more_may_be_promised_than_there_is(services: MailServices) -> None:
    """A pool counts real use: quotas of users may add up to more."""
    one, _ = pooled(services, 10_000)
    services.users.set_quota(OPERATOR, one.user_id, 1 << 40)
    append(services, one, 1000)


def test_a_pool_is_a_positive_number_or_none(services: MailServices) -> None:
    one, _ = pooled(services, 10_000)
    with pytest.raises(ValueInvalid):
        services.pools.set_quota(OPERATOR, one.tenant_id, 0)
    services.pools.set_quota(OPERATOR, one.tenant_id, None)
    append(services, one, 20_000)
