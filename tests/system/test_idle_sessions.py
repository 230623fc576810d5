"""What an idling session costs: counted objects in the short form, resident memory of 5,000 in the long one."""

from __future__ import annotations

import gc
import resource
import socket
import ssl
import time
import tracemalloc
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from mailcore.model.flags import FlagSet
from mailcore.services import MailServices
from mailcore.services.mailboxes.messages import NewMessage
from tests.builders import OPERATOR, MadeUser, make_tenant, make_user
from tests.system.servers import RunningServer, environment_of, start
from tests.transcripts.imap.dialogue import Client

USERS = 100
MESSAGES = 200
PLAIN_BYTES = 15 * 1024
TLS_BYTES = 30 * 1024


def make_users(services: MailServices, count: int) -> list[MadeUser]:
    """Users of one tenant, each with some mail."""
    tenant = make_tenant(services)
    made = [make_user(services, tenant=tenant) for _ in range(count)]
    for user in made:
        messages = [NewMessage(b"Subject: %d\r\n\r\nx\r\n" % number, FlagSet()) for number in range(MESSAGES)]
        services.messages.append(user.user_id, OPERATOR, "INBOX", messages)
    return made


@pytest.fixture(scope="module")
def users(services: MailServices) -> list[MadeUser]:
    """A few, for the short form."""
    return make_users(services, 6)


def test_idle_sessions_share_what_they_see(services: MailServices, users: list[MadeUser]) -> None:
    """What Python holds for each of 300 idling sessions; those of one user look at one list of messages."""

    def idle(user: MadeUser) -> Client:
        client = Client(services)
        client.run(f'LOGIN {user.address} "{user.password}"')
        client.run("SELECT INBOX")
        client.ask(b"i IDLE\r\n")
        client.sent_sizes.clear()
        client.deadlines.clear()
        return client

    clients = [idle(user) for user in users]
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    clients += [idle(user) for user in users * 50]
    gc.collect()
    each = (tracemalloc.get_traced_memory()[0] - before) / 300
    tracemalloc.stop()
    views = {id(client.connection.session.mailbox.view) for client in clients}
    arrays = {id(client.connection.session.mailbox._uids) for client in clients}
    for client in clients:
        client.close()
    assert len(views) == len(arrays) == len(users)
    assert each < 6000, f"{each:.0f} bytes"


class Talker:
    """One connection, in clear, encrypted, or also compressed."""

    def __init__(self, port: int, context: ssl.SSLContext | None, user: MadeUser, *, deflate: bool = False) -> None:
        self.socket: Any = socket.create_connection(("127.0.0.1", port), timeout=60)
        if context is not None:
            self.socket = context.wrap_socket(self.socket, server_hostname="mx.test")
        self._packer: Any = None
        self._unpacker: Any = None
        self.until(b"\r\n")
        self.ask(f'a LOGIN {user.address} "{user.password}"\r\n'.encode(), b"a OK")
        if deflate:
            self.ask(b"z COMPRESS DEFLATE\r\n", b"z OK")
            self._packer, self._unpacker = zlib.compressobj(6, zlib.DEFLATED, -15), zlib.decompressobj(-15)

    def ask(self, command: bytes, wanted: bytes) -> bytes:
        """Send a command; return all that comes until `wanted`."""
        self.send(command)
        return self.until(wanted)

    def send(self, data: bytes) -> None:
        """Send bytes, compressed if that was agreed."""
        if self._packer is not None:
            data = self._packer.compress(data) + self._packer.flush(zlib.Z_SYNC_FLUSH)
        self.socket.sendall(data)

    def until(self, wanted: bytes) -> bytes:
        """Read until `wanted` came, and to the end of its line."""
        got = b""
        while wanted not in got or not got.endswith(b"\n"):
            data = self.socket.recv(65536)
            assert data, got
            got += self._unpacker.decompress(data) if self._unpacker is not None else data
        return got

    def idle(self) -> Any:
        """Select INBOX and idle; return the bare socket."""
        self.ask(b"b SELECT INBOX\r\n", b"b OK")
        self.ask(b"c IDLE\r\n", b"+ ")
        return self.socket


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def server(
    services: MailServices, directory_uri: str, redis_url: str, authority: trustme.CA, tmp_path: Path
) -> Iterator[RunningServer]:
    """IMAP with and without TLS; a process that has served nobody yet, for what is freed is not given back."""
    issued = authority.issue_cert("mx.test", key_type=trustme.KeyType.ECDSA)
    chain = b"".join(pem.bytes() for pem in issued.cert_chain_pems)
    services.certificates.add(OPERATOR, chain, issued.private_key_pem.bytes(), is_default=True)
    environment = environment_of(directory_uri, redis_url, ["imap", "imaps"])
    with start(["imap"], environment, tmp_path, forked=False) as running:
        yield running


