"""From one tenant's mail program to the other's mailbox, and out into the world: submission, queue, relay, delivery."""

from __future__ import annotations

import imaplib
import smtplib
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dkim
import pytest

from mailcore.model.dkim import DkimAlgorithm
from mailcore.model.outbound import EntryState, OutboundEntry
from mailcore.services import MailServices
from mailcore.services.clock import now
from tests.builders import OPERATOR, MadeUser, make_services, make_user
from tests.stubs.outside import Outside, outside
from tests.system import mx
from tests.system.programs import needs
from tests.system.servers import RunningServer, environment_of, start

HOST = "127.0.0.1"
PORTS = ["submission", "imap"]
ARRIVES_S = 30.0


@pytest.fixture(scope="module")
def services(directory_uri: str, shard_uris: dict[str, Any], redis_url: str) -> Iterator[MailServices]:
    made = make_services(directory_uri, shard_uris, redis_url)
    yield made
    made.close()


@pytest.fixture(scope="module")
def world() -> Iterator[Outside]:
    with outside() as made:
        yield made


@contextmanager
def running(
    services: MailServices, redis_url: str, world: Outside, folder: Path, **more: str
) -> Iterator[RunningServer]:
    """Submission, IMAP and a relay in one process, which looks for hosts in this world."""
    uri = services.settings.mongo_uri.reveal_text()
    environment = environment_of(uri, redis_url, PORTS) | world.environment(folder) | more
    with start([*PORTS, "relay"], environment, folder) as server:
        yield server


@pytest.fixture(scope="module")
def server(
    services: MailServices, redis_url: str, world: Outside, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningServer]:
    with running(services, redis_url, world, tmp_path_factory.mktemp("sending")) as found:
        yield found


def hosted(services: MailServices, world: Outside) -> MadeUser:
    """A user of a tenant of its own, whose domain's mail comes here and whose keys are published."""
    user = make_user(services)
    domain = user.address.partition("@")[2]
    world.dns.add(domain, "MX", "10 mx.test.")
    for algorithm in DkimAlgorithm:
        key = services.dkim_keys.create(OPERATOR, user.tenant_id, domain, algorithm=algorithm, is_active=True)
        value = key.record_value
        strings = " ".join(f'"{value[at : at + 255]}"' for at in range(0, len(value), 255))
        world.dns.add(key.record_name, "TXT", strings)
    return user


def message(user: MadeUser, to: str, name: str) -> bytes:
    return (
        f"From: {user.address}\r\nTo: {to}\r\nSubject: {name}\r\nMessage-ID: <{name}@own.test>\r\n"
        f"Date: Wed, 25 Nov 2026 12:00:00 +0000\r\n\r\n.dots\r\n..\r\nHello\r\n"
    ).encode()


def submit(server: RunningServer, user: MadeUser, to: str, raw: bytes) -> str:
    """Hand a message in; return its queue id."""
    with smtplib.SMTP(HOST, server.port("submission"), "client.test", timeout=30) as smtp:
        smtp.login(user.address, user.password)
        smtp.mail(user.address)
        smtp.rcpt(to)
        code, text = smtp.data(raw)
    assert code == 250, text
    return text.decode().split()[4]


def wait_for(services: MailServices, user: MadeUser, queue_id: str) -> OutboundEntry:
    """Wait until nothing of it is left to do."""
    ends_at = time.monotonic() + ARRIVES_S
    while (entry := services.outbound.get(user.user_id, queue_id)).state is not EntryState.DONE:
        assert time.monotonic() < ends_at, entry
        time.sleep(0.02)
    return entry


def inbox(server: RunningServer, user: MadeUser) -> list[bytes]:
    with imaplib.IMAP4(HOST, server.port("imap")) as client:
        client.login(user.address, user.password)
        client.select("INBOX", readonly=True)
        _, found = client.uid("FETCH", "1:*", "(BODY.PEEK[])")
        return [part[1] for part in found if isinstance(part, tuple)]


