"""Requests that change several things: all of them, or none; and what the database breaks off can be sent again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from mailcore.api.steps import Steps
from mailcore.errors import StoreUnavailable
from mailcore.model.tenant import Standing
from mailcore.services import MailServices
from tests.api.conftest import Api
from tests.builders import OPERATOR, MadeUser
from tests.store.test_delivery import deliver, message


def _mailbox(own: Api, path: str) -> dict[str, Any]:
    return own.get(f"/users/me/mailboxes/resolve?path={path}").body


LATE_REFUSALS: dict[str, dict[str, Any]] = {
    "targets": {"targets": ["{own}"]},
    "encryption": {"encryptMessages": True},
    "password": {"password": "short"},
    "hash": {"password": "$unknown$x", "hashedPassword": True},
}


@pytest.mark.parametrize("late", list(LATE_REFUSALS))
def test_a_user_is_changed_in_all_or_nothing(tenant: Api, user: MadeUser, late: str) -> None:
    path = f"/users/{user.user_id}"
    before = tenant.get(path).body
    wanted = dict(LATE_REFUSALS[late])
    if late == "targets":
        wanted["targets"] = [user.address]
    early = {"name": "Another", "quota": 12345, "recipients": 3, "disabledScopes": ["pop3"], "tags": ["new"]}
    assert tenant.put(path, early | wanted).status in {400, 403}
    assert tenant.get(path).body == before
    assert tenant.put(path, early).status == 200
    assert tenant.get(path).body["name"] == "Another"


def test_without_a_rehearsal_half_is_done(tenant: Api, user: MadeUser, monkeypatch: pytest.MonkeyPatch) -> None:
    def at_once(self: Steps, change: Callable[..., None], *, dry_run: bool) -> None:
        for step in self._noted:
            change(step.function, *step.arguments, **step.named)

    monkeypatch.setattr(Steps, "carry_out", at_once)
    before = tenant.get(f"/users/{user.user_id}").body
    with pytest.raises(AssertionError):
        test_a_user_is_changed_in_all_or_nothing(tenant, user, "password")
    assert tenant.get(f"/users/{user.user_id}").body["name"] != before["name"]


def test_a_mailbox_is_changed_in_all_or_nothing(own: Api) -> None:
    taken = own.post("/users/me/mailboxes", {"path": "Taken"}).body["id"]
    made = own.post("/users/me/mailboxes", {"path": "Mine"}).body["id"]
    own.post("/users/me/mailboxes", {"path": "Mine/Below"})
    before = own.get(f"/users/me/mailboxes/{made}").body
    changes = {"subscribed": False, "retention": 5000, "hidden": True}
    for path in ("Taken", "Mine/Below/Deeper", "Shared/x@example.org/y"):
        assert own.put(f"/users/me/mailboxes/{made}", {"path": path, **changes}).status == 400
        assert own.get(f"/users/me/mailboxes/{made}").body == before
        assert own.put(f"/users/me/mailboxes/{made}?dry_run=1", {"path": path}).status == 400
    inbox = _mailbox(own, "INBOX")
    assert own.put(f"/users/me/mailboxes/{inbox['id']}", {"path": "Elsewhere", "hidden": True}).status == 400
    assert _mailbox(own, "Elsewhere")["code"] == "NoSuchMailbox"
    assert own.put(f"/users/me/mailboxes/{made}", {"path": "Free", **changes}).status == 200
    found = own.get(f"/users/me/mailboxes/{made}").body
    assert (found["path"], found["subscribed"], found["retention"], found["hidden"]) == ("Free", False, 5000, True)
    assert own.delete(f"/users/me/mailboxes/{taken}").status == 200


def test_inbox_keeps_what_is_set_when_its_mail_moves_on(own: Api, services: MailServices, user: MadeUser) -> None:
    deliver(services, message(b"one"), user)
    inbox = _mailbox(own, "INBOX")["id"]
    assert own.put(f"/users/me/mailboxes/{inbox}", {"path": "Old", "retention": 5000}).status == 200
    assert (_mailbox(own, "INBOX")["id"], _mailbox(own, "INBOX")["retention"]) == (inbox, 5000)
    assert (_mailbox(own, "INBOX")["total"], _mailbox(own, "Old")["total"]) == (0, 1)


def _break_off(monkeypatch: pytest.MonkeyPatch, place: object, name: str) -> None:
    """Let the first use of a method of a store fail as if the database were away."""
    whole, calls = getattr(place, name), []

    def broken(*arguments: Any, **named: Any) -> Any:
        calls.append(name)
        if len(calls) == 1:
            raise StoreUnavailable("away")
        return whole(*arguments, **named)

    monkeypatch.setattr(place, name, broken)


def test_a_new_mailbox_that_breaks_off_can_be_asked_for_again(
    own: Api, services: MailServices, user: MadeUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    trees = services.placement.home(user.user_id).shard.trees
    _break_off(monkeypatch, type(trees), "replace")
    wanted = {"path": "Again", "retention": 7000, "hidden": True, "encryptMessages": True}
    assert own.post("/users/me/mailboxes", wanted).status == 503
    assert own.post("/users/me/mailboxes", wanted).status == 200
    found = _mailbox(own, "Again")
    assert (found["retention"], found["hidden"], found["encryptMessages"]) == (7000, True, True)


@pytest.mark.parametrize("step", ["set_limit", "set_settings", "set_disabled_protocols", "set_encryption"])
def test_a_new_user_that_breaks_off_can_be_asked_for_again(
    tenant: Api, services: MailServices, user: MadeUser, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    domain = user.address.partition("@")[2]
    count = tenant.get("/users").body["total"]
    wanted = {
        "username": f"again@{domain}", "password": "long enough words", "recipients": 7, "language": "de",
        "disabledScopes": ["pop3"], "smimeCipher": "AES-GCM", "tags": ["new"], "addTagsToAddress": True,
        "mailboxes": {"sent": "Gesendet"},
    }  # fmt: skip
    _break_off(monkeypatch, type(services.placement.directory.user_changes), step)
    assert tenant.post("/users", wanted).status == 503
    assert tenant.get("/users").body["total"] == count
    made = tenant.post("/users", wanted)
    assert made.status == 200, made.body
    found = tenant.get(f"/users/{made.body['id']}").body
    assert (found["limits"]["recipients"]["allowed"], found["language"]) == (7, "de")
    assert (found["disabledScopes"], found["smimeCipher"]) == (["pop3"], "AES-GCM")
    (address,) = tenant.get(f"/users/{made.body['id']}/addresses").body["results"]
    assert address["tags"] == ["new"]


def test_no_user_is_made_of_what_cannot_be_set(tenant: Api, user: MadeUser) -> None:
    address = f"circle@{user.address.partition('@')[2]}"
    count = tenant.get("/users").body["total"]
    wanted = {"username": address, "password": "long enough words"}
    assert tenant.post("/users", wanted | {"targets": [address]}).status == 400
    assert tenant.get("/users").body["total"] == count
    assert tenant.post("/users", wanted).status == 200


def test_an_address_becomes_the_main_one_though_the_first_try_broke_off(
    tenant: Api, services: MailServices, user: MadeUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, domain = f"/users/{user.user_id}/addresses", user.address.partition("@")[2]
    _break_off(monkeypatch, type(services.placement.directory.user_changes), "set_address")
    wanted = {"address": f"main@{domain}", "main": True}
    assert tenant.post(path, wanted).status == 503
    assert tenant.post(path, wanted).status == 200
    assert tenant.get(f"/users/{user.user_id}").body["address"] == f"main@{domain}"
    assert len(tenant.get(path).body["results"]) == 2
    assert tenant.post(path, {"address": f"*x@{domain}", "allowWildcard": True, "main": True}).status in {400, 403}
    assert len(tenant.get(path).body["results"]) == 2


def test_messages_are_changed_in_all_or_nothing(own: Api, services: MailServices, user: MadeUser, tenant: Api) -> None:
    deliver(services, message(b"one"), user)
    inbox = _mailbox(own, "INBOX")["id"]
    path = f"/users/me/mailboxes/{inbox}/messages/1"
    assert own.put(path, {"metaData": {"a": 1}}).status == 200
    assert own.put(f"{path}?dry_run=1", {"metaData": {"a": 2}, "seen": True}).body["plan"]
    found = own.get(path).body
    assert (found["metaData"], found["seen"]) == ({"a": 1}, False)
    services.tenants.set_standing(OPERATOR, user.tenant_id, Standing.READ_ONLY)
    assert own.put(path, {"metaData": {"a": 3}}).status == 403
    services.tenants.set_standing(OPERATOR, user.tenant_id, Standing.FULL)
    assert own.get(path).body["metaData"] == {"a": 1}


def test_a_filter_is_changed_and_placed_by_one_change(own: Api) -> None:
    def made(name: str) -> str:
        answer = own.post("/users/me/filters", {"name": name, "query": {"from": name}, "action": {"seen": True}})
        return str(answer.body["id"])

    ids = [made(name) for name in ("a", "b", "c")]
    wanted = {"name": "first", "position": 0, "action": {"mailbox": "0" * 24}}
    assert own.put(f"/users/me/filters/{ids[2]}", wanted).status in {400, 404}
    assert [one["name"] for one in own.get("/users/me/filters").body["results"]] == ["a", "b", "c"]
    del wanted["action"]
    plan = own.put(f"/users/me/filters/{ids[2]}?dry_run=1", wanted).body["plan"]
    assert [(one["change"], one["position"]) for one in plan] == [("filter.changed", 0)]
    assert own.put(f"/users/me/filters/{ids[2]}", wanted).status == 200
    assert [one["name"] for one in own.get("/users/me/filters").body["results"]] == ["first", "a", "b"]
