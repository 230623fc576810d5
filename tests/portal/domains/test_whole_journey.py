"""The whole way of an organisation: signed up, domain green, key replaced, people here, and mail that flows."""

from __future__ import annotations

import os
import re
import smtplib
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from email import message_from_bytes, policy
from functools import partial
from pathlib import Path

import dkim
import pytest
from bson import ObjectId
from flask import Flask
from imapclient import IMAPClient
from werkzeug.serving import make_server

from infra.devstack.outside.mail_exchanger import MailExchanger
from portal.app import create_app
from portal.mail_plane import EXTENSION, Portal
from portal.settings import PortalSettings
from tests.builders import make_user
from tests.journeys.chromium import CHROMIUM
from tests.portal.domains.example import NAMES
from tests.portal.domains.test_journey import Journey
from tests.stubs.nameservers import Nameservers
from tests.stubs.powerdns import KEY
from tests.system.servers import RunningServer, environment_of, start
from tests.waiting import wait_until
from workers.main import make_worker

HOST, OUTSIDE = "127.0.0.1", "127.9.98.1"
DEADLINE_S = 60
soon = partial(wait_until, seconds=DEADLINE_S)
FIRST, OWN = "first words 5", "my own long words"


@pytest.fixture
def elsewhere(world: Nameservers) -> Iterator[MailExchanger]:
    """The host that takes mail for whoever signs up, and for whom our users write to."""
    zone = world.zone("elsewhere.test")
    zone.add("elsewhere.test", "MX", "10 mx.elsewhere.test.")
    zone.add("mx.elsewhere.test", "A", OUTSIDE)
    with MailExchanger(OUTSIDE) as served:
        yield served


@pytest.fixture
def mail_server(
    directory_uri: str, redis_url: str, world: Nameservers, elsewhere: MailExchanger, tmp_path: Path
) -> Iterator[RunningServer]:
    """What people's programs connect to, and what takes their mail to where it goes."""
    more = world.variables() | {"EIDER_MX_HOSTS": ",".join(NAMES.mx_hosts)}
    more["EIDER_OUTGOING_PORTS"] += f",25:{elsewhere.port}"
    environment = environment_of(directory_uri, redis_url, ["imap", "submission"], **more)
    with start(["imap", "submission", "relay"], environment, tmp_path) as server:
        yield server


@pytest.fixture
def site(portal_settings: PortalSettings, parts: Portal) -> Iterator[tuple[str, Flask]]:
    """A portal that sends mail, at an address of its own: passkeys are bound to it."""
    sender = make_user(parts.mail)
    app = create_app(replace(portal_settings, sender=sender.address), parts.mail)
    server = make_server(HOST, 0, app, threaded=True)
    base = f"http://localhost:{server.port}"
    made: Portal = app.extensions[EXTENSION]
    app.extensions[EXTENSION] = replace(made, settings=replace(made.settings, public_url=base))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield base, app
    server.shutdown()
    made.database.engine.dispose()


def taken(elsewhere: MailExchanger, subject: str = "") -> bytes | None:
    return next((one.message for one in list(elsewhere.taken) if subject.encode() in one.message), None)


def link_in(message: bytes) -> str:
    body = message_from_bytes(message, policy=policy.default).get_body(("plain",))
    assert body is not None
    found = re.search(r"http://\S+/sign-up/confirm/\S+", body.get_content())
    assert found is not None, body.get_content()
    return found[0]


def work(parts: Portal) -> None:
    assert parts.redis is not None
    make_worker(parts.mail, parts.redis, parts).work(burst=True, logging_level="ERROR")


def key_record(world: Nameservers, domain: str, name: bytes, asked_for: list[str]) -> bytes:
    """The key behind a selector's CNAME, as a verifier finds it."""
    selector = name.decode().partition("._domainkey.")[0]
    asked_for.append(name.decode().rstrip("."))
    [text] = world.zones["dkim.eider.test"].get(f"{selector}.{domain}.dkim.eider.test", "TXT")
    return text.replace('" "', "").strip('"').encode()


@pytest.mark.timeout(300)
def test_from_signing_up_to_mail_that_is_read(
    site: tuple[str, Flask],
    world: Nameservers,
    elsewhere: MailExchanger,
    mail_server: RunningServer,
    postgres_url: str,
    tmp_path: Path,
) -> None:
    if CHROMIUM is None:
        pytest.skip("chromium is not installed: run `make test` once as root")
    base, app = site
    parts: Portal = app.extensions[EXTENSION]
    domain = f"fjord-{ObjectId()}.test"
    zone = world.zone(domain)
    ada = f"ada@{domain}"
    people = tmp_path / "people.csv"
    people.write_text(f"address;name;password\n{ada};Ada Lovelace;{FIRST}\nbob@{domain};Bob Byte;\n")
    pictures = Path(os.environ.get("EIDER_PICTURES", tmp_path / "pictures"))
    pictures.mkdir(exist_ok=True)
    asked = {
        "chromium": CHROMIUM, "base": base, "email": f"kaja-{ObjectId()}@elsewhere.test", "domain": domain,
        "token": KEY, "file": str(people), "person": (ada, FIRST, OWN), "pictures": str(pictures),
    }  # fmt: skip
    journey = Journey(asked, lambda: work(parts), "tests.portal.domains.whole_journey")
    assert journey.part() == {"asked": True}
    work(parts)
    journey.go_on(link_in(soon(lambda: taken(elsewhere))))
    assert set(journey.part()["states"]) == {"right"}
    assert zone.get(f"eider2._domainkey.{domain}", "CNAME") == [f"eider2.{domain}.dkim.eider.test."]
    letters = journey.part()["letters"]

    with smtplib.SMTP(HOST, mail_server.port("submission"), timeout=DEADLINE_S) as smtp:
        smtp.login(ada, letters)
        for recipient in (ada, "friend@elsewhere.test"):
            smtp.sendmail(ada, [recipient], f"From: {ada}\r\nTo: {recipient}\r\nSubject: Chart 7\r\n\r\nHello\r\n")
    sent = soon(lambda: taken(elsewhere, "Subject: Chart 7"))
    asked_for: list[str] = []
    assert dkim.verify(sent, dnsfunc=lambda name, timeout=5: key_record(world, domain, name, asked_for))
    assert asked_for == [f"eider2._domainkey.{domain}"], "the new key signs"
    with IMAPClient(HOST, mail_server.port("imap"), ssl=False, timeout=DEADLINE_S) as client:
        client.login(ada, letters)
        client.select_folder("INBOX")
        [uid] = soon(lambda: client.noop() and client.search(["SUBJECT", "Chart 7"]))
        assert b"Hello" in client.fetch([uid], ["BODY[]"])[uid][b"BODY[]"]
    journey.go_on()
    assert domain in journey.part()["audit"]
    verified = subprocess.run(
        [sys.executable, "-m", "mailcore.cli", "audit", "verify"],
        env=os.environ | {"DATABASE_URL": postgres_url}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert re.search(r"[1-9]\d* chains, [1-9]\d* events verified, 0 broken", verified.stdout)
    assert len(list(pictures.glob("*-390.png"))) >= 12
    assert journey.process.wait(30) == 0
