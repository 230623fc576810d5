"""`make run`: two tenants with real mail that a mail client reads; stopped, killed, started again."""

from __future__ import annotations

import dataclasses
import os
import re
import signal
import smtplib
import socket
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from email import message_from_bytes, policy
from pathlib import Path

import dkim
import dns.resolver
import pyotp
import pytest
import requests
from imapclient import IMAPClient
from imapclient.exceptions import LoginError

from infra.devstack.datafolder import lock_holder, servers_below
from infra.devstack.demo_mail import NOTES, handbook
from infra.devstack.endpoints import DemoUser, Endpoints, MongoUris
from infra.devstack.stack import Existing, Stack
from infra.devstack.supervisor import Supervisor
from tests.waiting import wait_until

ROOT = Path(__file__).parent.parent.parent


class System:
    """`eider stack run` in a process of its own."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.said = ""
        command = [sys.executable, "-m", "mailcore.cli", "stack", "run", "--data", str(data)]
        self.process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
        )

    def wait_ready(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said += line
            if line.startswith("ready after"):
                return
        pytest.fail(f"it did not start:\n{self.said}")

    @property
    def endpoints(self) -> Endpoints:
        return Endpoints.read(self.data / "endpoints.json")

    def interrupt(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(90)


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    running = System(tmp_path_factory.mktemp("run") / "data")
    running.wait_ready()
    yield running
    running.interrupt()


def client(endpoints: Endpoints, user: DemoUser) -> IMAPClient:
    connection = IMAPClient(endpoints.host, endpoints.ports["imap"], ssl=False, timeout=20)
    if user.address.isascii():
        connection.login(user.address, user.password)
    else:
        connection.plain_login(user.address, user.password)
    return connection


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_endpoints_have_what_other_programs_rely_on(system: System) -> None:
    value = dataclasses.asdict(system.endpoints)
    assert set(value) >= {"host", "ports", "pids", "mongo", "postgres", "redis", "api_token", "users"}
    assert {"imap", "imaps", "pop3", "pop3s", "managesieve", "lmtp", "submission", "submissions", "portal"} <= set(
        value["ports"]
    )
    assert set(value["mongo"]) == {"directory", "shards"}
    assert set(value["mongo"]["shards"]) == {"a", "b"}
    assert all(is_alive(pid) for group in value["pids"].values() for pid in group.values())
    assert len({user["tenant"] for user in value["users"]}) == 2


def test_every_demo_user_reads_the_mail_that_lmtp_delivered(system: System) -> None:
    endpoints = system.endpoints
    assert len(endpoints.users) == 6
    for user in endpoints.users:
        with client(endpoints, user) as imap:
            assert imap.select_folder("INBOX", readonly=True)[b"EXISTS"] == len(NOTES)
            fetched = imap.fetch(imap.search("ALL"), ["ENVELOPE", "BODYSTRUCTURE", "BODY.PEEK[]"])
            messages = [message_from_bytes(fetched[uid][b"BODY[]"], policy=policy.default) for uid in sorted(fetched)]
        assert [message["subject"] for message in messages] == [note.subject for note in NOTES]
        attached = [part for message in messages for part in message.iter_attachments()]
        assert handbook() in [part.get_content() for part in attached if part.get_filename() == "handbook.bin"]


def test_mail_goes_out_and_across(system: System) -> None:
    """By submission, queue and relay: to another tenant's mailbox, and to the stub that stands for the outside."""
    endpoints = system.endpoints
    anna, yuki = (next(user for user in endpoints.users if user.address.startswith(name)) for name in ("anna", "yuki"))
    body = b"From: %b\r\nSubject: across\r\n\r\n.dots\r\n" % anna.address.encode()
    with smtplib.SMTP(endpoints.host, endpoints.ports["submission"], timeout=20) as smtp:
        smtp.login(anna.address, anna.password)
        assert smtp.sendmail(anna.address, [yuki.address, "carol@somewhere.example"], body) == {}
    log = system.data / "log" / "relay.log"
    raw = wait_until(lambda: _whole(system.data / "outside"), said=lambda: log.read_text()[-3000:])[0]
    assert b"X-Outside-Rcpt: TO:<carol@somewhere.example>" in raw
    assert raw.endswith(b"\r\n\r\n.dots\r\n")
    assert signatures(endpoints, raw[raw.index(b"DKIM-Signature") :]) == [True, True]
    with client(endpoints, yuki) as imap:
        imap.select_folder("INBOX")
        uids = wait_until(lambda: imap.search(["SUBJECT", "across"]))
        assert len(uids) == 1
        imap.delete_messages(uids)
        imap.expunge()


def _whole(outside: Path) -> list[bytes]:
    """The messages that came there, but one that is still being written."""
    return [raw for path in outside.glob("*.eml") if (raw := path.read_bytes()).endswith(b"\r\n")]


def signatures(endpoints: Endpoints, raw: bytes) -> list[bool]:
    """What dkimpy says of both signatures, with the keys that the stack's resolver tells."""
    resolver = dns.resolver.Resolver(configure=False)
    resolver.nameservers, resolver.port = [endpoints.host], endpoints.ports["outside-dns"]

    def texts(name: bytes, timeout: float = 5) -> bytes:
        (record,) = resolver.resolve(name.decode(), "TXT", lifetime=timeout)
        return b"".join(record.strings)

    return [dkim.DKIM(raw).verify(index, dnsfunc=texts) for index in (0, 1)]