def trusting(authority: trustme.CA) -> ssl.SSLContext:
    """A client's context."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


def test_a_compressed_session(server: RunningServer, users: list[MadeUser], authority: trustme.CA) -> None:
    """RFC 4978 over TLS with a real client's stream: commands, large answers, news while idling, an upload."""
    client = Talker(server.port("imaps"), trusting(authority), users[0], deflate=True)
    assert b"* 200 EXISTS" in client.ask(b"a SELECT INBOX\r\n", b"a OK")
    assert client.ask(b"b FETCH 1:* (FLAGS BODY.PEEK[])\r\n", b"b OK").count(b" FETCH (FLAGS") == MESSAGES
    raw = b"Subject: up\r\n\r\n" + bytes(range(1, 256)) * 2000
    client.ask(b"c APPEND Drafts {%d}\r\n" % len(raw), b"+ ")
    client.ask(raw + b"\r\n", b"c OK")
    client.ask(b"d SELECT Drafts\r\n", b"d OK")
    assert raw in client.ask(b"e FETCH * BODY.PEEK[]\r\n", b"e OK")
    client.ask(b"f IDLE\r\n", b"+ ")
    other = Talker(server.port("imap"), None, users[0])
    other.ask(b"a APPEND Drafts {3+}\r\nabc\r\n", b"a OK")
    client.until(b"EXISTS")
    client.ask(b"DONE\r\n", b"f OK")
    client.ask(b"g LOGOUT\r\n", b"g OK")
    for talker in (client, other):
        talker.socket.close()


def test_a_bomb_ends_with_bye(server: RunningServer, users: list[MadeUser]) -> None:
    """N8: 128 KB that stand for 128 MB; the process holds little of it, and serves on."""
    client = Talker(server.port("imap"), None, users[1], deflate=True)
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = b"".join(packer.compress(b"x" * (1 << 20)) for _ in range(128)) + packer.flush(zlib.Z_SYNC_FLUSH)
    server.begin_peak()
    before = server.peak_kb()
    try:
        client.socket.sendall(bomb)
        answer = client.until(b"* BYE ")
    except (AssertionError, OSError):
        answer = b""  # reset while we were still sending
    if answer:
        assert b"* BYE Compressed input" in answer
    assert server.peak_kb() - before < 20 * 1024
    refusals = server.wait_for("connection.stream_refused")
    assert refusals[0]["reason"] == "expands too much"
    other = Talker(server.port("imap"), None, users[1])
    other.ask(b"b NOOP\r\n", b"b OK")
    for talker in (client, other):
        talker.socket.close()


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("encrypted", "deflate", "most"),
    [(False, False, PLAIN_BYTES), (True, False, TLS_BYTES), (True, True, TLS_BYTES)],
    ids=["plain", "tls", "tls+deflate"],
)
def test_resident_memory_of_5000_idle_sessions(
    server: RunningServer, services: MailServices, authority: trustme.CA, encrypted: bool, deflate: bool, most: int
) -> None:
    """The growth of the process from 500 sessions to 5,000, per session; and others wait for nothing (N7)."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit[1], limit[1]))
    users = make_users(services, USERS)
    context = trusting(authority) if encrypted else None
    port = server.port("imaps" if encrypted else "imap")
    probe = Talker(server.port("imap"), None, users[0])
    sockets = [Talker(port, context, users[number % USERS], deflate=deflate).idle() for number in range(500)]
    before, quiet_s = server.rss_kb(), worst_noop_s(probe)
    sockets += [Talker(port, context, users[number % USERS], deflate=deflate).idle() for number in range(4500)]
    time.sleep(5)
    each = (server.rss_kb() - before) * 1024 / 4500
    busy_s = worst_noop_s(probe)
    kind = ("TLS" if encrypted else "plain") + (" deflate" if deflate else "")
    print(f"{kind}: {each:.0f} bytes a session; NOOP p99 {quiet_s * 1000:.1f} ms, then {busy_s * 1000:.1f} ms")
    for connection in (*sockets, probe.socket):
        connection.close()
    assert each <= most
    assert busy_s < 0.1


def worst_noop_s(probe: Talker) -> float:
    """The 99th percentile of a NOOP."""
    taken = []
    for _ in range(300):
        begun = time.perf_counter()
        probe.ask(b"n NOOP\r\n", b"n OK")
        taken.append(time.perf_counter() - begun)
    return sorted(taken)[-3]
