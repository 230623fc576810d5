"""A webmail that follows its user's mailboxes: connected, cut off, and going on after the last event it knows.

Over TCP to real processes (API, LMTP and the sequencer), as WildDuck's webmail does it by EventSource.
"""

from __future__ import annotations

import http.client
import smtplib
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import orjson
import pytest

from infra.devstack.endpoints import Endpoints
from mailcore.model.roles import Role
from mailcore.services import MailServices
from tests.api.conftest import token
from tests.api.test_webmail_journey_compose import Webmail
from tests.builders import OPERATOR, MadeUser, make_user
from tests.system.sending import own_services
from tests.system.servers import ROOT, RunningServer, environment_of, start

WITHIN_S = 40.0


class StreamEnded(Exception):
    """The server closed the stream."""


class EventSource:
    """What a browser does with `text/event-stream`: it keeps the last id, and sends it when it connects again."""

    def __init__(self, server: RunningServer, webmail: Webmail) -> None:
        self._server = server
        self._webmail = webmail
        self.last_id = ""
        self.commands: list[dict[str, Any]] = []

    @contextmanager
    def connected(self) -> Iterator[Callable[[int], None]]:
        connection = http.client.HTTPConnection("127.0.0.1", self._server.port("api"), timeout=WITHIN_S)
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": self.last_id} if self.last_id else {})
        path = f"/users/{self._webmail.user}/updates?accessToken={self._webmail.token}&sess=f00d&ip=192.0.2.7"
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        assert (answer.status, answer.getheader("Content-Type", "").partition(";")[0]) == (200, "text/event-stream")
        self._block(answer)  # says that it has begun

        def read_until(count: int) -> None:
            while len(self.commands) < count:
                self._block(answer)

        try:
            yield read_until
        finally:
            if connection.sock is not None:
                connection.sock.shutdown(socket.SHUT_RDWR)
            connection.close()

    def _block(self, answer: http.client.HTTPResponse) -> None:
        data, event_id = [], None
        while (line := answer.readline()) != b"\n":
            if not line:
                raise StreamEnded
            name, _, value = line.rstrip(b"\n").partition(b": ")
            if name == b"data":
                data.append(value)
            if name == b"id":
                event_id = value.decode()
        if data:
            command = orjson.loads(b"\n".join(data))
            if command["command"] != "COUNTERS":
                self.commands.append(command)
        if event_id is not None:
            self.last_id = event_id


@pytest.fixture(scope="module")
def services(stack: Endpoints, fresh_uri: Callable[[str, str], str], redis_url: str) -> Iterator[MailServices]:
    made = own_services(stack, fresh_uri, redis_url, "updates")
    yield made
    made.close()


@pytest.fixture(scope="module")
def server(services: MailServices, redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    environment = environment_of(services.settings.mongo_uri.reveal_text(), redis_url, ["api", "lmtp"])
    sequencer = subprocess.Popen([sys.executable, "-m", "workers.main", "sequencer"], cwd=ROOT, env=environment)
    try:
        with start(["api", "lmtp"], environment, tmp_path_factory.mktemp("updates")) as found:
            yield found
    finally:
        sequencer.terminate()
        sequencer.wait(30)


def deliver(server: RunningServer, user: MadeUser, subject: str) -> None:
    with smtplib.LMTP("127.0.0.1", server.port("lmtp")) as lmtp:
        lmtp.sendmail("x@else.test", [user.address], f"Subject: {subject}\r\n\r\nx\r\n".encode())


def test_a_stream_goes_on_where_it_was_cut(services: MailServices, server: RunningServer) -> None:
    user = make_user(services)
    webmail = Webmail(
        server, token(services, services.tokens.owner_of_user(user.user_id), Role.USER), str(user.user_id)
    )
    inbox = webmail.mailbox("INBOX")
    source = EventSource(server, webmail)
    with source.connected() as read_until:
        deliver(server, user, "one")
        read_until(1)
        webmail.put(f"/mailboxes/{inbox}/messages/1", {"seen": True, "flagged": ""})
        read_until(2)
    assert [(one["command"], one["uid"]) for one in source.commands] == [("EXISTS", 1), ("FETCH", 1)]
    assert source.commands[1]["flags"] == ["\\Seen"]

    # nobody listens while a message comes, goes to a new mailbox, and another comes
    deliver(server, user, "two")
    made = webmail.post("/mailboxes", {"path": "Plans", "hidden": "", "retention": ""})["id"]
    webmail.put(f"/mailboxes/{inbox}/messages/2", {"moveTo": made})
    deliver(server, user, "three")
    with source.connected() as read_until:
        read_until(7)
    missed = source.commands[2:]
    assert [(one["command"], one["uid"]) for one in missed if one.get("mailbox") == inbox] == [
        ("EXISTS", 2), ("EXPUNGE", 2), ("EXISTS", 3),
    ]  # fmt: skip
    assert sorted(one["command"] for one in missed if one.get("mailbox") == made) == ["CREATE", "EXISTS"]

    # and once more: nothing was left, what comes now is told
    with source.connected() as read_until:
        webmail.delete(f"/mailboxes/{inbox}/messages/1")
        read_until(8)
    assert source.commands[7]["command"] == "EXPUNGE"


def test_the_stream_ends_soon_after_its_token_was_revoked(services: MailServices, server: RunningServer) -> None:
    user = make_user(services)
    owner = services.tokens.owner_of_user(user.user_id)
    source = EventSource(server, Webmail(server, token(services, owner, Role.USER), str(user.user_id)))
    with source.connected() as read_until:
        for each in services.tokens.list_of(owner):
            services.tokens.revoke(OPERATOR, owner, each.id)
        with pytest.raises(StreamEnded):
            read_until(1)