def verdicts(world: Outside, raw: bytes) -> list[bool]:
    """What dkimpy says of the signatures, by the records of this world."""

    def texts(name: bytes, timeout: float = 5) -> bytes:
        del timeout
        found = world.dns.records[name.decode().rstrip("."), "TXT"]
        assert not callable(found)
        return found[0].replace('" "', "").strip('"').encode()

    return [dkim.DKIM(raw).verify(index, dnsfunc=texts) for index in (0, 1)]


def test_from_one_tenant_to_the_other(services: MailServices, server: RunningServer, world: Outside) -> None:
    """It arrives below the added headers as it was, its signatures verify, and its trace tells the way."""
    ann, bob = hosted(services, world), hosted(services, world)
    raw = message(ann, bob.address, "across")
    queue_id = submit(server, ann, bob.address, raw)
    wait_for(services, ann, queue_id)
    (arrived,) = inbox(server, bob)
    assert arrived.endswith(b"\r\n" + raw)
    assert verdicts(world, arrived) == [True, True]
    assert not [key for key in arrived.split(b"\r\n\r\n")[0].split(b"\r\n") if b"127.0.0.1" in key and b"from" in key]
    steps = trace(services, ann, queue_id)
    assert {"queued", "delivered"} <= {step for step, _ in steps}
    assert {recipient for _, recipient in steps} == {bob.address}


def trace(services: MailServices, user: MadeUser, queue_id: str) -> list[tuple[str, str]]:
    """The steps of a message, as its tenant sees them once they are written."""
    ends_at = time.monotonic() + ARRIVES_S
    while True:
        found = services.trace.search(user.tenant_id, queue_id=queue_id)
        steps = [(row.step.value, row.recipient) for row in found]
        if {"queued", "delivered"} <= {step for step, _ in steps} or {"queued", "sent"} <= {step for step, _ in steps}:
            return steps
        assert time.monotonic() < ends_at, steps
        time.sleep(0.05)


def test_into_the_world(services: MailServices, server: RunningServer, world: Outside) -> None:
    ann = hosted(services, world)
    exchanger = world.domain("else.test")
    raw = message(ann, "bob@else.test", "abroad")
    entry = wait_for(services, ann, submit(server, ann, "bob@else.test", raw))
    (taken,) = exchanger.taken
    assert taken.message.endswith(b"\r\n" + raw)
    assert verdicts(world, taken.message) == [True, True]
    assert entry.recipients[0].answer is not None
    assert entry.recipients[0].answer.code == 250


@pytest.mark.parametrize("_", [pytest.param(None, marks=needs("postfix", "postfix"))], ids=["postfix"])
@pytest.mark.timeout(180)
def test_by_a_smarthost(services: MailServices, redis_url: str, world: Outside, tmp_path: Path, _: None) -> None:
    """Debian's Postfix with infra/smarthost passes it on unchanged to where the domain's mail goes."""
    ann = hosted(services, world)
    exchanger = world.domain("far.test")
    raw = message(ann, "bob@far.test", "smart")
    to_world = {
        "default_transport": f"smtp:[{exchanger.host}]:{world.smtp_port}",
        "smtpd_tls_security_level": "none",
        "smtp_tls_security_level": "none",
    }
    with mx.public_folder() as folder, mx.postfix(folder, to_world, "smarthost") as port:
        more = {"EIDER_SMARTHOST": f"smtp://{HOST}:{port}", "EIDER_OUTGOING_ALLOW": "127.0.0.0/8"}
        with running(services, redis_url, world, tmp_path, **more) as server:
            wait_for(services, ann, submit(server, ann, "bob@far.test", raw))
            ends_at = time.monotonic() + ARRIVES_S
            while not exchanger.taken:
                assert time.monotonic() < ends_at, (folder / "postfix.log").read_text()
                time.sleep(0.05)
    (taken,) = exchanger.taken
    assert taken.message.endswith(b"\r\n" + raw)
    assert verdicts(world, taken.message) == [True, True]


