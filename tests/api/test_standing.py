"""A tenant's standing by the API: nothing is sent, and nothing changes where mail is read-only; operators may."""

from __future__ import annotations

from typing import Any

import pytest

from mailcore.model.tenant import Standing
from mailcore.services import MailServices
from tests.api.conftest import Api
from tests.builders import OPERATOR, MadeUser

SUBMIT: dict[str, Any] = {"to": [{"address": "bob@else.test"}], "subject": "x", "text": "y"}


@pytest.mark.parametrize("standing", [Standing.NO_SENDING, Standing.READ_ONLY])
def test_nothing_is_submitted(
    own: Api, tenant: Api, services: MailServices, user: MadeUser, standing: Standing
) -> None:
    services.tenants.set_standing(OPERATOR, user.tenant_id, standing)
    for api in (own, tenant):
        answer = api.post(f"/users/{user.user_id}/submit", SUBMIT)
        assert (answer.status, answer.body.get("code")) == (403, "NotPermitted")
    assert not services.outbound.list_of_user(user.user_id)


def test_read_only_changes_nothing(
    own: Api, tenant: Api, platform: Api, services: MailServices, user: MadeUser
) -> None:
    services.tenants.set_standing(OPERATOR, user.tenant_id, Standing.READ_ONLY)
    inbox = next(
        box["id"] for box in own.get(f"/users/{user.user_id}/mailboxes").body["results"] if box["path"] == "INBOX"
    )
    raw = "Subject: x\r\n\r\ny\r\n"
    for api, status in ((own, 403), (tenant, 403), (platform, 200)):
        path = f"/users/{user.user_id}/mailboxes"
        assert api.post(path, {"path": f"made by {status} {id(api)}"}).status == status
        assert api.post(f"{path}/{inbox}/messages", {"raw": raw}).status == status
        assert api.put(f"/users/{user.user_id}/autoreply", {"status": True, "text": "x"}).status == status
    assert own.get(f"/users/{user.user_id}/mailboxes/{inbox}/messages").body["total"] == 1
