"""From a list of people to mail that is read and sent: in Chromium, with a worker, and with real mail programs."""

from __future__ import annotations

import json
import os
import smtplib
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from imapclient import IMAPClient
from redis import Redis
from werkzeug.serving import make_server

from mailcore.services import MailServices
from portal.mail_plane import EXTENSION
from portal.permissions import Role
from tests.builders import PASSWORD, MadeUser
from tests.journeys.chromium import CHROMIUM
from tests.portal.conftest import MadeOrganisation
from tests.portal.people import domain_of
from tests.store.test_delivery import deliver, message
from tests.system.servers import RunningServer, environment_of, start
from workers.main import make_worker

ROOT = Path(__file__).parents[2]
HOST = "127.0.0.1"
DEADLINE_S = 200
FIRST, OWN = "first words 5", "my own long words"


@pytest.fixture
def address(portal_app: Flask) -> Iterator[str]:
    server = make_server(HOST, 0, portal_app, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://localhost:{server.port}"
    server.shutdown()


@pytest.fixture
def mail_server(directory_uri: str, redis_url: str, tmp_path: Path) -> Iterator[RunningServer]:
    names = ["imap", "submission"]
    with start(names, environment_of(directory_uri, redis_url, names), tmp_path) as server:
        yield server


@pytest.mark.timeout(300)
def test_from_a_list_of_people_to_mail_that_is_read_and_sent(
    portal_app: Flask,
    mail_services: MailServices,
    organisation: MadeOrganisation,
    address: str,
    mail_server: RunningServer,
    redis_url: str,
    tmp_path: Path,
) -> None:
    if CHROMIUM is None:
        pytest.skip("chromium is not installed: run `make test` once as root")
    domain = domain_of(mail_services, organisation.organisation.tenant_id)
    ada, bob = f"ada@{domain}", f"bob@{domain}"
    file = tmp_path / "people.csv"
    file.write_text(f"address;name;password\n{ada};Ada Lovelace;{FIRST}\n{bob};Bob Byte;\nx@elsewhere.test;;\n")
    asked = {
        "chromium": CHROMIUM,
        "base": address,
        "who": (organisation.members[Role.OWNER].email, PASSWORD),
        "file": str(file),
        "person": (ada, FIRST, OWN),
        "pictures": os.environ.get("EIDER_PICTURES", str(tmp_path)),
    }
    told = walked(asked, portal_app, mail_services, redis_url)
    assert told["faults"] == [], "what axe finds, and what is wider than its window"
    assert told["rules"] == ["Second", "First"]
    sends_and_reads(mail_services, mail_server, (ada, told["letters"]), bob)


def walked(asked: dict[str, object], app: Flask, mail: MailServices, redis_url: str) -> dict[str, object]:
    """What the browser says at the end; a worker works meanwhile."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.portal.people_journey"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
    )  # fmt: skip
    assert process.stdin is not None
    process.stdin.write(json.dumps(asked) + "\n")
    process.stdin.flush()
    ends_at = time.monotonic() + DEADLINE_S
    with Redis.from_url(redis_url) as redis:
        worker = make_worker(mail, redis, app.extensions[EXTENSION])
        while process.poll() is None and time.monotonic() < ends_at:
            worker.work(burst=True, logging_level="WARNING")
            time.sleep(0.1)
    if process.poll() is None:
        process.kill()
    said, errors = process.communicate()
    assert process.returncode == 0, errors[-3000:]
    found: dict[str, object] = json.loads(said.splitlines()[-1])
    return found


def sends_and_reads(mail: MailServices, server: RunningServer, login: tuple[str, str], other: str) -> None:
    """Send with the app password, read with it, and nothing with the master password of somebody else's choice."""
    address, letters = login
    route = mail.addresses.get(address)
    deliver(mail, message(b"welcome"), MadeUser(route.user_id, route.tenant_id, address))
    with IMAPClient(HOST, server.port("imap"), ssl=False, timeout=60) as client:
        client.login(address, letters)
        assert client.select_folder("INBOX")[b"EXISTS"] == 1
        assert b"with a file" in client.fetch([1], ["BODY[]"])[1][b"BODY[]"]
    with smtplib.SMTP(HOST, server.port("submission"), timeout=60) as smtp:
        smtp.login(address, letters)
        smtp.sendmail(address, [other], f"From: {address}\r\nTo: {other}\r\nSubject: Hello\r\n\r\nHello\r\n")
    with IMAPClient(HOST, server.port("imap"), ssl=False, timeout=60) as client:
        client.login(address, letters)
        assert client.select_folder("Sent Mail")[b"EXISTS"] == 1
    [queued] = mail.outbound.list_of_user(route.user_id)
    assert [recipient.address for recipient in queued.recipients] == [other]
