"""The LMTP server as a process: real clients over TCP, hostile input, faults, memory."""

from __future__ import annotations

import smtplib
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from mailcore.services import MailServices
from tests.builders import OPERATOR, MadeUser, make_services, make_tenant, make_user
from tests.corpus import as_crlf, as_let_in, corpus_as_crlf
from tests.hostile import HOSTILE
from tests.system.servers import RunningServer, environment_of, start

HOST = "127.0.0.1"


@pytest.fixture(scope="module")
def services(directory_uri: str, shard_uris: dict[str, Any], redis_url: str) -> Iterator[MailServices]:
    services = make_services(directory_uri, shard_uris, redis_url)
    yield services
    services.close()


@pytest.fixture(scope="module")
def authority(services: MailServices) -> trustme.CA:
    authority = trustme.CA()
    leaf = authority.issue_cert("mx.test")
    services.certificates.add(OPERATOR, leaf.cert_chain_pems[0].bytes(), leaf.private_key_pem.bytes(), is_default=True)
    return authority


@pytest.fixture(scope="module")
def server(
    services: MailServices,
    authority: trustme.CA,
    directory_uri: str,
    redis_url: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[RunningServer]:
    environment = environment_of(directory_uri, redis_url, ["lmtp"], EIDER_MESSAGE_BYTES=str(8 << 20))
    with start(["lmtp"], environment, tmp_path_factory.mktemp("lmtp"), forked=False) as server:
        yield server


@pytest.fixture(scope="module")
def tenant(services: MailServices) -> Any:
    return make_tenant(services)


@pytest.fixture
def user(services: MailServices, tenant: Any) -> MadeUser:
    return make_user(services, tenant=tenant)


class Raw:
    """A client that sends what it likes."""

    def __init__(self, server: RunningServer) -> None:
        self.socket: Any = socket.create_connection((HOST, server.port("lmtp")), timeout=20)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._lines = self.socket.makefile("rb")
        self.expect("220")

    def encrypt(self, authority: trustme.CA) -> None:
        context = ssl.create_default_context()
        authority.configure_trust(context)
        self.socket = context.wrap_socket(self.socket, server_hostname="mx.test")
        self._lines = self.socket.makefile("rb")

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def reply(self) -> bytes:
        """Return the last line of the next reply; empty at the end."""
        while True:
            line: bytes = self._lines.readline()
            if line[3:4] != b"-":
                return line

    def expect(self, *codes: str) -> None:
        for code in codes:
            got = self.reply()
            assert got.decode().startswith(code), got

    def begin(self, *users: MadeUser) -> None:
        recipients = [b"RCPT TO:<%s>\r\n" % user.address.encode() for user in users]
        self.send(b"LHLO peer.test\r\nMAIL FROM:<f@y.test>\r\n" + b"".join(recipients))
        self.expect("250 ", "250 2.1.0", *["250 2.1.5"] * len(users))

    def close(self) -> None:
        self._lines.close()
        self.socket.close()


def inbox(services: MailServices, user: MadeUser) -> list[bytes]:
    """The messages of the INBOX without the trace headers in front."""
    view = services.mailboxes.open(user.user_id, "INBOX")
    found = []
    for row in range(view.exists):
        message = b"".join(services.content.open(user.user_id, view.message_oid(row)).read())
        found.append(message.partition(b" +0000\r\n")[2])
    return found


def test_standard_client_delivers(server: RunningServer, services: MailServices, user: MadeUser) -> None:
    """smtplib knows one reply after DATA only, so one recipient."""
    with smtplib.LMTP(HOST, server.port("lmtp"), local_hostname="client.test") as client:
        assert client.noop()[0] == 250
        refused = client.sendmail("f@y.test", [user.address], b"Subject: 1\r\n\r\n.dot\r\n")
        assert refused == {}
        with pytest.raises(smtplib.SMTPRecipientsRefused) as refusal:
            client.sendmail("f@y.test", ["nobody@" + user.address.partition("@")[2]], b"x")
        assert [code for code, _ in refusal.value.recipients.values()] == [550]
    assert inbox(services, user) == [b"Subject: 1\r\n\r\n.dot\r\n"]


def test_standard_client_delivers_encrypted(
    server: RunningServer, services: MailServices, user: MadeUser, authority: trustme.CA
) -> None:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    with smtplib.LMTP("localhost", server.port("lmtp"), local_hostname="client.test") as client:
        client._host = "mx.test"  # type: ignore[attr-defined]  # the name to ask for and to check
        client.lhlo = client.ehlo  # type: ignore[attr-defined]
        client.ehlo()
        client.starttls(context=context)
        client.sendmail("f@y.test", [user.address], b"Subject: 2\r\n\r\n" + b"x" * 100_000 + b"\r\n")
    (message,) = inbox(services, user)
    assert len(message) == 100_000 + 16


def test_command_behind_starttls_is_never_carried_out(server: RunningServer, authority: trustme.CA) -> None:
    """Attack N1: in the same packet, the connection closes; in the next one, the handshake fails."""
    client = Raw(server)
    client.send(b"LHLO x.test\r\n")
    client.expect("250")
    client.send(b"STARTTLS\r\nNOOP\r\n")
    client.expect("501")
    assert client.reply() == b""
    client = Raw(server)
    client.send(b"STARTTLS\r\n")
    client.expect("220")
    client.send(b"NOOP\r\n")
    try:
        assert not client.reply().startswith(b"250")
    except ConnectionResetError:
        pass
    client = Raw(server)
    client.send(b"LHLO x.test\r\nSTARTTLS\r\n")
    client.expect("250", "220")
    client.encrypt(authority)
    client.send(b"MAIL FROM:<>\r\n")
    client.expect("503")


@pytest.mark.parametrize(
    "inside", [b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r.\r\n", b"\r\n.\r", b"\r\n\x00.\r\n"]
)
def test_nothing_is_smuggled(server: RunningServer, services: MailServices, user: MadeUser, inside: bytes) -> None:
    """Attack N3, over the wire, cut into two packets within the false end."""
    client = Raw(server)
    evil = b"MAIL FROM:<evil@y.test>\r\nRCPT TO:<%s>\r\nDATA\r\nSubject: smuggled\r\n" % user.address.encode()
    for cut in range(1, len(inside)):
        client.begin(user)
        client.send(b"DATA\r\n")
        client.expect("354")
        client.send(b"Subject: outer\r\n\r\nx" + inside[:cut])
        time.sleep(0.02)
        client.send(inside[cut:] + evil + b"\r\n.\r\n")
        client.expect("250 2.0.0")
    client.send(b"QUIT\r\n")
    client.expect("221")
    found = inbox(services, user)
    assert len(found) == len(inside) - 1
    assert all(message.startswith(b"Subject: outer") and b"smuggled" in message for message in found)


def test_dropped_connection_stores_nothing(server: RunningServer, services: MailServices, user: MadeUser) -> None:
    client = Raw(server)
    client.begin(user)
    client.send(b"DATA\r\n")
    client.expect("354")
    client.send(b"Subject: half\r\n\r\n" + b"x" * 1_000_000 + b"\r\n.\r")
    before = len(server.events("smtp.content.cut_off"))
    client.close()
    server.wait_for("smtp.content.cut_off", before + 1)
    assert inbox(services, user) == []


def test_lost_reply_and_a_second_try_give_one_copy(
    server: RunningServer, services: MailServices, user: MadeUser
) -> None:
    """Promise P3, fault F10: the agent is cut off behind the final dot and sends again under its queue id."""
    content = b"Subject: once\r\n\r\nbody\r\n"
    for attempt in range(3):
        client = Raw(server)
        client.send(b"LHLO mta.test\r\nXFORWARD IDENT=4QF10\r\nMAIL FROM:<>\r\n")
        client.send(b"RCPT TO:<%s>\r\nDATA\r\n" % user.address.encode())
        client.expect("250", "250", "250", "250", "354")
        done = len(server.events("lmtp.message"))
        client.send(content + b".\r\n")
        if attempt < 2:
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
            client.close()
            server.wait_for("lmtp.message", done + 1)
        else:
            client.expect("250 2.0.0")
    assert inbox(services, user) == [content]


def test_oversize_is_refused_before_and_while_it_comes(
    server: RunningServer, services: MailServices, user: MadeUser
) -> None:
    """Promise of bounded memory: 200 MB come in, and the process does not grow by them."""
    client = Raw(server)
    client.send(b"LHLO x.test\r\nMAIL FROM:<> SIZE=8388609\r\n")
    client.expect("250", "552 5.3.4")
    client.begin(user)
    before = server.rss_kb()
    client.send(b"DATA\r\n")
    client.expect("354")
    highest = 0
    piece = (b"x" * 998 + b"\r\n") * 1000
    for _ in range(200):
        client.send(piece)
        highest = max(highest, server.rss_kb())
    client.send(b".\r\n")
    client.expect("552 5.3.4")
    assert highest - before < 40_000
    client.begin(user)
    client.send(b"BDAT 99999999\r\n")
    for _ in range(99):
        client.send(piece)
    client.send(b"x" * 999_999)
    client.expect("552 5.3.4")
    client.send(b"RSET\r\nNOOP\r\n")
    client.expect("250", "250")
    assert inbox(services, user) == []


def test_largest_message_is_taken_in_twice_its_memory(
    server: RunningServer, services: MailServices, user: MadeUser
) -> None:
    client = Raw(server)
    client.begin(user)
    content = (b"y" * 998 + b"\r\n") * 8000
    client.send(b"DATA\r\n")
    client.expect("354")
    client.send(content + b".\r\n")
    client.expect("250 2.0.0")
    (message,) = inbox(services, user)
    assert message == content


def test_endless_command_line_and_fifty_mistakes(server: RunningServer) -> None:
    client = Raw(server)
    before = server.rss_kb()
    for _ in range(50):
        client.send(b"x" * 1_000_000)
    client.send(b"\r\n")
    client.expect("500 5.5.6")
    assert server.rss_kb() - before < 20_000
    client.send(b"\x00\xff\r\n" * 49)
    client.expect(*["500"] * 49, "421 4.7.0")
    assert client.reply() == b""


def test_many_at_once(server: RunningServer, services: MailServices, tenant: Any) -> None:
    """Pipelined deliveries over 20 connections: each user gets each message once."""
    users = [make_user(services, tenant=tenant) for _ in range(20)]
    clients = [Raw(server) for _ in users]
    for client, user in zip(clients, users, strict=True):
        client.begin(user)
        client.send(b"DATA\r\n")
    for client in clients:
        client.expect("354")
    for number, client in enumerate(clients):
        client.send(b"Subject: %d\r\n\r\n.\r\n" % number)
    for client in clients:
        client.expect("250 2.0.0")
    for number, user in enumerate(users):
        assert inbox(services, user) == [b"Subject: %d\r\n\r\n" % number]


def test_health_port(server: RunningServer) -> None:
    def get(path: str) -> bytes:
        with socket.create_connection((HOST, server.port("health")), timeout=10) as client:
            client.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            return b"".join(iter(lambda: client.recv(65536), b""))

    assert get("/health").startswith(b"HTTP/1.1 200")
    assert get("/ready").startswith(b"HTTP/1.1 200")
    assert get("/nothing").startswith(b"HTTP/1.1 404")
    assert b'eider_connections_total{server="lmtp"}' in get("/metrics")


def test_sigterm_lets_data_end_and_tells_the_others(
    services: MailServices, user: MadeUser, directory_uri: str, redis_url: str, tmp_path: Path
) -> None:
    """Promise P13."""
    with start(["lmtp"], environment_of(directory_uri, redis_url, ["lmtp"]), tmp_path) as own:
        idle, busy = Raw(own), Raw(own)
        busy.begin(user)
        busy.send(b"DATA\r\n")
        busy.expect("354")
        busy.send(b"Subject: late\r\n")
        own.process.terminate()
        idle.expect("421 4.3.2")
        assert idle.reply() == b""
        with pytest.raises(OSError):
            Raw(own)
        assert own.process.poll() is None
        busy.send(b"\r\nlast words\r\n.\r\n")
        busy.expect("250 2.0.0", "421 4.3.2")
        assert own.process.wait(10) == 0
    assert inbox(services, user) == [b"Subject: late\r\n\r\nlast words\r\n"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"EIDER_LMTP_LISTEN": "0.0.0.0:0"}, "EIDER_LMTP_PEERS"),
        ({"EIDER_LMTP_LISTEN": ""}, "EIDER_LMTP_LISTEN is not set"),
        ({"EIDER_LMTP_LISTEN": "192.0.2.1:1", "EIDER_LMTP_PEERS": "192.0.2.0/24"}, "cannot listen on 192.0.2.1:1"),
        ({"EIDER_SEALING_KEYS": ""}, "EIDER_SEALING_KEYS is not set"),
        ({"EIDER_LMTP_CLIENT_CA": "/nonexistent"}, "cannot read /nonexistent"),
    ],
)
def test_start_is_refused_with_one_clear_line(
    directory_uri: str, redis_url: str, tmp_path: Path, changes: dict[str, str], reason: str
) -> None:
    environment = environment_of(directory_uri, redis_url, ["lmtp"]) | changes
    done = subprocess.run(
        [sys.executable, "-m", "mailcore", "lmtp"], env=environment, capture_output=True, timeout=30, check=False
    )
    assert done.returncode == 78
    (line,) = [text for text in done.stderr.decode().splitlines() if text.startswith("eider: ")]
    assert reason in line
    assert b"Traceback" not in done.stderr


