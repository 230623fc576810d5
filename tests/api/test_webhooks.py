"""Webhooks by the API."""

from __future__ import annotations

import pytest

from mailcore.services import MailServices
from tests.api.conftest import Api
from tests.builders import OPERATOR, MadeUser, make_user

URL = "https://hooks.test/in"


def test_a_webhook_is_made_listed_and_deleted(tenant: Api, own: Api, user: MadeUser) -> None:
    made = tenant.post("/webhooks", {"type": ["user.*", "mailbox.created"], "url": URL, "user": "", "sess": ""})
    secret = made.body["secret"]
    mine = tenant.post("/webhooks", {"type": ["*"], "url": URL, "user": str(user.user_id)}).body["id"]
    listed = tenant.get("/webhooks?page=&type=&user=")
    assert [one["id"] for one in listed.body["results"]] == [made.body["id"], mine]
    assert secret.encode() not in listed.raw
    assert listed.headers["ETag"]
    assert tenant.get("/webhooks", headers={"If-None-Match": listed.headers["ETag"]}).status in {200, 304}
    assert [one["id"] for one in own.get("/webhooks").body["results"]] == [mine]
    assert tenant.get("/webhooks?type=user.*").body["total"] == 1
    assert own.post("/webhooks", {"type": ["*"], "url": URL}).body["code"] == "MissingPrivileges"
    assert tenant.delete(f"/webhooks/{mine}").status == 200
    for text in (mine, "x", "$ne"):
        answer = tenant.delete(f"/webhooks/{text}")
        assert (answer.status, answer.body["code"]) == (404, "WebhookNotFound")


def test_those_of_others_are_not_there(tenant: Api, platform: Api, services: MailServices) -> None:
    stranger = make_user(services)
    theirs, _ = services.webhooks.create(OPERATOR, stranger.tenant_id, None, ["*"], URL)
    everybodys = platform.post("/webhooks", {"type": "*", "url": URL}).body["id"]
    for hook_id in (str(theirs.id), everybodys):
        assert hook_id not in [one["id"] for one in tenant.get("/webhooks").body["results"]]
        assert tenant.delete(f"/webhooks/{hook_id}").body["code"] == "WebhookNotFound"
    made = tenant.post("/webhooks", {"type": ["*"], "url": URL, "user": str(stranger.user_id)})
    assert made.body["code"] == "UserNotFound"
    assert platform.delete(f"/webhooks/{everybodys}").status == 200


@pytest.mark.parametrize(
    "change", [{"type": []}, {"type": ["a b"]}, {"url": "http://x.test/"}, {"url": "x"}, {"user": "x"}]
)
def test_what_does_not_fit_is_refused(tenant: Api, change: dict[str, object]) -> None:
    answer = tenant.post("/webhooks", {"type": ["*"], "url": URL, **change})
    assert (answer.status, answer.body["code"]) == (400, "InputValidationError")
