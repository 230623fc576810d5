"""What holds for every operation: tokens, dry runs, repeated requests, ETags, clear refusals."""

from __future__ import annotations

import gzip
import threading
from io import BytesIO
from typing import Any

import orjson
import pytest

from mailcore.api import errors as api_errors
from mailcore.api import requests
from mailcore.api.application import Application
from mailcore.api.requests import FORM_BYTES
from mailcore.errors import MailError
from mailcore.model.roles import Role
from mailcore.services import MailServices
from tests.api.conftest import Api, token
from tests.builders import OPERATOR, MadeUser, make_user


def test_health_needs_no_token(app: Application) -> None:
    assert Api(app, None).get("/health").status == 200


@pytest.mark.parametrize("value", [None, "", "0" * 40, "x" * 10_000, "$where", "ÿ"])
def test_a_token_that_is_none_is_refused(app: Application, user: MadeUser, value: str | None) -> None:
    api = Api(app, None)
    answer = api.get(
        f"/users/{user.user_id}/mailboxes",
        headers={} if value is None else {"X-Access-Token": value.encode("utf-8").decode("latin-1")},
    )
    assert (answer.status, answer.body["code"]) == (403, "InvalidToken")


def test_a_token_comes_in_three_places(own: Api, app: Application) -> None:
    other = Api(app, None)
    assert other.get("/users/me/mailboxes", headers={"Authorization": f"Bearer {own.token}"}).status == 200
    assert other.get(f"/users/me/mailboxes?accessToken={own.token}").status == 200


def test_a_revoked_token_is_refused_within_seconds(services: MailServices, app: Application, user: MadeUser) -> None:
    owner = services.tokens.owner_of_user(user.user_id)
    made, value = services.tokens.create(OPERATOR, owner, Role.USER, "test")
    api = Api(app, value.reveal_text())
    assert api.get("/users/me/mailboxes").status == 200
    services.tokens.revoke(OPERATOR, owner, made.id)
    services.bearers.forget(value)
    assert api.get("/users/me/mailboxes").body["code"] == "InvalidToken"


def test_a_role_may_do_what_its_row_says(services: MailServices, app: Application, user: MadeUser) -> None:
    owner = services.tokens.owner_of_user(user.user_id)
    api = Api(app, token(services, owner, Role.DOWNLOADER))
    assert api.get("/users/me/mailboxes").body["code"] == "MissingPrivileges"


def test_others_do_not_exist(own: Api, tenant: Api, services: MailServices, user: MadeUser) -> None:
    _, domain = user.address.split("@")
    colleague = make_user(services, tenant=(user.tenant_id, domain))
    stranger = make_user(services)
    assert tenant.get(f"/users/{colleague.user_id}/mailboxes").status == 200
    for api, other in ((own, colleague), (own, stranger), (tenant, stranger)):
        answer = api.get(f"/users/{other.user_id}/mailboxes")
        assert (answer.status, answer.body["code"]) == (404, "UserNotFound")


@pytest.mark.parametrize("seconds", [(1 << 53) - 1, 253_402_300_799])
def test_a_life_that_no_calendar_holds_is_refused(own: Api, user: MadeUser, seconds: int) -> None:
    wanted = {"description": "Phone", "ttl": seconds, "existingPassword": user.password}
    answer = own.post("/users/me/asps", wanted)
    assert (answer.status, answer.body["code"]) == (400, "InputValidationError")


def test_a_dry_run_checks_everything_and_changes_nothing(own: Api) -> None:
    answer = own.post("/users/me/mailboxes?dry_run=true", {"path": "Plan"})
    assert answer.body["plan"] == [{"change": "mailbox.created", "mailbox": "Plan"}]
    assert "Plan" not in [one["path"] for one in own.get("/users/me/mailboxes").body["results"]]
    assert own.post("/users/me/mailboxes?dry_run=true", {"path": "a//b"}).body["code"] == "InputValidationError"


def test_a_repeated_request_is_done_once(own: Api, app: Application, platform: Api, user: MadeUser) -> None:
    key = {"Idempotency-Key": "k1"}
    first = own.post("/users/me/mailboxes", {"path": "Once"}, headers=key)
    again = own.post("/users/me/mailboxes", {"path": "Once"}, headers=key)
    assert (first.status, again.status) == (200, 200)
    assert first.body == again.body
    assert again.headers["Idempotent-Replayed"] == "true"
    other = own.post("/users/me/mailboxes", {"path": "Other"}, headers=key)
    assert (other.status, other.body["code"]) == (422, "IdempotencyKeyReused")
    by_another = platform.post(f"/users/{user.user_id}/mailboxes", {"path": "Once"}, headers=key)
    assert by_another.body["code"] == "MailboxExistsError"


