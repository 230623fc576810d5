"""Requests are counted and timed by operation and status; nothing that a client writes becomes a label."""

from __future__ import annotations

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from werkzeug.wrappers import Request, Response

from mailcore.api import measuring, operations
from mailcore.api.application import Application
from tests.api.conftest import Api
from tests.builders import MadeUser

STRANGE = ("/users/canary-%d", "/canary-%d", "/users/canary-%d/mailboxes/x", "/users?query=canary-%d")


def counts() -> dict[tuple[str, str], float]:
    """How many requests there were, by operation and status."""
    found = {}
    for family in text_string_to_metric_families(generate_latest().decode()):
        for sample in family.samples:
            if sample.name == "eider_api_request_seconds_count":
                found[sample.labels["operation"], sample.labels["status"]] = sample.value
    return found


def asked(before: dict[tuple[str, str], float]) -> dict[tuple[str, str], int]:
    return {key: int(value - before.get(key, 0)) for key, value in counts().items() if value != before.get(key, 0)}


def _strange_labels(api: Api) -> list[tuple[str, str]]:
    for number in range(20):
        for path in STRANGE:
            api.get(path % number)
        api.ask(f"CANARY{number}", "/users")
    known = {operation.name for operation in operations.ALL} | {"openapi", "docs", measuring.UNKNOWN}
    return [key for key in counts() if "anary" in str(key).lower() or key[0] not in known]


def test_by_operation_and_status(platform: Api, user: MadeUser) -> None:
    before = counts()
    for _ in range(3):
        assert platform.get(f"/users/{user.user_id}").status == 200
    assert platform.get("/users/000000000000000000000000").status == 404
    assert platform.get("/nowhere").status == 404
    assert Api(platform.app, None).get(f"/users/{user.user_id}").status == 403
    assert asked(before) == {
        ("getUser", "200"): 3, ("getUser", "404"): 1, ("getUser", "403"): 1, ("unknown", "404"): 1,
    }  # fmt: skip


def test_labels_are_those_of_the_table(platform: Api) -> None:
    assert _strange_labels(platform) == []


def test_a_label_of_what_clients_write_would_be_seen(platform: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control."""
    real = Application.respond

    def respond(self: Application, request: Request) -> Response:
        response = real(self, request)
        measuring.count(request.path, response.status_code, 0.0)
        return response

    monkeypatch.setattr(Application, "respond", respond)
    assert len(_strange_labels(platform)) > 20
