"""The submission server killed at every step and at random: what was acknowledged is queued, once (P1, P17).

Clients do what msmtp and Thunderbird do: without an answer they send the same message again. What leaves the
queue is the relay's matter, and is tested with it.
"""

from __future__ import annotations

import os
import random
import signal
import smtplib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from infra.devstack.endpoints import Endpoints, ShardUris
from mailcore.services import MailServices
from tests.builders import OPERATOR, MadeUser, make_services, make_tenant, make_user
from tests.fork_server import ForkedProcess, start_module
from tests.ports import port_that_stays
from tests.system.servers import environment_of
from tests.transcripts.submission.conftest import messages_in

POINTS = ("outbound.before_insert", "outbound.after_insert", "submission.after_enqueue", "submission.before_reply")
SENDERS = 3
GENEROUS = {"messages_per_hour": 0, "recipients_per_day": 0, "recipients_per_burst": 0}


@dataclass
class Server:
    """The server on a port that stays, whoever serves there."""

    environment: dict[str, str]
    log_path: Path
    port: int
    alteration: str = ""
    process: ForkedProcess | None = None
    kills: int = 0

    def start(self, faults: str = "") -> None:
        altered = faults or self.alteration
        launcher = ["tests.chaos.launcher", altered] if altered else ["mailcore"]
        self.process = start_module([*launcher, "submission"], self.environment, self.log_path)
        ends_at = time.monotonic() + 60
        while True:
            with suppress(OSError), smtplib.SMTP("127.0.0.1", self.port, "probe.test", timeout=20):
                return
            if faults and self.process.poll() is not None:
                return
            assert time.monotonic() < ends_at, self.log_path.read_text()
            time.sleep(0.02)

    def kill(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(30)
        self.kills += 1

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(60)


@dataclass
class Ledger:
    """What was sent, and what of it was acknowledged under which id."""

    sent: dict[str, bytes] = field(default_factory=dict)
    acked: dict[str, str] = field(default_factory=dict)
    unanswered: int = 0


@pytest.fixture(scope="module")
def services(stack: Endpoints, fresh_uri: Callable[[str, str], str], redis_url: str) -> Iterator[MailServices]:
    uris = stack.mongo.shards["a"]
    shard = ShardUris(fresh_uri(uris.hot, "lost_hot"), fresh_uri(uris.cold, "lost_cold"))
    connected = make_services(fresh_uri(stack.mongo.directory, "lost_directory"), {"a": shard}, redis_url)
    yield connected
    connected.close()


@pytest.fixture
def server(services: MailServices, redis_url: str, tmp_path: Path) -> Iterator[Server]:
    port = port_that_stays()
    uri = services.settings.mongo_uri.reveal_text()
    environment = environment_of(uri, redis_url, ["submission"]) | {
        "EIDER_SUBMISSION_LISTEN": f"127.0.0.1:{port}",
        "EIDER_HEALTH_LISTEN": "",
    }
    found = Server(environment, tmp_path / "submission.log", port)
    yield found
    found.stop()


@pytest.fixture
def users(services: MailServices) -> list[MadeUser]:
    tenant = make_tenant(services)
    for name in ("tenant", "domain"):
        services.tenants.set_sending_limit(OPERATOR, tenant[0], f"{name}_messages_per_hour", 0)
    made = [make_user(services, tenant=tenant) for _ in range(SENDERS)]
    for user in made:
        for name, value in GENEROUS.items():
            services.users.set_limit(OPERATOR, user.user_id, name, value)
    return made


def message(user: MadeUser, name: str) -> bytes:
    body = os.urandom(200 + 400 * (hash(name) % 50)).hex()
    lines = "".join(f"{body[at : at + 76]}\r\n" for at in range(0, len(body), 76))
    return (
        f"From: {user.address}\r\nTo: bob@else.test\r\nSubject: {name}\r\nMessage-ID: <{name}@lost.test>\r\n"
        f"Date: Wed, 25 Nov 2026 12:00:00 +0000\r\n\r\n{lines}"
    ).encode()


def send(port: int, user: MadeUser, names: list[str], ledger: Ledger) -> None:
    """Send each message until it is acknowledged, over one connection for as long as that lasts."""
    smtp: smtplib.SMTP | None = None
    ends_at = time.monotonic() + 600
    for name in names:
        raw = ledger.sent[name] = message(user, name)
        while name not in ledger.acked:
            assert time.monotonic() < ends_at, f"{name} was never acknowledged"
            try:
                if smtp is None:
                    smtp = smtplib.SMTP("127.0.0.1", port, "client.test", timeout=30)
                    smtp.login(user.address, user.password)
                smtp.mail(user.address)
                smtp.rcpt("bob@else.test")
                code, text = smtp.data(raw)
                assert code < 500, text
                if code == 250:
                    ledger.acked[name] = text.decode().split()[4]
            except (OSError, smtplib.SMTPException):
                ledger.unanswered += 1
                smtp = None
                time.sleep(0.05)


def check(services: MailServices, users: list[MadeUser], ledger: Ledger) -> list[str]:
    """What is wrong: a message that is missing, there twice, changed, or not in Sent once."""
    wrong = []
    for user in users:
        entries = services.outbound.list_of_user(user.user_id, 1000)
        queued: dict[str, list[Any]] = {}
        for entry in entries:
            queued.setdefault(entry.header_message_id.strip("<>").partition("@")[0], []).append(entry)
        sent = messages_in(services, user, "Sent Mail")
        for name in (name for name in ledger.acked if name.startswith(f"{user.user_id}-")):
            found = queued.get(name, [])
            if [entry.id for entry in found] != [ledger.acked[name]]:
                wrong.append(f"{name}: {len(found)} entries")
                continue
            raw = b"".join(services.outbound.content(user.user_id, found[0].id).read())
            if not raw.endswith(b"\r\n" + ledger.sent[name]):
                wrong.append(f"{name}: changed")
            if sent.count(ledger.sent[name]) != 1:
                wrong.append(f"{name}: {sent.count(ledger.sent[name])} times in Sent")
    return wrong


def names_of(user: MadeUser, count: int, part: str = "") -> list[str]:
    return [f"{user.user_id}-{part}{number}" for number in range(count)]


@pytest.mark.timeout(300)
def test_killed_at_each_step_every_message_is_queued_once(
    services: MailServices, server: Server, users: list[MadeUser]
) -> None:
    """Promise P17: the client was not answered and sends again, whether the message was queued already or not."""
    ledger = Ledger()
    user = users[0]
    for point in POINTS:
        server.start(f"{point}:2")
        dead = server.process
        assert dead is not None
        restart = threading.Thread(target=lambda dead=dead: (dead.wait(60), server.start()))  # type: ignore[misc]
        restart.start()
        send(server.port, user, names_of(user, 3, point.replace(".", "-")), ledger)
        restart.join()
        assert dead.returncode == -signal.SIGKILL, "the point was not passed"
        server.stop()
    assert ledger.unanswered >= len(POINTS)
    assert len(ledger.acked) == 3 * len(POINTS)
    assert check(services, users, ledger) == []


def under_kills(server: Server, users: list[MadeUser], count: int, kills: int, seed: int) -> Ledger:
    """Send `count` messages for each user while the server is killed at random moments."""
    ledger = Ledger()
    server.start()
    chance = random.Random(seed)
    threads = [threading.Thread(target=send, args=(server.port, user, names_of(user, count), ledger)) for user in users]
    for thread in threads:
        thread.start()
    total = count * len(users)
    for number in range(1, kills + 1):
        while len(ledger.acked) < total * number // (kills + 1):
            time.sleep(0.005)
        time.sleep(chance.random() * 0.02)
        server.kill()
        server.start()
    for thread in threads:
        thread.join()
    server.stop()
    return ledger


@pytest.mark.timeout(300)
def test_killed_at_random_every_acknowledged_message_is_there(
    services: MailServices, server: Server, users: list[MadeUser]
) -> None:
    """Promise P1, short."""
    ledger = under_kills(server, users, 12, 2, seed=1)
    assert server.kills == 2
    assert ledger.unanswered
    assert len(ledger.acked) == 12 * SENDERS
    assert check(services, users, ledger) == []


@pytest.mark.soak
def test_thousand_messages_under_thirty_kills(services: MailServices, server: Server, users: list[MadeUser]) -> None:
    """Promise P1, long."""
    seed = int(time.time())
    ledger = under_kills(server, users, 334, 30, seed)
    print(f"seed {seed}: {len(ledger.acked)} acknowledged, {server.kills} kills, {ledger.unanswered} unanswered")
    assert (len(ledger.acked), server.kills) == (334 * SENDERS, 30)
    assert check(services, users, ledger) == []


@pytest.mark.timeout(300)
def test_server_that_answers_before_it_has_queued_loses_mail(
    services: MailServices, server: Server, users: list[MadeUser]
) -> None:
    """Negative control."""
    server.alteration = "queued-later"
    ledger = under_kills(server, users, 12, 2, seed=1)
    assert any(wrong.endswith(": 0 entries") for wrong in check(services, users, ledger))