BODIES = {
    "bytes": {"data": b"content", "content_type": "application/octet-stream"},
    "large": {"data": b"content" * 100_000, "content_type": "application/octet-stream"},
    "chunked": {
        "input_stream": BytesIO(b"content"),
        "content_type": "application/octet-stream",
        "environ_overrides": {"wsgi.input_terminated": True},
    },
    "json": {"data": b'{"content": "content"}', "content_type": "application/json"},
    "form": {"data": {"content": "content"}, "content_type": "multipart/form-data"},
}


def endless_form(kind: str) -> dict[str, Any]:
    """A form whose length is not said, of twice what one may have."""
    body = (
        b"path=x&y=" if kind == URLENCODED else b'--x\r\nContent-Disposition: form-data; name="f"; filename="f"\r\n\r\n'
    )
    return {
        "input_stream": BytesIO(body + b"x" * 2 * FORM_BYTES),
        "content_type": kind if kind == URLENCODED else f"{kind}; boundary=x",
        "environ_overrides": {"wsgi.input_terminated": True},
    }


URLENCODED = "application/x-www-form-urlencoded"


@pytest.mark.parametrize("kind", [URLENCODED, "multipart/form-data"])
@pytest.mark.parametrize("headers", [{}, {"Idempotency-Key": "k5"}], ids=["", "under a key"])
def test_a_form_without_end_is_read_to_its_limit(own: Api, kind: str, headers: dict[str, str]) -> None:
    """Neither held in memory nor laid on the disk."""
    form = endless_form(kind)
    answer = own.ask("POST", "/users/me/mailboxes", headers=headers, **form)
    assert (answer.status, answer.body["code"]) == (413, "MessageTooLarge")
    assert form["input_stream"].tell() < FORM_BYTES + (1 << 17)


