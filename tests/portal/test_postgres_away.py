"""Fault F9: Postgres stands still, is killed or full, and mail goes on; the portal says so and comes back."""

from __future__ import annotations

import imaplib
import smtplib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask import Flask

from infra.devstack.stack import Stack
from mailcore.services import MailServices
from portal import database as database_module
from portal.app import create_app
from portal.mail_plane import EXTENSION
from portal.migrations import migrate
from portal.permissions import Role
from portal.settings import PortalSettings
from tests.builders import MadeUser, make_services, make_user
from tests.portal.conftest import Browser, browser_of, make_organisation
from tests.system.servers import environment_of, start
from tests.waiting import wait_until

HOST = "127.0.0.1"
SERVERS = ("lmtp", "imap", "submission")
SHORT_S = 1.0
LONG_S = 30.0


@pytest.fixture
def stack(new_stack: Callable[..., Stack]) -> Stack:
    return new_stack(databases=("main", "redis", "postgres"))


@pytest.fixture
def services(stack: Stack) -> Iterator[MailServices]:
    connected = make_services(stack.directory_uri, {"a": stack.shards["a"]}, stack.redis_url)
    yield connected
    connected.close()


@pytest.fixture
def browser(stack: Stack, services: MailServices) -> Iterator[Browser]:
    """An owner who is signed in."""
    app: Flask = create_app(PortalSettings(stack.postgres_url, services.settings, "http://localhost"), services)
    parts = app.extensions[EXTENSION]
    migrate(parts.database.engine)
    with parts.database.scope():
        made = make_organisation(services)
        yield browser_of(app, made.members[Role.OWNER])
    parts.database.engine.dispose()


def message(number: int) -> bytes:
    return f"From: a@example.org\r\nTo: b@example.org\r\nSubject: {number}\r\n\r\nhello\r\n".encode()


def mail_goes_on(ports: dict[str, int], user: MadeUser, number: int) -> None:
    """One message comes in, is read by a new login, and one is sent."""
    with smtplib.LMTP(HOST, ports["lmtp"], timeout=20) as mta:
        assert mta.sendmail("a@example.org", [user.address], message(number)) == {}
    with imaplib.IMAP4(HOST, ports["imap"], timeout=20) as reader:
        reader.login(user.address, user.password)
        assert reader.select("INBOX")[1] == [str(number).encode()]
        assert b"hello" in reader.fetch(str(number), "(BODY[TEXT])")[1][0][1]
    with smtplib.SMTP(HOST, ports["submission"], timeout=20) as sender:
        sender.login(user.address, user.password)
        text = message(number).replace(b"a@example.org", user.address.encode())
        assert sender.sendmail(user.address, ["somebody@elsewhere.test"], text) == {}


def honest(browser: Browser) -> None:
    response = browser.get("/overview")
    assert response.status_code == 503
    assert response.headers["Retry-After"] == "10"
    assert "Your mail goes on as ever" in response.text
    assert browser.get("/health").status_code == 503
    assert browser.client.post("/sign-in", data={}).status_code in {400, 503}


def comes_back(browser: Browser) -> None:
    wait_until(lambda: browser.get("/overview").status_code == 200, 20, lambda: "the portal did not come back")
    assert browser.get("/health").status_code == 200


def stands_still(stack: Stack, services: MailServices, browser: Browser, folder: Path, seconds: float) -> None:
    user = make_user(services, shard="a")
    environment = environment_of(stack.directory_uri, stack.redis_url, SERVERS)
    with start(SERVERS, environment, folder) as server:
        ports = {name: server.port(name) for name in SERVERS}
        mail_goes_on(ports, user, 1)
        assert browser.get("/overview").status_code == 200
        stack.pause("postgres")
        try:
            ends_at = time.monotonic() + seconds
            mail_goes_on(ports, user, 2)
            honest(browser)
            number = 3
            while time.monotonic() < ends_at:
                mail_goes_on(ports, user, number)
                honest(browser)
                number += 1
        finally:
            stack.resume("postgres")
        comes_back(browser)
        mail_goes_on(ports, user, number)


def test_mail_goes_on_and_the_portal_says_so_and_comes_back(
    stack: Stack, services: MailServices, browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "DEADLINE_S", SHORT_S)
    stands_still(stack, services, browser, tmp_path, SHORT_S)


@pytest.mark.soak
def test_half_a_minute_of_standing_still(
    stack: Stack, services: MailServices, browser: Browser, tmp_path: Path
) -> None:
    stands_still(stack, services, browser, tmp_path, LONG_S)


def test_all_connections_used_then_killed_and_started_again(
    stack: Stack, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = browser.client.application.extensions[EXTENSION].database.engine
    with monkeypatch.context() as patch:
        patch.setattr(engine.pool, "_timeout", 0.2)
        taken = [engine.connect() for _ in range(database_module.POOL + database_module.BEYOND_POOL)]
        assert browser.get("/overview").status_code == 503
        for one in taken:
            one.close()
    assert browser.get("/overview").status_code == 200
    stack.kill("postgres")
    honest(browser)
    stack.restart("postgres")
    assert browser.get("/health").status_code == 200
    assert browser.get("/sign-up").status_code == 200


def test_control_without_a_deadline_the_page_never_comes(
    stack: Stack, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that stands still answers nothing at all: whoever has no deadline waits as long as it stands."""
    assert browser.get("/overview").status_code == 200
    waits: list[float | None] = []

    def patient(self: object, gen: object, interval: float = 0.1, timeout: float | None = None) -> object:
        waits.append(timeout)
        return _real(self, gen, interval, 2.0)  # the test itself gives up; the portal would not have

    _real = database_module.psycopg.Connection.wait
    monkeypatch.setattr(database_module._Connection, "wait", patient)
    stack.pause("postgres")
    try:
        browser.get("/overview")
    finally:
        stack.resume("postgres")
    assert waits
    assert None in waits, "nothing but the test bounded the wait"
