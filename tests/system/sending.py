"""Submission, IMAP and a relay in one process, with the rest of the world around it: what tests of sending share.

A relay takes whatever is due on its shards, so each module has databases of its own, and one relay at a time.
"""

from __future__ import annotations

import imaplib
import smtplib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import dkim

from infra.devstack.endpoints import Endpoints, ShardUris
from mailcore.model.dkim import DkimAlgorithm
from mailcore.model.outbound import EntryState, OutboundEntry
from mailcore.services import MailServices
from tests.builders import OPERATOR, MadeUser, make_services, make_user
from tests.stubs.outside import Outside
from tests.system.servers import RunningServer, environment_of, start
from tests.waiting import wait_until

HOST = "127.0.0.1"
PORTS = ["submission", "imap"]
ARRIVES_S = 30.0


def own_services(stack: Endpoints, fresh_uri: Callable[[str, str], str], redis_url: str, name: str) -> MailServices:
    """Services whose queue nobody else fills."""
    uris = stack.mongo.shards["a"]
    shard = ShardUris(fresh_uri(uris.hot, f"{name}_hot"), fresh_uri(uris.cold, f"{name}_cold"))
    return make_services(fresh_uri(stack.mongo.directory, f"{name}_directory"), {"a": shard}, redis_url)


@contextmanager
def running(
    services: MailServices, redis_url: str, world: Outside, folder: Path, **more: str
) -> Iterator[RunningServer]:
    """Submission, IMAP and a relay in one process, which looks for hosts in this world."""
    uri = services.settings.mongo_uri.reveal_text()
    environment = environment_of(uri, redis_url, PORTS) | world.environment(folder) | more
    with start([*PORTS, "relay"], environment, folder) as server:
        yield server


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
    entry = partial(services.outbound.get, user.user_id, queue_id)
    wait_until(lambda: entry().state is EntryState.DONE, ARRIVES_S, entry)
    return entry()


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