def test_a_form_that_is_read_to_its_end_would_be_seen(own: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control."""
    monkeypatch.setattr(requests, "FORM_BYTES", 1 << 30)
    with pytest.raises(AssertionError):
        test_a_form_without_end_is_read_to_its_limit(own, URLENCODED, {})


def test_what_is_compressed_is_refused_and_not_taken_for_what_it_holds(own: Api) -> None:
    """Nor is it unpacked, however much that would be."""
    messages = f"/users/me/mailboxes/{own.get('/users/me/mailboxes/resolve?path=INBOX').body['id']}/messages"

    def send(path: str, data: bytes, kind: str, coding: str) -> int:
        return own.ask("POST", path, data=data, content_type=kind, headers={"Content-Encoding": coding}).status

    raw = b"Subject: x\r\n\r\n"
    assert send(messages, gzip.compress(raw), "message/rfc822", "gzip") == 415
    assert send("/users/me/mailboxes", gzip.compress(b'{"path": "x"}'), "application/json", "x-gzip") == 415
    assert send(messages, raw, "message/rfc822", "identity") == 200
    assert own.get(messages).body["total"] == 1


@pytest.mark.parametrize("body", [pytest.param(body, id=name) for name, body in BODIES.items()])
def test_a_body_under_a_key_comes_whole(own: Api, body: dict[str, Any]) -> None:
    made = own.ask("POST", "/users/me/storage", headers={"Idempotency-Key": "k4"}, **body).body["id"]
    content = own.get(f"/users/me/storage/{made}").raw
    assert content == b"content" * (len(content) // 7 or 1)
    assert len(content) in {7, 700_000}


def test_a_large_body_is_told_from_another_under_its_key(own: Api) -> None:
    def ask(body: bytes) -> int:
        options = {"headers": {"Idempotency-Key": "k5"}, "content_type": "application/octet-stream"}
        return own.ask("POST", "/users/me/storage", data=body, **options).status

    assert [ask(b"a" * 100_000), ask(b"b" * 100_000), ask(b"a" * 100_000)] == [200, 422, 200]


def test_a_request_that_failed_may_be_made_again(own: Api) -> None:
    key = {"Idempotency-Key": "k2"}
    assert own.post("/users/me/mailboxes", {"path": "INBOX"}, headers=key).status == 400
    assert own.post("/users/me/mailboxes", {"path": "Free"}, headers=key).status == 200


def test_many_at_once_under_one_key_make_one(own: Api) -> None:
    statuses: list[int] = []

    def ask() -> None:
        answer = own.post("/users/me/mailboxes", {"path": "Race"}, headers={"Idempotency-Key": "k3"})
        statuses.append(answer.status)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(statuses) <= {200, 409}
    assert 200 in statuses
    assert [one["path"] for one in own.get("/users/me/mailboxes").body["results"]].count("Race") == 1


def test_lists_carry_an_etag(own: Api) -> None:
    first = own.get("/users/me/mailboxes")
    assert own.get("/users/me/mailboxes", headers={"If-None-Match": first.headers["ETag"]}).status == 304
    own.post("/users/me/mailboxes", {"path": "New"})
    assert own.get("/users/me/mailboxes", headers={"If-None-Match": first.headers["ETag"]}).status == 200


def test_every_fault_of_the_input_is_told(own: Api) -> None:
    answer = own.post("/users/me/mailboxes", {"paht": "x", "subscribed": True})
    assert answer.status == 400
    assert set(answer.body["details"]) == {"path", "paht", "subscribed"}


@pytest.mark.parametrize(
    "raw", [b"[]", b"{", b'"x"', b"\xff", b"null", b'{"path": {"$gt": ""}}', b'{"path": NaN}', b'{"path": ["a"]}']
)
def test_bodies_that_do_not_fit_are_refused(own: Api, raw: bytes) -> None:
    answer = own.ask("POST", "/users/me/mailboxes", data=raw, content_type="application/json")
    assert (answer.status, answer.body["code"]) == (400, "InputValidationError")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/users/me/mailboxes/", 404),
        ("GET", "//users/me/mailboxes", 404),
        ("GET", "/USERS/me/mailboxes", 404),
        ("PATCH", "/users/me/mailboxes", 405),
        ("GET", "/users/me%252fmailboxes", 404),
        ("GET", "/users/$ne/mailboxes", 404),
    ],
)
def test_paths_are_strict(own: Api, method: str, path: str, status: int) -> None:
    assert own.ask(method, path).status == status


def test_methods_are_not_overridden(own: Api) -> None:
    before = own.get("/users/me/mailboxes").raw
    own.get("/users/me/mailboxes", headers={"X-HTTP-Method-Override": "DELETE"})
    assert own.get("/users/me/mailboxes").raw == before


def test_every_leaf_of_the_errors_has_a_row() -> None:
    def leaves(kind: type[MailError]) -> list[type[MailError]]:
        below = kind.__subclasses__()
        return [kind] if not below else [leaf for one in below for leaf in leaves(one)]

    missing = [
        leaf.__name__
        for leaf in leaves(MailError)
        if leaf.__module__ == "mailcore.errors" and leaf not in api_errors.TABLE
    ]
    assert missing == []


def test_it_describes_itself(app: Application) -> None:
    api = Api(app, None)
    described = api.get("/openapi.json").body
    assert described["openapi"] == "3.1.0"
    assert "post" in described["paths"]["/users/{user}/mailboxes"]
    assert b"Create a mailbox" in api.get("/docs").raw


def nested(depth: int) -> bytes:
    """An object in an object, and so on."""
    return b'{"a":' * depth + b"1" + b"}" * depth


@pytest.mark.parametrize("depth", [101, 250, 254, 255, 1000, 100_000])
@pytest.mark.parametrize("is_chunked", [False, True], ids=["whole", "chunked"])
def test_what_is_nested_too_deeply_is_refused(own: Api, tenant: Api, depth: int, is_chunked: bool) -> None:
    """Whoever could set it would break every list in which it is shown."""
    body = b'{"metaData":' + nested(depth) + b"}"
    options: dict[str, Any] = {"data": body}
    if is_chunked:
        options = {"input_stream": BytesIO(body), "environ_overrides": {"wsgi.input_terminated": True}}
    answer = own.ask("PUT", "/users/me", content_type="application/json", **options)
    assert (answer.status, answer.body["code"]) == (400, "InputValidationError")
    assert own.put("/users/me", {"metaData": orjson.loads(nested(90))}).status == 200
    assert own.put("/users/me", {"metaData": nested(254).decode()}).status == 400
    listed = tenant.get("/users?metaData=true")
    assert (listed.status, listed.body["results"][0]["metaData"]) == (200, orjson.loads(nested(90)))