def test_peers_that_are_not_listed_get_no_word(
    services: MailServices, authority: trustme.CA, directory_uri: str, redis_url: str, tmp_path: Path, user: MadeUser
) -> None:
    """Behind a listed proxy, a client from elsewhere is not admitted; one that is listed delivers (attack N15)."""
    environment = environment_of(
        directory_uri, redis_url, ["lmtp"], EIDER_PROXY_FROM="127.0.0.0/8", EIDER_LMTP_PEERS="198.51.100.0/24"
    )
    with start(["lmtp"], environment, tmp_path) as own:
        for address, first in (("203.0.113.9", b"421"), ("198.51.100.7", b"220")):
            with socket.create_connection((HOST, own.port("lmtp")), timeout=10) as client:
                client.sendall(f"PROXY TCP4 {address} 10.0.0.1 5000 24\r\n".encode())
                assert client.recv(100).startswith(first)


def test_client_certificates_open_the_door(
    services: MailServices, authority: trustme.CA, directory_uri: str, redis_url: str, tmp_path: Path, user: MadeUser
) -> None:
    """Mutual TLS: whoever is not listed needs a certificate of the authority."""
    mtas = trustme.CA()
    mtas.cert_pem.write_to_path(tmp_path / "mtas.pem")
    environment = environment_of(
        directory_uri,
        redis_url,
        ["lmtp"],
        EIDER_LMTP_CLIENT_CA=str(tmp_path / "mtas.pem"),
        EIDER_PROXY_FROM="127.0.0.0/8",
    )
    mail = b"LHLO x.test\r\nMAIL FROM:<>\r\n"
    with start(["lmtp"], environment, tmp_path) as own:
        for identity, expected in ((None, b"530 5.7.0"), (mtas.issue_cert("mta.test"), b"250 2.1.0")):
            client: Any = socket.create_connection((HOST, own.port("lmtp")), timeout=10)
            client.sendall(b"PROXY TCP4 203.0.113.9 10.0.0.1 5000 24\r\n")
            assert client.recv(100).startswith(b"220")
            client.sendall(b"STARTTLS\r\n")
            assert client.recv(100).startswith(b"220")
            context = ssl.create_default_context()
            authority.configure_trust(context)
            if identity is not None:
                identity.configure_cert(context)
            client = context.wrap_socket(client, server_hostname="mx.test")
            client.sendall(mail)
            lines = client.makefile("rb")
            while (line := lines.readline())[3:4] == b"-":
                pass
            assert lines.readline().startswith(expected), line
            client.close()


