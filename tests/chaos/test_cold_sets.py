"""A cold set that is stopped or full (fault F6): mail is delivered, text is read, attachments move over later."""

from __future__ import annotations

import base64
import os
import random
import smtplib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import imapclient
import pytest
from pymongo import MongoClient

from infra.devstack.stack import Stack
from tests.chaos.load import Login
from tests.chaos.rig import Rig

ATTACHMENT_BYTES = 300_000
LARGE_BYTES = 2_000_000
TEXT = "Text that must be readable whatever happens to the disks."


@pytest.fixture
def rig(new_stack: Callable[..., Stack], tmp_path: Path) -> Iterator[Rig]:
    """Shard A with a cold set of its own, one process of each kind."""
    stack = new_stack(databases=("main", "a-cold", "redis"))
    with Rig(stack, tmp_path, lmtp_processes=1, imap_processes=1, users_per_shard=1) as made:
        yield made


def with_attachment(seed: int, size_bytes: int = ATTACHMENT_BYTES) -> bytes:
    """A message of a short text and an attachment that no other message has."""
    content = base64.encodebytes(random.Random(seed).randbytes(size_bytes)).replace(b"\n", b"\r\n")
    head = f'From: a@b.example\r\nSubject: {seed}\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="b"'
    text = f"\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\n{TEXT}\r\n--b\r\n"
    part = "Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    return (head + text + part).encode() + content + b"--b--\r\n"


def deliver(rig: Rig, login: Login, raw: bytes) -> None:
    """Deliver or raise."""
    with smtplib.LMTP("127.0.0.1", rig.ports("lmtp")[0], timeout=30) as client:
        client.sendmail("a@b.example", login.address, raw)


def reader(rig: Rig, login: Login) -> imapclient.IMAPClient:
    """A session in the user's INBOX."""
    client = imapclient.IMAPClient("127.0.0.1", rig.ports("imap")[0], ssl=False, timeout=30)
    client.login(login.address, login.password)
    client.select_folder("INBOX", readonly=True)
    return client


def read_text(client: imapclient.IMAPClient, uid: int) -> str:
    """Return the first part."""
    return client.fetch([uid], ["BODY.PEEK[1]"])[uid][b"BODY[1]"].decode().strip()


def whole(client: imapclient.IMAPClient, uid: int) -> bytes:
    """Return the message."""
    return client.fetch([uid], ["BODY.PEEK[]"])[uid][b"BODY[]"]


def whole_soon(client: imapclient.IMAPClient, uid: int) -> bytes:
    """Return the message, trying again for a while: a process asks a set that was away only now and then."""
    until = time.monotonic() + 20
    while True:
        try:
            return whole(client, uid)
        except imapclient.exceptions.IMAPClientError as error:
            if "UNAVAILABLE" not in str(error) or time.monotonic() > until:
                raise
            time.sleep(0.1)


def chunk_bytes(uri: str) -> int:
    """Return how many bytes of chunks a database holds."""
    with MongoClient[dict[str, object]](uri) as client:
        grouped = client.get_default_database()["chunks"].aggregate(
            [{"$group": {"_id": None, "bytes": {"$sum": {"$bsonSize": "$$ROOT"}}}}]
        )
        return next((row["bytes"] for row in grouped), 0)


def check_flow_without_cold(rig: Rig, login: Login, hurt: Callable[[], None], heal: Callable[[], None]) -> None:
    """Deliver before, hurt the cold set, deliver and read, heal, demote, read everything."""
    before, during = with_attachment(1), with_attachment(2)
    shard = rig.stack.shards["a"]
    deliver(rig, login, before)
    assert chunk_bytes(shard.cold) >= ATTACHMENT_BYTES
    assert chunk_bytes(shard.hot) == 0
    hurt()
    deliver(rig, login, during)
    client = reader(rig, login)
    assert [read_text(client, uid) for uid in (1, 2)] == [TEXT, TEXT]
    assert whole(client, 2).endswith(during), "what was delivered meanwhile is whole"
    with pytest.raises(imapclient.exceptions.IMAPClientError, match="UNAVAILABLE"):
        whole(client, 1)
    assert read_text(client, 1) == TEXT, "the session goes on"
    assert chunk_bytes(shard.hot) >= ATTACHMENT_BYTES
    heal()
    while rig.services.retention.demote("a"):
        pass
    assert chunk_bytes(shard.hot) == 0
    assert chunk_bytes(shard.cold) >= 2 * ATTACHMENT_BYTES
    assert whole_soon(client, 1).endswith(before)
    assert whole_soon(client, 2).endswith(during)
    client.logout()
    assert not rig.tracebacks(), rig.tracebacks()[:2]


@pytest.mark.timeout(240)
def test_stopped_cold_set_stops_neither_delivery_nor_text(rig: Rig) -> None:
    """Chunks go to the hot set meanwhile and move over afterwards."""
    stack = rig.stack
    check_flow_without_cold(
        rig, rig.on("a")[0], hurt=lambda: stack.kill("a-cold"), heal=lambda: stack.restart("a-cold")
    )


@pytest.mark.timeout(240)
def test_frozen_cold_set_stops_neither_delivery_nor_text(rig: Rig) -> None:
    """A set that takes connections and never answers is given up after its deadline."""
    stack = rig.stack
    check_flow_without_cold(
        rig, rig.on("a")[0], hurt=lambda: stack.pause("a-cold"), heal=lambda: stack.resume("a-cold")
    )


@pytest.mark.root
@pytest.mark.timeout(180)
def test_full_cold_set_stops_neither_delivery_nor_text(
    new_stack: Callable[..., Stack], tmp_path: Path, small_disk: Path
) -> None:
    """Fault F6, promise P11: without room on the cold disk mail flows; what waited moves when there is room again."""
    stack = new_stack(databases=("main", "a-cold", "redis"), dbpaths={"a-cold": small_disk / "db"})
    filler = small_disk / "filler"
    with Rig(stack, tmp_path, lmtp_processes=1, imap_processes=1, users_per_shard=1) as rig:
        login = rig.on("a")[0]
        first = with_attachment(100)
        deliver(rig, login, first)
        free = os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize
        with filler.open("wb") as file:
            file.write(b"\0" * max(0, free - (256 << 10)))
        sent = [first]
        while len(sent) < 40 and (len(sent) < 4 or not chunk_bytes(stack.shards["a"].hot)):
            sent.append(with_attachment(100 + len(sent), LARGE_BYTES))
            deliver(rig, login, sent[-1])
        assert chunk_bytes(stack.shards["a"].hot) > 0, "the disk was not full: the test proves nothing"
        client = reader(rig, login)
        for uid in range(1, len(sent) + 1):
            assert read_text(client, uid) == TEXT
        filler.unlink()
        stack.restart("a-cold")
        while rig.services.retention.demote("a"):
            pass
        assert chunk_bytes(stack.shards["a"].hot) == 0
        for uid, raw in enumerate(sent, 1):
            assert whole_soon(client, uid).endswith(raw)
        client.logout()
        assert not rig.tracebacks(), rig.tracebacks()[:2]
