"""From one tenant's mail program to the other's mailbox, and out into the world: submission, queue, relay, delivery."""

from __future__ import annotations

import imaplib
import smtplib
import statistics
import time
from collections.abc import Callable, Iterator

import pytest

from infra.devstack.endpoints import Endpoints
from mailcore.services import MailServices
from mailcore.services.process.clock import now
from tests.builders import OPERATOR
from tests.stubs.outside import Outside, outside
from tests.system.sending import (
    HOST,
    hosted,
    inbox,
    message,
    own_services,
    running,
    submit,
    trace,
    verdicts,
    wait_for,
)
from tests.system.servers import RunningServer


@pytest.fixture(scope="module")
def services(stack: Endpoints, fresh_uri: Callable[[str, str], str], redis_url: str) -> Iterator[MailServices]:
    made = own_services(stack, fresh_uri, redis_url, "sending")
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
    with running(services, redis_url, world, tmp_path_factory.mktemp("sending")) as found:
        yield found


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
