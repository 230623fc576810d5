"""Promise P8 from end to end: one attachment is stored once for a tenant, and gone after its last copy."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from mailcore.model.retention import RetentionRule
from mailcore.services import MailServices
from mailcore.services.content import storing
from mailcore.services.inbound.delivery import DeliveryTarget
from mailcore.store.keys import owner_range
from tests.builders import OPERATOR, MadeUser, make_tenant, make_user
from tests.system.servers import ROOT, RunningServer, environment_of
from tests.system.stored import counted, stored
from tests.system.strict_imap import StrictImap
from tests.system.test_lmtp import Raw, stuffed
from tests.waiting import wait_until
from workers.enqueue import enqueue

SIZE = 5 << 20
MESSAGE_KEY_BYTES, CHUNK_KEY_BYTES = 24, 56
TRACE_END = b" +0000\r\n"
AT_ONCE = RetentionRule(purge_after=timedelta(0))


def message(data: bytes, subject: bytes) -> bytes:
    attached = base64.encodebytes(data).replace(b"\n", b"\r\n")
    return (
        b"From: a@b.c\r\nSubject: %b\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
        b"--b\r\n\r\ntext\r\n--b\r\nContent-Type: application/pdf\r\n"
        b"Content-Transfer-Encoding: base64\r\n\r\n%b--b--\r\n" % (subject, attached)
    )


def deliver(server: RunningServer, raw: bytes, *users: MadeUser) -> None:
    """In one transaction."""
    client = Raw(server)
    client.begin(*users)
    client.send(b"DATA\r\n" + stuffed(raw))
    client.expect("354", *["250 2.0.0"] * len(users))
    client.close()


def cold_bytes(services: MailServices, user: MadeUser) -> int:
    """Content of the user's tenant in the cold set, asked of MongoDB itself."""
    chunks = services.placement.home(user.user_id).shard.cold["chunks"]
    pipeline: list[dict[str, Any]] = [
        {"$match": {"_id": owner_range(user.tenant_id.binary, CHUNK_KEY_BYTES)}},
        {"$group": {"_id": None, "bytes": {"$sum": {"$binarySize": "$data"}}}},
    ]
    return sum(group["bytes"] for group in chunks.aggregate(pipeline))


def whole_cold_set(services: MailServices, user: MadeUser) -> int:
    """Bytes of all documents in the cold set, whoever's they are."""
    cold = services.placement.home(user.user_id).shard.cold
    return int(cold.command("collStats", "chunks")["size"])


def read_first(server: RunningServer, user: MadeUser) -> bytes:
    """The first message of the INBOX, behind its trace headers."""
    with StrictImap.signed_in(server.port("imap"), user, "INBOX") as client:
        (response,) = client.ok(b"FETCH 1 BODY.PEEK[]")
        whole: bytes = response.value[b"BODY[]"]
        return whole.partition(TRACE_END)[2]


def expunge_all(server: RunningServer, user: MadeUser) -> None:
    with StrictImap.signed_in(server.port("imap"), user, "INBOX") as client:
        client.ok(b"STORE 1:* +FLAGS.SILENT (\\Deleted)")
        assert client.ok(b"EXPUNGE")