def test_imaps_and_starttls_speak_tls(system: System) -> None:
    endpoints = system.endpoints
    user = endpoints.users[0]
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with IMAPClient(endpoints.host, endpoints.ports["imaps"], ssl_context=context, timeout=20) as imap:
        imap.login(user.address, user.password)
        assert imap.folder_exists("INBOX")
    with IMAPClient(endpoints.host, endpoints.ports["imap"], ssl=False, timeout=20) as imap:
        imap.starttls(context)
        imap.login(user.address, user.password)
        assert imap.folder_exists("INBOX")


def test_user_name_beyond_ascii_signs_in_quoted(system: System) -> None:
    """mbsync quotes it in UTF-8 before anything is enabled (RFC 9051 §9, quoted)."""
    endpoints = system.endpoints
    user = next(user for user in endpoints.users if not user.address.isascii())
    imap = (endpoints.host, endpoints.ports["imap"])
    with socket.create_connection(imap, timeout=20) as raw, raw.makefile("rb") as lines:
        assert lines.readline().startswith(b"* OK")
        raw.sendall(f'a1 LOGIN "{user.address}" "{user.password}"\r\n'.encode())
        assert lines.readline().startswith(b"a1 OK")


def test_wrong_password_is_refused(system: System) -> None:
    user = dataclasses.replace(system.endpoints.users[0], password="not this one")
    with pytest.raises(LoginError):
        client(system.endpoints, user)


def test_portal_is_healthy(system: System) -> None:
    with urllib.request.urlopen(f"http://127.0.0.1:{system.endpoints.ports['portal']}/health", timeout=10) as answer:
        assert answer.status == 200


def test_the_demos_staff_sign_in_by_what_is_printed(system: System) -> None:
    """Password and code lead to the pages of staff; the password alone leads to the code."""
    endpoints = system.endpoints
    (staff,) = endpoints.staff
    portal = Portal(f"http://localhost:{endpoints.ports['portal']}")
    assert portal.post("/sign-in", email=staff.email, password=staff.password) == "/sign-in/second-step"
    assert portal.get("/staff").status_code == 303
    assert portal.post("/sign-in/second-step", code=pyotp.TOTP(staff.totp_seed).now()) == "/"
    assert "Harbour Maps" in portal.get("/staff?q=harbour").text


class Portal:
    """A browser as far as forms go: it sends the cookie and the form token of the page it saw last."""

    def __init__(self, base: str) -> None:
        self.base, self.cookies = base, dict[str, str]()

    def get(self, path: str) -> requests.Response:
        return self._ask("GET", path)

    def post(self, path: str, **fields: str) -> str:
        """Send a form, and return where it leads."""
        token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', self.get(path).text)
        assert token is not None
        answer = self._ask("POST", path, {**fields, "csrf_token": token[1]})
        assert answer.status_code == 303, answer.text
        return answer.headers["Location"].removeprefix(self.base)

    def _ask(self, method: str, path: str, fields: dict[str, str] | None = None) -> requests.Response:
        answer = requests.request(
            method, self.base + path, data=fields, cookies=self.cookies, allow_redirects=False, timeout=20,
            headers={"Origin": self.base},
        )  # fmt: skip
        self.cookies |= {name: value for name, value in answer.cookies.items() if value}
        return answer


def test_nobody_becomes_staff_of_a_system_that_something_else_runs(tmp_path: Path) -> None:
    """With a Postgres of another there is no member of staff, and none is written down (`DATABASE_URL`)."""
    foreign = Stack(tmp_path / "data", existing=Existing(postgres="postgresql://db.production.test/eider"))
    supervisor = Supervisor(foreign, with_servers=True, with_demo=True)
    nowhere = Endpoints(MongoUris("", {}), "postgresql://db.production.test/eider", "")
    assert supervisor._demo_staff(nowhere) == []
    assert not (tmp_path / "data" / "staff.json").exists()


def test_killed_server_is_started_again(system: System) -> None:
    before = system.endpoints
    os.kill(before.pids.servers["imap"], signal.SIGKILL)
    until = time.monotonic() + 60
    while system.endpoints.pids.servers.get("imap") in {None, before.pids.servers["imap"]}:
        assert time.monotonic() < until, "the imap server did not come back"
        time.sleep(0.1)
    while True:
        try:
            imap = client(system.endpoints, before.users[0])
            break
        except OSError:
            assert time.monotonic() < until, "the imap server takes no connections"
            time.sleep(0.1)
    with imap:
        assert imap.select_folder("INBOX")[b"EXISTS"] == len(NOTES)


def test_what_it_prints_signs_in(system: System) -> None:
    said = system.said
    assert all(user.password in said and user.address in said for user in system.endpoints.users)
    assert all(one.email in said and one.password in said and one.totp_seed in said for one in system.endpoints.staff)


def test_interrupted_system_leaves_nothing_and_the_next_run_finds_the_mail(system: System) -> None:
    """The last of the tests that share a system, for it ends it."""
    before = system.endpoints
    pids = [*before.pids.servers.values(), *before.pids.databases.values()]
    assert system.interrupt() == 0
    assert not any(is_alive(pid) for pid in pids)
    assert lock_holder(system.data) is None
    assert not (system.data / "endpoints.json").exists()

    second = System(system.data)
    second.wait_ready()
    try:
        after = second.endpoints
        assert (after.users, after.ports, after.staff) == (before.users, before.ports, before.staff)
        with client(after, after.users[-1]) as imap:
            assert imap.select_folder("INBOX")[b"EXISTS"] == len(NOTES)
    finally:
        second.interrupt()


def test_interrupt_during_start_leaves_nothing(tmp_path: Path) -> None:
    system = System(tmp_path / "data")
    wait_until(lambda: servers_below(tmp_path / "data"))
    assert system.interrupt() == 0
    assert servers_below(tmp_path / "data") == []
