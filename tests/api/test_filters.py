"""Filters, automatic replies and lists of senders' domains by the API, and what they do to mail."""

from __future__ import annotations

import pytest

from mailcore.model.filter import RuleAction, RuleContent, of_user
from mailcore.services import MailServices
from tests.api.conftest import Api
from tests.builders import OPERATOR, MadeUser, make_user
from tests.store.test_delivery import deliver, message


def test_a_filter_sorts_what_comes(own: Api, services: MailServices, user: MadeUser) -> None:
    box = own.post("/users/me/mailboxes", {"path": "Reports"}).body["id"]
    query = {"from": "", "subject": "report", "size": -1_000_000}
    made = own.post(
        "/users/me/filters",
        {"name": "Reports", "query": query, "action": {"seen": True, "mailbox": box, "flag": ""}, "metaData": {"a": 1}},
    )
    assert made.status == 200
    shown = own.get("/users/me/filters?metaData=true").body
    assert shown["limits"]["used"] == 1
    one = shown["results"][0]
    assert one["query"] == [["subject", "(report)"], ["smaller", 1_000_000]]
    assert one["action"] == [["mark as read"], ["move to folder", "Reports"]]
    assert (one["originalQuery"], one["metaData"]) == ({"subject": "report", "size": -1_000_000}, {"a": 1})
    deliver(services, b"Subject: weekly report\r\n\r\nx\r\n", user)
    deliver(services, message(b"other"), user)
    listed = own.get(f"/users/me/mailboxes/{box}/messages").body
    assert [(one["subject"], one["seen"]) for one in listed["results"]] == [("weekly report", True)]
    path = f"/users/me/filters/{made.body['id']}"
    assert own.put(path, {"disabled": True}).status == 200
    assert own.get(path).body["disabled"] is True
    assert own.get(path).body["query"] == {"subject": "report", "size": -1_000_000}
    assert own.delete(path).status == 200
    assert own.get(path).body["code"] == "FilterNotFound"


def test_filters_have_an_order(own: Api) -> None:
    ids = [
        own.post("/users/me/filters", {"name": name, "query": {}, "action": {"seen": True}}).body["id"]
        for name in "abc"
    ]
    assert own.put(f"/users/me/filters/{ids[2]}", {"position": 0}).status == 200
    assert [one["name"] for one in own.get("/users/me/filters").body["results"]] == ["c", "a", "b"]
    condition = {"part": "header", "header": "X-Tag", "match": "regex", "value": "^a+$"}
    own.put(f"/users/me/filters/{ids[0]}", {"query": {"conditions": [condition]}, "stop": True})
    shown = own.get(f"/users/me/filters/{ids[0]}").body
    assert (shown["stop"], shown["query"]["conditions"][0]["value"]) == (True, "^a+$")


@pytest.mark.parametrize(
    "body",
    [
        {"query": {"conditions": [{"part": "subject", "match": "regex", "value": "("}]}, "action": {"seen": True}},
        {"query": {}, "action": {"targets": ["nobody"]}},
        {"query": {"unknown": 1}, "action": {}},
        {"query": {"from": {"$gt": ""}}, "action": {}},
        {"query": {}},
    ],
)
def test_what_is_no_filter_is_refused(own: Api, body: dict[str, object]) -> None:
    answer = own.post("/users/me/filters", body)
    assert (answer.status, answer.body["code"]) == (400, "InputValidationError")


def test_a_mailbox_of_another_is_not_there(own: Api, tenant: Api, services: MailServices, user: MadeUser) -> None:
    assert own.post("/users/me/filters", {"query": {}, "action": {"mailbox": "0" * 24}}).body["code"] == "NoSuchMailbox"


def test_an_automatic_reply_is_set_and_taken_away(own: Api) -> None:
    assert own.get("/users/me/autoreply").body["status"] is False
    body = {"status": True, "subject": "Away", "text": "Back soon", "start": False, "end": "2030-01-01T00:00:00Z"}
    assert own.put("/users/me/autoreply", body).status == 200
    shown = own.get("/users/me/autoreply").body
    assert (shown["status"], shown["start"], shown["end"]) == (True, False, "2030-01-01T00:00:00.000Z")
    own.put("/users/me/autoreply", {"subject": "", "end": False})
    shown = own.get("/users/me/autoreply").body
    assert (shown["subject"], shown["text"], shown["end"]) == ("", "Back soon", False)
    assert own.get("/users/me").body["autoreply"] is True
    assert own.delete("/users/me/autoreply").status == 200
    assert own.get("/users/me").body["autoreply"] is False


def test_domains_are_listed_by_tag(tenant: Api, platform: Api) -> None:
    made = tenant.post("/domainaccess/vip/allow", {"domain": "Bücher.example"}).body["id"]
    tenant.post("/domainaccess/vip/block", {"domain": "bad.example"})
    assert [one["domain"] for one in tenant.get("/domainaccess/vip/allow").body["results"]] == ["xn--bcher-kva.example"]
    assert platform.delete(f"/domainaccess/{made}").body["code"] == "DomainNotFound"
    assert tenant.delete(f"/domainaccess/{made}").body["deleted"] == made
    assert tenant.get("/domainaccess/vip/allow").body["results"] == []
    assert [one["action"] for one in tenant.get("/domainaccess/vip/block").body["results"]] == ["block"]


def test_everybodys_filters_come_in_pages(
    tenant: Api, own: Api, platform: Api, services: MailServices, user: MadeUser
) -> None:
    colleague = make_user(services, tenant=(user.tenant_id, user.address.partition("@")[2]))
    stranger = make_user(services)
    for one, count in ((user, 3), (colleague, 2), (stranger, 1)):
        for number in range(count):
            action = RuleAction(targets=(f"to{number}@else.test",))
            services.filters.create(OPERATOR, of_user(one.user_id), RuleContent(name=f"rule {number}", action=action))
    first = tenant.get("/filters?limit=4&forward=&page=&next=").body
    assert (first["total"], first["previousCursor"]) == (5, False)
    assert [(one["user"], one["name"]) for one in first["results"]] == [
        *((str(user.user_id), f"rule {number}") for number in range(3)), (str(colleague.user_id), "rule 0"),
    ]  # fmt: skip
    second = tenant.get(f"/filters?limit=4&metaData=1&next={first['nextCursor']}").body
    assert [(one["name"], one["targets"], one["metaData"]) for one in second["results"]] == [
        ("rule 1", ["to1@else.test"], {})
    ]
    back = tenant.get(f"/filters?limit=4&previous={second['previousCursor']}").body
    assert [one["id"] for one in back["results"]] == [one["id"] for one in first["results"]]
    assert tenant.get("/filters?forward=TO2@").body["total"] == 1
    assert own.get("/filters").body["code"] == "MissingPrivileges"
    assert platform.get("/filters").body["total"] >= 6
    assert tenant.get("/filters?next=WyJ4IiwxXQ").body["code"] == "InputValidationError"
