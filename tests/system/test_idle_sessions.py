"""What an idling session costs: counted objects in the short form, resident memory of 5,000 in the long one."""

from __future__ import annotations

import gc
import resource
import socket
import ssl
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from mailcore.model.flags import FlagSet
from mailcore.services import MailServices
from mailcore.services.messages import NewMessage
from tests.builders import OPERATOR, MadeUser, make_tenant, make_user
from tests.system.servers import RunningServer, environment_of, start
from tests.transcripts.imap.dialogue import Client

USERS = 50
MESSAGES = 200
PLAIN_BYTES = 15 * 1024
TLS_BYTES = 30 * 1024


@pytest.fixture(scope="module")
def users(services: MailServices) -> list[MadeUser]:
    """Users of one tenant, each with some mail."""
    tenant = make_tenant(services)
    made = [make_user(services, tenant=tenant) for _ in range(USERS)]
    for user in made:
        messages = [NewMessage(b"Subject: %d\r\n\r\nx\r\n" % number, FlagSet()) for number in range(MESSAGES)]
        services.messages.append(user.user_id, OPERATOR, "INBOX", messages)
    return made


def test_idle_sessions_share_what_they_see(services: MailServices, users: list[MadeUser]) -> None:
    """What Python holds for each of 300 idling sessions; those of one user look at one list of messages."""
    some = users[:6]

    def idle(user: MadeUser) -> Client:
        client = Client(services)
        client.run(f'LOGIN {user.address} "{user.password}"')
        client.run("SELECT INBOX")
        client.ask(b"i IDLE\r\n")
        client.sent_sizes.clear()
        client.deadlines.clear()
        return client

    clients = [idle(user) for user in some]
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    clients += [idle(user) for user in some * 50]
    gc.collect()
    each = (tracemalloc.get_traced_memory()[0] - before) / 300
    tracemalloc.stop()
    views = {id(client.connection.session.mailbox.view) for client in clients}
    arrays = {id(client.connection.session.mailbox._uids) for client in clients}
    for client in clients:
        client.close()
    assert len(views) == len(arrays) == len(some)
    assert each < 6000, f"{each:.0f} bytes"


class IdleClients:
    """Many connections of one address that signed in, selected INBOX and idle."""

    def __init__(self, port: int, context: ssl.SSLContext | None) -> None:
        self._port = port
        self._context = context
        self.sockets: list[Any] = []

    def add(self, user: MadeUser) -> None:
        """Open one more and leave it idling."""
        connection: Any = socket.create_connection(("127.0.0.1", self._port), timeout=60)
        if self._context is not None:
            connection = self._context.wrap_socket(connection, server_hostname="mx.test")
        self.sockets.append(connection)
        _until(connection, b"\r\n")
        _ask(connection, f'a LOGIN {user.address} "{user.password}"\r\n'.encode(), b"a OK")
        _ask(connection, b"b SELECT INBOX\r\n", b"b OK")
        _ask(connection, b"c IDLE\r\n", b"+ ")

    def close(self) -> None:
        """End all."""
        for connection in self.sockets:
            connection.close()


def _ask(connection: Any, command: bytes, wanted: bytes) -> None:
    connection.sendall(command)
    _until(connection, wanted)


def _until(connection: Any, wanted: bytes) -> None:
    got = b""
    while wanted not in got:
        data = connection.recv(65536)
        assert data, got
        got += data


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
    with start(["imap"], environment, tmp_path) as running:
        yield running


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("encrypted", "most"), [(False, PLAIN_BYTES), (True, TLS_BYTES)], ids=["plain", "tls"])
def test_resident_memory_of_5000_idle_sessions(
    server: RunningServer, users: list[MadeUser], authority: trustme.CA, encrypted: bool, most: int
) -> None:
    """The growth of the process from 500 sessions to 5,000, per session; it stays so while they idle."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit[1], limit[1]))
    context = None
    if encrypted:
        context = ssl.create_default_context()
        authority.configure_trust(context)
    clients = IdleClients(server.port("imaps" if encrypted else "imap"), context)
    try:
        for number in range(500):
            clients.add(users[number % USERS])
        before = server.rss_kb()
        for number in range(4500):
            clients.add(users[number % USERS])
        time.sleep(5)
        each = (server.rss_kb() - before) * 1024 / 4500
        print(f"{'TLS' if encrypted else 'plain'}: {each:.0f} bytes a session")
        assert each <= most
    finally:
        clients.close()
