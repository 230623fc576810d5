"""The IMAP server as a process: real clients over TCP, hostile input, memory."""

from __future__ import annotations

import imaplib
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import imapclient
import pytest
import trustme

from mailcore.services import MailServices
from mailcore.services.mailboxes.messages import NewMessage
from tests.builders import OPERATOR, MadeUser, make_services, make_user
from tests.corpus import iter_corpus
from tests.hostile import HOSTILE
from tests.system.servers import RunningServer, environment_of, start

HOST = "127.0.0.1"
LARGEST = 4 << 20


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
def environment(authority: trustme.CA, directory_uri: str, redis_url: str) -> dict[str, str]:
    return environment_of(directory_uri, redis_url, ["imap", "imaps"])


@pytest.fixture(scope="module")
def server(
    services: MailServices, environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningServer]:
    with start(["imap"], environment, tmp_path_factory.mktemp("imap"), forked=False) as server:
        yield server


@pytest.fixture
def user(services: MailServices) -> MadeUser:
    return make_user(services)


@contextmanager
def signed_in(server: RunningServer, user: MadeUser) -> Iterator[imapclient.IMAPClient]:
    with imapclient.IMAPClient(HOST, server.port("imap"), ssl=False, timeout=30) as client:
        client.login(user.address, user.password)
        yield client


def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    context.check_hostname = False
    return context


def test_imapclient_works_with_all_of_its_mail(server: RunningServer, user: MadeUser) -> None:
    raw = b"From: a@example.com\r\nSubject: Gr\xc3\xbc\xc3\x9fe\r\n\r\nHello\r\n"
    with signed_in(server, user) as client:
        assert client.namespace().personal == (("", "/"),)
        assert client.find_special_folder(b"\\Sent") == "Sent Mail"
        client.create_folder("Entwürfe/日本")
        assert "Entwürfe/日本" in [name for _, _, name in client.list_folders()]
        client.rename_folder("Entwürfe/日本", "Büro")
        answer = client.append("Büro", raw, [imapclient.FLAGGED], datetime(2024, 2, 29, 12, 0, tzinfo=UTC))
        assert b"APPENDUID" in answer
        assert client.select_folder("Büro")[b"EXISTS"] == 1
        (uid,) = client.search(["FLAGGED"])
        assert client.search(["SUBJECT", "grüsse"], charset="UTF-8") == [uid]
        fetched = client.fetch([uid], ["FLAGS", "INTERNALDATE", "ENVELOPE", "BODYSTRUCTURE", "BODY.PEEK[]"])[uid]
        assert fetched[b"BODY[]"] == raw
        assert fetched[b"FLAGS"] == (imapclient.FLAGGED,)
        assert fetched[b"INTERNALDATE"].astimezone(UTC) == datetime(2024, 2, 29, 12, 0, tzinfo=UTC)
        assert client.add_flags([uid], [imapclient.SEEN, "$Work"])[uid] == (
            imapclient.SEEN,
            imapclient.FLAGGED,
            b"$Work",
        )
        client.copy([uid], "Archive")
        client.move([uid], "Trash")
        assert client.folder_status("Büro", ["MESSAGES", "UIDNEXT"]) == {b"MESSAGES": 0, b"UIDNEXT": 2}
        client.select_folder("Trash")
        (uid,) = client.search()
        client.delete_messages([uid])
        client.expunge()
        assert client.search() == []
        client.delete_folder("Büro")
        assert client.id_({"name": "test"}) == ((b"name", b"Eider"),)


def test_imaplib_works(server: RunningServer, user: MadeUser) -> None:
    with imaplib.IMAP4(HOST, server.port("imap"), timeout=30) as client:
        client.login(user.address, user.password)
        assert client.append("INBOX", r"(\Seen)", "", b"Subject: x\r\n\r\nbody\r\n")[0] == "OK"
        assert client.select("INBOX") == ("OK", [b"1"])
        assert client.fetch("1", "(BODY.PEEK[])")[1][0][1] == b"Subject: x\r\n\r\nbody\r\n"
        assert client.search(None, "SEEN")[1] == [b"1"]
        assert client.store("1", "+FLAGS", r"(\Deleted)")[1] == [rb"1 (FLAGS (\Seen \Deleted))"]
        assert client.expunge()[1] == [b"1"]


