"""The job that holds mail by itself: run twice it holds once."""

from __future__ import annotations

import pytest

from mailcore.model.reputation import Fate, HoldCause
from mailcore.services import MailServices
from mailcore.services.outbound import sending_holds
from tests.builders import make_user
from workers.context import JobContext
from workers.jobs.reputation import watch


def test_it_holds_whom_the_counts_tell_to_and_once(services: MailServices, context: JobContext) -> None:
    user = make_user(services, shard="a")
    services.reputation.note(user.tenant_id, user.user_id, Fate.BOUNCED, 30)
    services.reputation.flush()
    before = watch(context)
    (held,) = services.sending_holds.list_of_tenant(user.tenant_id)
    assert (held.user_id, held.hold.cause) == (user.user_id, HoldCause.BOUNCES)
    assert watch(context) == before >= 1
    assert services.sending_holds.list_of_tenant(user.tenant_id) == [held]


def test_control_who_judges_nobody_holds_nobody(
    services: MailServices, context: JobContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = make_user(services, shard="a")
    services.reputation.note(user.tenant_id, user.user_id, Fate.BOUNCED, 30)
    services.reputation.flush()
    monkeypatch.setattr(sending_holds, "judge", lambda *_: {})
    watch(context)
    assert services.sending_holds.list_of_tenant(user.tenant_id) == []