@contextmanager
def worker(directory_uri: str, redis_url: str, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A worker process that runs what is in the queue; ends in good order."""
    log_path = folder / "worker.log"
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "workers.main", "worker"],
            cwd=ROOT, env=environment_of(directory_uri, redis_url, []), stdout=log, stderr=log,
        )  # fmt: skip
    try:
        yield process
        process.terminate()
        assert process.wait(30) == 0, log_path.read_text()
        assert "Traceback" not in log_path.read_text()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def collect(redis: Redis, services: MailServices, *users: MadeUser) -> None:
    """Have the worker destroy what these users have expunged; returns when no message of theirs is left."""
    for user in users:
        enqueue(redis, "retention.user", user_id=str(user.user_id))
    for user in users:
        messages = services.placement.home(user.user_id).shard.hot["messages"]
        of_user = {"_id": owner_range(user.user_id.binary, MESSAGE_KEY_BYTES)}
        wait_until(lambda: not messages.count_documents(of_user), seconds=60)  # noqa: B023


@pytest.mark.timeout(240)
def test_attachment_is_stored_once_for_each_tenant_and_gone_after_its_last_copy(
    mail_server: RunningServer, services: MailServices, directory_uri: str, redis_url: str, tmp_path: Path
) -> None:
    """5 MB to 50 users of a tenant and to one of another, by LMTP; expunged by IMAP; collected by a worker."""
    tenant = make_tenant(services, "a")
    users = [make_user(services, tenant=tenant) for _ in range(50)]
    stranger = make_user(services, shard="a")
    for tenant_id in (tenant[0], stranger.tenant_id):
        services.retention.set_tenant_rule(OPERATOR, tenant_id, AT_ONCE)
    data = os.urandom(SIZE)
    raw = message(data, b"to fifty")
    before = whole_cold_set(services, stranger)
    deliver(mail_server, raw, *users)
    deliver(mail_server, message(data, b"again"), *users[:5])
    print(f"55 copies for 50 users: {cold_bytes(services, users[0])} bytes of content in the cold set")
    assert cold_bytes(services, users[0]) == SIZE
    assert cold_bytes(services, stranger) == 0
    deliver(mail_server, raw, users[0], stranger)
    grown = whole_cold_set(services, stranger) - before
    print(
        f"and for another tenant: {cold_bytes(services, users[0])} and {cold_bytes(services, stranger)},"
        f" the set has grown by {grown}"
    )
    assert cold_bytes(services, users[0]) == cold_bytes(services, stranger) == SIZE
    assert 2 * SIZE <= grown < 2 * SIZE + 10_000
    with worker(directory_uri, redis_url, tmp_path), Redis.from_url(redis_url) as redis:
        for user in users[:-1]:
            expunge_all(mail_server, user)
        collect(redis, services, *users[:-1])
        assert cold_bytes(services, users[0]) == SIZE, "one copy is left"
        assert read_first(mail_server, users[-1]) == raw
        expunge_all(mail_server, users[-1])
        assert cold_bytes(services, users[0]) == SIZE, "expunged, not collected"
        collect(redis, services, users[-1])
    left = counted(stored(services, users[-1]))
    print(f"after the last: {cold_bytes(services, users[0])} and {cold_bytes(services, stranger)}")
    assert not left.keys() & {"hot.messages", "hot.blobs", "hot.blob_refs", "cold.chunks", "hot.chunks"}
    assert cold_bytes(services, stranger) == SIZE
    assert read_first(mail_server, stranger) == raw
    expunge_all(mail_server, stranger)
    services.retention.collect(stranger.user_id)
    assert whole_cold_set(services, stranger) == before


@pytest.mark.parametrize("shares", [True, False], ids=["as it is", "negative control"])
def test_content_addressed_by_chance_would_be_seen(
    services: MailServices, monkeypatch: pytest.MonkeyPatch, shares: bool
) -> None:
    """One function replaced: each delivery finds its own place for the same content."""
    if not shares:
        monkeypatch.setattr(storing, "blob_address", lambda _key, _data: os.urandom(32))
    tenant = make_tenant(services, "a")
    user = make_user(services, tenant=tenant)
    data = os.urandom(200_000)
    recipient = services.delivery.resolve(user.address)
    for _ in range(3):
        results = services.delivery.deliver(message(data, b"x"), [DeliveryTarget(recipient)], None, OPERATOR)
        assert [result.error for result in results] == [None]
    assert (cold_bytes(services, user) == len(data)) is shares


@pytest.mark.parametrize("keeps", [True, False], ids=["purge period", "none"])
def test_purge_period_keeps_what_is_expunged(mail_server: RunningServer, services: MailServices, keeps: bool) -> None:
    """Control of the test above: it is the rule that lets content go, not the expunge."""
    user = make_user(services, shard="a")
    if not keeps:
        services.retention.set_tenant_rule(OPERATOR, user.tenant_id, AT_ONCE)
    deliver(mail_server, message(os.urandom(200_000), b"x"), user)
    expunge_all(mail_server, user)
    services.retention.collect(user.user_id)
    assert (cold_bytes(services, user) == 200_000) is keeps