def _append_all(services: MailServices, user: MadeUser, raws: list[bytes]) -> None:
    for start_at in range(0, len(raws), 20):
        batch = [NewMessage(raw) for raw in raws[start_at : start_at + 20]]
        services.messages.append(user.user_id, OPERATOR, "INBOX", batch)


@pytest.mark.timeout(300)
def test_two_clients_parse_what_is_hostile(services: MailServices, server: RunningServer, user: MadeUser) -> None:
    """N10: imapclient and imaplib read ENVELOPE and BODYSTRUCTURE of everything and stay in step."""
    raws = [raw for message in HOSTILE if not message.is_large and 0 < len(raw := message.build()) <= LARGEST]
    raws += [raw for _, raw in iter_corpus()]
    _append_all(services, user, raws)
    with signed_in(server, user) as client:
        client.select_folder("INBOX")
        uids = client.search()
        assert len(uids) == len(raws)
        for start_at in range(0, len(uids), 20):
            batch = uids[start_at : start_at + 20]
            found = client.fetch(batch, ["ENVELOPE", "BODYSTRUCTURE", "RFC822.SIZE", "BODY.PEEK[]"])
            for uid, raw in zip(batch, raws[start_at : start_at + 20], strict=True):
                assert found[uid][b"BODY[]"] == raw
                assert found[uid][b"RFC822.SIZE"] == len(raw)
                assert found[uid][b"ENVELOPE"] is not None
                assert found[uid][b"BODYSTRUCTURE"]
        assert client.noop()[0].startswith(b"Completed")
    with imaplib.IMAP4(HOST, server.port("imap"), timeout=60) as other:
        other.login(user.address, user.password)
        other.select("INBOX")
        for start_at in range(1, len(raws) + 1, 50):
            last = min(start_at + 49, len(raws))
            status, _ = other.fetch(f"{start_at}:{last}", "(ENVELOPE BODYSTRUCTURE)")
            assert status == "OK"
        assert other.noop()[0] == "OK"


def test_tls(server: RunningServer, authority: trustme.CA, user: MadeUser) -> None:
    context = trusting(authority)
    with imapclient.IMAPClient(HOST, server.port("imaps"), ssl=True, ssl_context=context, timeout=30) as client:
        client.login(user.address, user.password)
        assert client.select_folder("INBOX")[b"EXISTS"] == 0
    with imapclient.IMAPClient(HOST, server.port("imap"), ssl=False, timeout=30) as client:
        assert client.has_capability("STARTTLS")
        client.starttls(context)
        assert not client.has_capability("STARTTLS")
        client.login(user.address, user.password)


def _dial(server: RunningServer, name: str = "imap") -> socket.socket:
    connected = socket.create_connection((HOST, server.port(name)), 30)
    connected.settimeout(30)
    assert connected.recv(4096).startswith(b"* OK")
    return connected


def _until(connected: socket.socket, words: bytes) -> bytes:
    data = b""
    while words not in data:
        piece = connected.recv(65536)
        if not piece:
            return data
        data += piece
    return data


def test_starttls_injection(server: RunningServer, authority: trustme.CA) -> None:
    """N1: one packet with a command behind STARTTLS."""
    with _dial(server) as connected:
        connected.sendall(b"a STARTTLS\r\nb NOOP\r\n")
        answer = _until(connected, b"never")
        assert answer == b"a OK Begin TLS negotiation now\r\n"