def stuffed(message: bytes) -> bytes:
    """What a client sends after DATA: dots doubled, and the end (RFC 5321 §4.5.2)."""
    dotted = (b"\r\n" + message).replace(b"\r\n.", b"\r\n..")[2:]
    return dotted + (b"" if not dotted or dotted.endswith(b"\r\n") else b"\r\n") + b".\r\n"


def deliver_both_ways(server: RunningServer, user: MadeUser, messages: list[bytes]) -> None:
    """Each message by DATA, then by BDAT in two chunks."""
    client = Raw(server)
    for message in messages:
        client.begin(user)
        client.send(b"DATA\r\n")
        client.expect("354")
        client.send(stuffed(message))
        client.expect("250 2.0.0")
        client.begin(user)
        half = len(message) // 2
        client.send(b"BDAT %d\r\n%sBDAT %d LAST\r\n%s" % (half, message[:half], len(message) - half, message[half:]))
        client.expect("250 2.0.0", "250 2.0.0")
    client.close()


def as_data_stores_it(message: bytes) -> bytes:
    """Line ends made CRLF, the last line ended: the rule for DATA."""
    whole = as_crlf(b"\n" + message)[2:]
    return whole if not whole or message.endswith(b"\r\n") else whole + b"\r\n"


@pytest.mark.timeout(300)
def test_hostile_messages_come_back_as_they_were_sent(
    server: RunningServer, services: MailServices, user: MadeUser
) -> None:
    """Promise P2: BDAT keeps every octet, DATA makes line ends CRLF and nothing else."""
    small = [hostile for hostile in HOSTILE if not hostile.is_large]
    messages = [hostile.build() for hostile in small]
    deliver_both_ways(server, user, messages)
    found = inbox(services, user)
    assert len(found) == 2 * len(messages)
    for hostile, message, by_data, by_chunks in zip(small, messages, found[::2], found[1::2], strict=True):
        assert by_chunks == message, hostile.name
        assert by_data == as_data_stores_it(message), hostile.name


@pytest.mark.timeout(300)
def test_corpus_comes_back_as_it_was_sent(server: RunningServer, services: MailServices, user: MadeUser) -> None:
    """Promise P2 over the shared corpus, where there is one."""
    corpus = list(corpus_as_crlf())
    if not corpus:
        pytest.skip("no shared corpus here (EIDER_SHARED)")
    deliver_both_ways(server, user, [message for _, message in corpus])
    found = inbox(services, user)
    assert len(found) == 2 * len(corpus)
    for (name, message), by_data, by_chunks in zip(corpus, found[::2], found[1::2], strict=True):
        assert by_chunks == as_let_in(message), name
        assert by_data == as_let_in(as_data_stores_it(message)), name