@pytest.mark.parametrize("_", [pytest.param(None, marks=needs("postfix", "postfix"))], ids=["postfix"])
@pytest.mark.timeout(180)
def test_by_smtp_and_lmtp(services: MailServices, redis_url: str, world: Outside, tmp_path: Path, _: None) -> None:
    """The long way, as for a host of another system: the relay to Postfix with infra/postfix, which hands it over."""
    ann, bob = hosted(services, world), hosted(services, world)
    world.dns.add(bob.address.partition("@")[2], "MX", "10 front.test.")
    world.dns.add("front.test", "A", HOST)
    uri = services.settings.mongo_uri.reveal_text()
    names = ["lmtp", "lookup", "imap"]
    raw = message(ann, bob.address, "long-way")
    with (
        start(names, environment_of(uri, redis_url, names), tmp_path) as behind,
        mx.public_folder() as folder,
        mx.postfix(
            folder,
            {
                "eider_lmtp": f"{HOST}:{behind.port('lmtp')}",
                "eider_lookup": f"{HOST}:{behind.port('lookup')}",
                "smtpd_milters": "",
            },
        ) as port,
    ):
        more = {"EIDER_OUTGOING_PORTS": f"25:{port}", "EIDER_OUTGOING_ALLOW": "127.0.0.0/8"}
        with running(services, redis_url, world, tmp_path, **more) as server:
            entry = wait_for(services, ann, submit(server, ann, bob.address, raw))
            ends_at = time.monotonic() + ARRIVES_S
            while not (found := inbox(server, bob)):
                assert time.monotonic() < ends_at, (folder / "postfix.log").read_text()
                time.sleep(0.05)
    (arrived,) = found
    assert entry.recipients[0].answer is not None
    assert "front.test" in entry.recipients[0].answer.remote
    assert arrived.endswith(b"\r\n" + raw)
    assert b"with LMTP" in arrived
    assert b"by mx.test (Postfix)" in arrived
    assert verdicts(world, arrived) == [True, True]
    assert {"queued", "sent"} <= {step for step, _ in trace(services, ann, entry.id)}


@pytest.mark.soak
def test_how_soon_a_local_recipient_sees_it(services: MailServices, server: RunningServer, world: Outside) -> None:
    """From the 250 of submission to the EXISTS of an idling IMAP session; and what a message costs."""
    ann, bob = hosted(services, world), hosted(services, world)
    services.users.set_limit(OPERATOR, ann.user_id, "recipients_per_burst", 0)
    idle = imaplib.IMAP4(HOST, server.port("imap"))
    idle.login(bob.address, bob.password)
    idle.select("INBOX")
    smtp = smtplib.SMTP(HOST, server.port("submission"), "client.test", timeout=30)
    smtp.login(ann.address, ann.password)
    idle.send(b"i1 IDLE\r\n")
    assert idle.readline().startswith(b"+")
    waits = []
    cpu_s = server.cpu_s()
    count = 200
    for number in range(count):
        smtp.mail(ann.address)
        smtp.rcpt(bob.address)
        smtp.data(message(ann, bob.address, f"soon{number}"))
        at = time.monotonic()
        while b"EXISTS" not in idle.readline():
            pass
        waits.append((time.monotonic() - at) * 1000)
        time.sleep(0.02)
    cpu_ms = (server.cpu_s() - cpu_s) / count * 1000
    smtp.quit()
    idle.shutdown()
    waits.sort()
    print(
        f"{now():%Y-%m-%d} accepted to visible: p50 {statistics.median(waits):.1f} ms, "
        f"p95 {waits[int(count * 0.95)]:.1f} ms; {cpu_ms:.2f} ms CPU a message in submission, relay, delivery and IDLE"
    )
    assert statistics.median(waits) <= 50