def test_plaintext_login_is_refused_unless_local(
    environment: dict[str, str], services: MailServices, authority: trustme.CA, user: MadeUser, tmp_path: Path
) -> None:
    """N2; and nothing of the attempt's password is in the log."""
    strict = {name: value for name, value in environment.items() if not name.endswith("_LOCAL")}
    with start(["imap"], strict, tmp_path) as server:
        with _dial(server) as connected:
            connected.sendall(f'a LOGIN {user.address} "{user.password}"\r\n'.encode())
            assert _until(connected, b"\r\n").startswith(b"a NO [PRIVACYREQUIRED]")
        context = trusting(authority)
        with imapclient.IMAPClient(HOST, server.port("imaps"), ssl=True, ssl_context=context, timeout=30) as client:
            client.login(user.address, user.password)
        assert user.password not in server.log_path.read_text()


def hear(idling: imapclient.IMAPClient, wanted: tuple[Any, ...]) -> None:
    """Wait until this is told, whatever is told before it."""
    heard: list[Any] = []
    ends_at = time.monotonic() + 40
    while wanted not in heard:
        assert time.monotonic() < ends_at, heard
        heard += idling.idle_check(timeout=1)


def test_idle_hears_what_another_process_does(
    services: MailServices, server: RunningServer, environment: dict[str, str], user: MadeUser, tmp_path: Path
) -> None:
    """By Redis: a second server process idles while the first and this one change the mailbox."""
    with start(["imap"], environment, tmp_path) as second, signed_in(second, user) as idling:
        idling.select_folder("INBOX")
        idling.idle()
        services.messages.append(user.user_id, OPERATOR, "INBOX", [NewMessage(b"Subject: x\r\n\r\n")])
        hear(idling, (1, b"EXISTS"))
        with signed_in(server, user) as other:
            other.select_folder("INBOX")
            other.add_flags([1], [imapclient.FLAGGED])
            hear(idling, (1, b"FETCH", (b"UID", 1, b"FLAGS", (imapclient.FLAGGED,))))
            other.delete_messages([1])
            other.expunge()
        hear(idling, (1, b"EXPUNGE"))
        idling.idle_done()


def test_announced_gigabyte_takes_no_memory(server: RunningServer, user: MadeUser) -> None:
    """N5."""
    with signed_in(server, user):
        pass
    before = server.rss_kb()
    for line in (
        b"a LOGIN {99999999999}\r\n",
        b"a LOGIN {100000000+}\r\n",
        b"a APPEND INBOX {1073741824+}\r\n" + b"x" * 100_000,
        b"a " + b"x" * 200_000 + b"\r\n",
    ):
        with _dial(server) as connected:
            connected.sendall(line)
            assert b" BAD " in _until(connected, b"\r\n")
    assert server.rss_kb() - before < 5 * 1024


def test_connection_cut_within_a_literal_stores_nothing(
    services: MailServices, server: RunningServer, user: MadeUser
) -> None:
    with _dial(server) as connected:
        connected.sendall(f'a LOGIN {user.address} "{user.password}"\r\n'.encode())
        _until(connected, b"a OK")
        connected.sendall(b"b APPEND INBOX {100000+}\r\n" + b"x" * 50_000)
    with signed_in(server, user) as client:
        assert client.folder_status("INBOX", ["MESSAGES"])[b"MESSAGES"] == 0


def test_client_that_stops_reading_holds_nobody_up(
    services: MailServices, server: RunningServer, user: MadeUser
) -> None:
    raw = b"Subject: x\r\n\r\n" + b"0123456789abcdef" * (1 << 16)
    _append_all(services, user, [raw] * 40)
    with _dial(server) as stuck, signed_in(server, user) as client:
        stuck.sendall(f'a LOGIN {user.address} "{user.password}"\r\nb SELECT INBOX\r\n'.encode())
        _until(stuck, b"b OK")
        before = server.rss_kb()
        stuck.sendall(b"c FETCH 1:* BODY.PEEK[]\r\n")
        for _ in range(20):
            client.noop()
        assert server.rss_kb() - before < 30 * 1024
