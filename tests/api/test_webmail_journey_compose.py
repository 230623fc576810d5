"""A webmail's day: sign in, answer with an attachment, send, it arrives, delete and restore.

Over TCP to real processes, with the requests that WildDuck's own webmail sends: a token in X-Access-Token, `sess` and
`ip` everywhere, empty strings for what is not set, `page=`, and `success: true` expected on every answer.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import orjson
import pytest

from infra.devstack.endpoints import Endpoints
from mailcore.model.roles import Role
from mailcore.model.token import PLATFORM
from mailcore.services import MailServices
from tests.api.conftest import token
from tests.builders import MadeUser
from tests.stubs.outside import Outside, outside
from tests.system.sending import ARRIVES_S, hosted, own_services
from tests.system.servers import RunningServer, environment_of, start
from tests.waiting import wait_until

WHO = {"sess": "f00dfeedf00dfeed", "ip": "192.0.2.7"}
REPORT = os.urandom(70_000)


class Webmail:
    """The webmail's client: every answer must say `success: true`."""

    def __init__(self, server: RunningServer, token_text: str, user: str = "") -> None:
        self._server = server
        self.token = token_text
        self.user = user

    def raw(self, method: str, path: str, body: Any = None) -> bytes:
        connection = http.client.HTTPConnection("127.0.0.1", self._server.port("api"), timeout=30)
        headers = {"X-Access-Token": self.token, "Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        sent = None if body is None else orjson.dumps(body)
        connection.request(method, path, sent, headers)
        answer = connection.getresponse()
        raw = answer.read()
        connection.close()
        assert answer.status == 200, raw
        return raw

    def ask(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        found: dict[str, Any] = orjson.loads(self.raw(method, path, body))
        assert found["success"] is True
        return found

    def get(self, path: str, **query: Any) -> dict[str, Any]:
        return self.ask("GET", f"/users/{self.user}{path}?{urlencode(query | WHO)}")

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        return self.ask("POST", f"/users/{self.user}{path}", body | WHO)

    def put(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        return self.ask("PUT", f"/users/{self.user}{path}", body | WHO)

    def delete(self, path: str) -> dict[str, Any]:
        return self.ask("DELETE", f"/users/{self.user}{path}?{urlencode(WHO)}")

    def mailbox(self, name: str) -> str:
        found = self.get("/mailboxes", counters="true", specialUse="", showHidden="")["results"]
        return str(next(one["id"] for one in found if one["path"] == name))

    def listed(self, mailbox: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.get(
            f"/mailboxes/{mailbox}/messages", limit=20, next="", previous="", page="", order="desc", unseen=""
        )["results"]
        return found

    def wait_for(self, mailbox: str, subject: str) -> dict[str, Any]:
        """Wait until a message of that subject is in a mailbox."""
        return wait_until(
            lambda: [one for one in self.listed(mailbox) if one["subject"] == subject],
            seconds=ARRIVES_S,
            said=lambda: f"{subject} has not come",
        )[0]


@pytest.fixture(scope="module")
def services(stack: Endpoints, fresh_uri: Callable[[str, str], str], redis_url: str) -> Iterator[MailServices]:
    made = own_services(stack, fresh_uri, redis_url, "webmail")
    yield made
    made.close()


@pytest.fixture(scope="module")
def world() -> Iterator[Outside]:
    with outside() as made:
        yield made


@pytest.fixture(scope="module")
def server(
    services: MailServices, redis_url: str, world: Outside, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("webmail")
    uri = services.settings.mongo_uri.reveal_text()
    environment = environment_of(uri, redis_url, ["api"]) | world.environment(folder)
    with start(["api", "relay"], environment, folder) as found:
        yield found


def signed_in(server: RunningServer, services: MailServices, user: MadeUser) -> Webmail:
    """Sign in with a name and a password, as the webmail does for its users."""
    backend = Webmail(server, token(services, PLATFORM, Role.ROOT))
    said = {"username": user.address, "password": user.password, "protocol": "WEBMAIL", "scope": "master", "appId": ""}
    found = backend.ask("POST", "/authenticate", said | {"token": True} | WHO)
    assert found["require2fa"] is False
    return Webmail(server, found["token"], found["id"])


def test_a_day_of_a_webmail(services: MailServices, server: RunningServer, world: Outside) -> None:
    ann, bob = (signed_in(server, services, hosted(services, world)) for _ in range(2))
    address = {webmail.user: webmail.get("")["address"] for webmail in (ann, bob)}

    # Bob writes to Ann, with a report
    file = {"filename": "Bericht äöü.pdf", "contentType": "application/pdf", "encoding": "base64"}
    bob.post(
        "/submit",
        {
            "mailbox": "", "from": {"name": "Bob", "address": address[bob.user]}, "replyTo": "",
            "to": [{"name": "Ann", "address": address[ann.user]}], "cc": [], "bcc": [],
            "subject": "Bericht", "text": "Siehe Anhang", "html": "<p>Siehe Anhang</p>", "isDraft": False,
            "attachments": [{**file, "content": base64.b64encode(REPORT).decode(), "cid": ""}], "sendTime": "",
        },
    )  # fmt: skip
    inbox = ann.mailbox("INBOX")
    arrived = ann.wait_for(inbox, "Bericht")
    assert (arrived["seen"], arrived["attachments"]) == (False, True)

    # Ann reads it
    read = ann.get(f"/mailboxes/{inbox}/messages/{arrived['id']}", markAsSeen="true", replaceCidLinks="")
    assert (read["seen"], read["text"].strip(), read["from"]["name"]) == (True, "Siehe Anhang", "Bob")
    [attachment] = read["attachments"]
    assert attachment["filename"] == "Bericht äöü.pdf"
    content = ann.raw(
        "GET", f"/users/{ann.user}/mailboxes/{inbox}/messages/{read['id']}/attachments/{attachment['id']}"
    )
    assert hashlib.sha256(content).digest() == hashlib.sha256(REPORT).digest()

    # begins an answer, which is saved twice, and sends it with the report
    answering = {
        "reference": {"mailbox": inbox, "id": read["id"], "action": "reply", "attachments": True},
        "to": [{"name": "Bob", "address": address[bob.user]}], "subject": "Re: Bericht", "html": "<p>Danke!</p>",
    }  # fmt: skip
    drafts = ann.mailbox("Drafts")
    first = ann.post("/submit", answering | {"isDraft": True, "draft": ""})["message"]
    place = {"mailbox": first["mailbox"], "id": first["id"]}
    second = ann.post("/submit", answering | {"isDraft": True, "draft": place, "text": "Danke!"})["message"]
    assert [one["id"] for one in ann.listed(drafts)] == [second["id"]]
    place = {"mailbox": second["mailbox"], "id": second["id"]}
    sent = ann.post("/submit", answering | {"isDraft": False, "uploadOnly": False, "draft": place, "meta": ""})[
        "message"
    ]
    assert ann.listed(drafts) == []
    assert [one["id"] for one in ann.listed(ann.mailbox("Sent Mail"))] == [sent["id"]]
    assert ann.get(f"/mailboxes/{inbox}/messages/{read['id']}")["answered"] is True

    # it arrives with Bob, in the conversation, with the report as it was
    mailbox = bob.mailbox("INBOX")
    answer = bob.wait_for(mailbox, "Re: Bericht")
    whole = bob.get(f"/mailboxes/{mailbox}/messages/{answer['id']}", markAsSeen="true")
    assert whole["thread"] == bob.listed(bob.mailbox("Sent Mail"))[0]["thread"]
    assert [one["filename"] for one in whole["attachments"]] == ["Bericht äöü.pdf"]
    back = bob.raw("GET", f"/users/{bob.user}/mailboxes/{mailbox}/messages/{whole['id']}/attachments/ATT00001")
    assert back == REPORT

    # Bob flags it, moves it, deletes it, and restores what he deleted
    bob.put(f"/mailboxes/{mailbox}/messages/{answer['id']}", {"flagged": True, "seen": "", "moveTo": ""})
    trash = bob.mailbox("Trash")
    moved = bob.put(f"/mailboxes/{mailbox}/messages/{answer['id']}", {"moveTo": trash})
    bob.delete(f"/mailboxes/{trash}/messages/{moved['id'][0][1]}")
    assert bob.listed(trash) == []
    [archived] = bob.get("/archived/messages", limit=20, next="", previous="", page="", order="")["results"]
    assert (archived["subject"], archived["flagged"]) == ("Re: Bericht", True)
    now = datetime.now(UTC)
    span = {"start": (now - timedelta(hours=1)).isoformat(), "end": (now + timedelta(hours=1)).isoformat()}
    assert bob.post("/archived/restore", span)["task"]
    assert [one["subject"] for one in bob.listed(trash)] == ["Re: Bericht"]

    # Ann signs out: her token is gone
    ann.ask("DELETE", "/authenticate")
    with pytest.raises(AssertionError, match="InvalidToken"):
        ann.get("/mailboxes")
