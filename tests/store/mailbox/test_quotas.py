"""Quota: a user's use is the sum of the sizes in the heads, read afresh when it matters."""

from __future__ import annotations

import pytest

from mailcore.errors import OverQuota
from mailcore.model.uid_set import UidSet
from mailcore.services.tenants.quotas import Quotas
from tests.builders import make_user
from tests.store.mailbox.conftest import ACTOR, Engine, make_row


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def limited(engine: Engine) -> Engine:
    return Engine(engine.services, make_user(engine.services, quota_bytes=1000).user_id)


def test_use_is_the_sum_of_all_mailboxes(engine: Engine) -> None:
    quotas = Quotas(engine.services.placement)
    assert quotas.use(engine.user_id) == 0
    engine.add(rows=[make_row(size_bytes=100), make_row(size_bytes=11)])
    engine.add(1, "Trash", rows=[make_row(size_bytes=7)])
    assert quotas.use(engine.user_id, fresh=True) == 118
    engine.services.messages.expunge(engine.user_id, ACTOR, engine.inbox, UidSet.of([1]), only_deleted=False)
    engine.services.mailboxes.create(engine.user_id, ACTOR, "Short")
    engine.add(1, "Short", rows=[make_row(size_bytes=5)])
    assert quotas.use(engine.user_id, fresh=True) == 23
    engine.services.mailboxes.delete(engine.user_id, ACTOR, "Short")
    assert quotas.use(engine.user_id, fresh=True) == 18


def test_use_is_remembered_for_30_seconds(engine: Engine) -> None:
    clock = Clock()
    quotas = Quotas(engine.services.placement, clock)
    assert quotas.use(engine.user_id) == 0
    engine.add(rows=[make_row(size_bytes=100)])
    clock.now = 29
    assert quotas.use(engine.user_id) == 0
    clock.now = 31
    assert quotas.use(engine.user_id) == 100


def test_what_does_not_fit_is_refused(limited: Engine) -> None:
    quotas = Quotas(limited.services.placement)
    quotas.check(limited.user_id, 1000)
    with pytest.raises(OverQuota):
        quotas.check(limited.user_id, 1001)


def test_above_80_percent_the_database_is_asked(limited: Engine) -> None:
    """Another process may have filled or emptied the mailboxes meanwhile."""
    quotas = Quotas(limited.services.placement)
    quotas.check(limited.user_id, 0)
    limited.add(rows=[make_row(size_bytes=900)])
    quotas.check(limited.user_id, 50)  # little, of what this process knows
    with pytest.raises(OverQuota):
        quotas.check(limited.user_id, 850)
    limited.services.messages.expunge(limited.user_id, ACTOR, limited.inbox, UidSet.of([1]), only_deleted=False)
    quotas.check(limited.user_id, 900)


def test_what_was_just_accepted_counts_before_it_is_committed(limited: Engine) -> None:
    quotas = Quotas(limited.services.placement)
    quotas.check(limited.user_id, 700)
    assert quotas.use(limited.user_id) == 700


def test_no_quota_is_no_limit(engine: Engine) -> None:
    quotas = Quotas(engine.services.placement)
    quotas.check(engine.user_id, 1 << 60)
    assert quotas.limit(engine.user_id) is None
