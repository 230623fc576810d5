"""The POP3 server as a process: poplib, mpop, fetchmail and curl collect mail, compared message by message."""

from __future__ import annotations

import poplib
import re
import socket
import ssl
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from mailcore.services import MailServices
from tests.builders import OPERATOR, MadeUser, make_services, make_user
from tests.corpus import iter_corpus
from tests.hostile import HOSTILE
from tests.system.mail import found, in_maildir, messages, put, with_line_feeds
from tests.system.programs import needs, run
from tests.system.servers import RunningServer, environment_of, start

HOST = "127.0.0.1"
NAMES = ["imap", "pop3", "pop3s"]


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
    return environment_of(directory_uri, redis_url, NAMES)


@pytest.fixture(scope="module")
def server(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with start(["imap", "pop3"], environment, tmp_path_factory.mktemp("pop3"), forked=False) as server:
        yield server


@pytest.fixture
def user(services: MailServices) -> MadeUser:
    return make_user(services)


@pytest.fixture
def trusted(authority: trustme.CA, tmp_path: Path) -> Path:
    path = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(path))
    return path


def signed_in(server: RunningServer, user: MadeUser) -> poplib.POP3:
    client = poplib.POP3(HOST, server.port("pop3"), timeout=30)
    client.user(user.address)
    client.pass_(user.password)
    return client


# -- poplib -------------------------------------------------------------------------------------


def test_poplib_works(server: RunningServer, services: MailServices, user: MadeUser) -> None:
    raws = messages(0, 12)
    put(services, user, raws)
    assert poplib.POP3(HOST, server.port("pop3")).capa()["SASL"] == ["PLAIN", "LOGIN", "OAUTHBEARER", "XOAUTH2"]
    client = signed_in(server, user)
    assert client.stat() == (12, sum(map(len, raws)))
    assert client.list()[1] == [b"%d %d" % (number, len(raw)) for number, raw in enumerate(raws, start=1)]
    assert len({line.split()[1] for line in client.uidl()[1]}) == 12
    client.dele(2)
    client.rset()
    client.dele(5)
    assert [b"".join(line + b"\r\n" for line in client.retr(number)[1]) for number in (1, 2, 6)] == [
        raws[0], raws[1], raws[5],
    ]  # fmt: skip
    client.quit()
    assert found(services, user) == raws[:4] + raws[5:]


def test_tls(server: RunningServer, authority: trustme.CA, services: MailServices, user: MadeUser) -> None:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    context.check_hostname = False
    put(services, user, messages(1, 1))
    implicit = poplib.POP3_SSL(HOST, server.port("pop3s"), context=context, timeout=30)
    upgraded = poplib.POP3(HOST, server.port("pop3"), timeout=30)
    assert "STLS" in upgraded.capa()
    upgraded.stls(context)
    for client in (implicit, upgraded):
        assert "STLS" not in client.capa()
        client.user(user.address)
        client.pass_(user.password)
        assert client.stat()[0] == 1
        client.quit()


def test_stls_injection(server: RunningServer) -> None:
    """N1: one packet with a command behind STLS; the connection closes without a handshake."""
    with socket.create_connection((HOST, server.port("pop3")), 30) as connected:
        connected.sendall(b"STLS\r\nCAPA\r\n")
        assert connected.makefile("rb").read() == b"+OK POP3 server ready\r\n+OK Begin TLS negotiation now\r\n"


def test_plaintext_login_is_refused_unless_local(
    environment: dict[str, str], authority: trustme.CA, user: MadeUser, tmp_path: Path
) -> None:
    """N2; and nothing of the attempt's password is in the log."""
    strict = {name: value for name, value in environment.items() if not name.endswith("_LOCAL")}
    with start(["pop3"], strict, tmp_path) as server:
        client = poplib.POP3(HOST, server.port("pop3"), timeout=30)
        assert {"USER", "SASL"}.isdisjoint(client.capa())
        for command in (client.user, client.pass_):
            with pytest.raises(poplib.error_proto, match="Encrypt the connection first"):
                command(user.password)
        client.close()
        assert user.password not in server.log_path.read_text()


def test_long_lines_take_no_memory(server: RunningServer, user: MadeUser) -> None:
    """N5."""
    signed_in(server, user).quit()
    before = server.rss_kb()
    for begin in (b"", b"AUTH PLAIN\r\n"):
        with socket.create_connection((HOST, server.port("pop3")), 30) as connected:
            connected.sendall(begin + b"x" * (8 << 20) + b"\r\nQUIT\r\n")
            assert connected.makefile("rb").read().endswith(b"-ERR Line is too long\r\n+OK Goodbye\r\n")
    assert server.rss_kb() - before < 5 * 1024


# -- N13, P13 -----------------------------------------------------------------------------------


def uids(client: poplib.POP3) -> list[bytes]:
    return [line.split()[1] for line in client.uidl()[1]]


def test_only_quit_deletes_whoever_is_killed(
    services: MailServices, user: MadeUser, environment: dict[str, str], tmp_path: Path
) -> None:
    """N13: a client that vanishes, a server that is killed, one that is ended; then two sessions that both delete."""
    raws = messages(0, 6)
    put(services, user, raws)
    with start(["pop3"], environment, tmp_path) as server:
        client = signed_in(server, user)
        before = uids(client)
        for number in (1, 2):
            client.dele(number)
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.file.close()
        client.sock.close()  # with a reset, as from a machine that lost its power
        server.wait_open("pop3", 0)
        assert found(services, user) == raws

        client = signed_in(server, user)
        client.dele(1)
        server.process.kill()
        server.process.wait()
    assert found(services, user) == raws
    with start(["pop3"], environment, tmp_path) as server:
        client = signed_in(server, user)
        client.dele(1)
        assert server.terminate() == 0
        assert client.sock.recv(1000) == b"-ERR [SYS/TEMP] Server is restarting, connect again\r\n"
        assert client.sock.recv(1000) == b""
    assert found(services, user) == raws
    with start(["pop3"], environment, tmp_path) as server:
        first, second = signed_in(server, user), signed_in(server, user)
        assert uids(first) == uids(second) == before, "no unique-id changes with the process"
        for client, numbers in ((first, (1, 2)), (second, (2, 3))):
            for number in numbers:
                client.dele(number)
        first.quit()
        with pytest.raises(poplib.error_proto, match="No such message"):
            second.retr(1)
        second.quit()
        assert found(services, user) == raws[3:]
        put(services, user, raws[:3])
        after = uids(signed_in(server, user))
        assert after[:3] == before[3:]
        assert not set(after[3:]) & set(before), "the same mail again has other ids"


# -- P2 -----------------------------------------------------------------------------------------


def retrieve_all(server: RunningServer, user: MadeUser, count: int) -> list[bytes]:
    """Every message to the octet, RETRs sent before their answers are read."""
    with socket.create_connection((HOST, server.port("pop3")), 60) as connected:
        lines = connected.makefile("rb")
        connected.sendall(f"USER {user.address}\r\nPASS {user.password}\r\nLIST\r\n".encode())
        assert [lines.readline()[:3] for _ in range(4)] == [b"+OK"] * 4
        sizes = [int(lines.readline().split()[1]) for _ in range(count)]
        assert lines.readline() == b".\r\n"
        raws = []
        for start_at in range(1, count + 1, 20):
            numbers = range(start_at, min(start_at + 20, count + 1))
            connected.sendall(b"".join(b"RETR %d\r\n" % number for number in numbers))
            for number in numbers:
                size = sizes[number - 1]
                assert lines.readline() == b"+OK %d octets\r\n" % size
                pieces = []
                while (line := lines.readline()) != b".\r\n":
                    pieces.append(line[1:] if line.startswith(b".") else line)
                body = b"".join(pieces)
                assert body[size:] in {b"", b"\r\n"}, "LIST told the size of what was sent"
                raws.append(body[:size])
        return raws


@pytest.mark.timeout(300)
def test_what_is_stored_pop3_gives(server: RunningServer, services: MailServices, user: MadeUser) -> None:
    """P2: the whole corpus, each message byte for byte."""
    raws = [raw for _, raw in iter_corpus()]
    raws += [raw for hostile in HOSTILE if not hostile.is_large and (raw := hostile.build())]
    put(services, user, raws)
    retrieved = retrieve_all(server, user, len(raws))
    assert [number for number, raw in enumerate(raws) if retrieved[number] != raw] == []


# -- other people's programs --------------------------------------------------------------------

MPOP = """
account server
host {host}
port {port}
tls on
tls_starttls on
tls_trust_file {trusted}
tls_host_override mx.test
auth plain
user {user}
password "{password}"
delivery maildir {maildir}
uidls_file {home}/uidls
received_header off
keep {keep}
"""


@pytest.mark.parametrize("_", [pytest.param("", marks=needs("mpop", "mpop"))])
def test_mpop_collects_what_is_new_and_deletes_when_told(
    server: RunningServer, services: MailServices, user: MadeUser, trusted: Path, tmp_path: Path, _: str
) -> None:
    maildir = tmp_path / "maildir"
    for part in ("cur", "new", "tmp"):
        (maildir / part).mkdir(parents=True)

    def collect(*, keep: bool) -> list[bytes]:
        configuration = tmp_path / "mpoprc"
        configuration.write_text(
            MPOP.format(
                host=HOST, port=server.port("pop3"), trusted=trusted, user=user.address, password=user.password,
                maildir=maildir, home=tmp_path, keep="on" if keep else "off",
            )
        )  # fmt: skip
        configuration.chmod(0o600)
        run(["mpop", "-C", configuration, "-a"], tmp_path)
        return in_maildir(maildir)

    raws = messages(0, 40)
    put(services, user, raws)
    assert collect(keep=True) == with_line_feeds(raws)
    assert collect(keep=True) == with_line_feeds(raws), "nothing twice"
    put(services, user, messages(40, 8))
    raws += messages(40, 8)
    assert collect(keep=True) == with_line_feeds(raws)
    assert found(services, user) == raws
    put(services, user, messages(50, 1))
    assert collect(keep=False) == with_line_feeds(raws + messages(50, 1))
    assert found(services, user) == []


FETCHMAIL = """
set no bouncemail
set no softbounce
set invisible
set idfile "{home}/fetchids"
set pidfile "{home}/fetchmail.pid"
poll {host} service {port} protocol pop3 uidl timeout 30
    user "{user}" password "{password}" sslproto "" no rewrite {options}
    mda "{home}/take"
"""
TAKE = "#!/bin/sh\nf=$(mktemp {maildir}/new/XXXXXXXXXX) && cat > $f\n"


@pytest.mark.parametrize("_", [pytest.param("", marks=needs("fetchmail", "fetchmail"))])
def test_fetchmail_collects_what_is_new_and_deletes_when_told(
    server: RunningServer, services: MailServices, user: MadeUser, tmp_path: Path, _: str
) -> None:
    maildir = tmp_path / "maildir"
    (maildir / "new").mkdir(parents=True)
    take = tmp_path / "take"
    take.write_text(TAKE.format(maildir=maildir))
    take.chmod(0o700)

    def collect(options: str, *, finds: bool = True) -> list[bytes]:
        configuration = tmp_path / "fetchmailrc"
        configuration.write_text(
            FETCHMAIL.format(
                host=HOST, port=server.port("pop3"), user=user.address, password=user.password, home=tmp_path,
                options=options,
            )
        )  # fmt: skip
        configuration.chmod(0o600)
        run(["fetchmail", "-f", configuration, "--nodetach", "--silent"], tmp_path, expected=[0 if finds else 1])
        return in_maildir(maildir)

    raws = messages(0, 24)
    put(services, user, raws)
    assert collect("keep") == with_line_feeds(raws)
    assert collect("keep", finds=False) == with_line_feeds(raws), "nothing twice"
    put(services, user, messages(24, 6))
    raws += messages(24, 6)
    assert collect("keep") == with_line_feeds(raws)
    assert found(services, user) == raws
    put(services, user, messages(30, 3))
    assert collect("nokeep") == with_line_feeds(raws + messages(30, 3))
    assert found(services, user) == raws, "what was new went, what was kept before stays"


@pytest.mark.parametrize("_", [pytest.param("", marks=needs("curl", "curl"))])
def test_curl_reads_and_writes(
    server: RunningServer, services: MailServices, user: MadeUser, trusted: Path, tmp_path: Path, _: str
) -> None:
    raws = messages(0, 12)
    put(services, user, raws)
    tls = ["--ssl-reqd", "--cacert", str(trusted), "--connect-to", f"mx.test:{server.port('pop3')}:{HOST}:"]

    def curl(url: str, *options: str) -> bytes:
        command = ["curl", "--silent", "--show-error", "--user", f"{user.address}:{user.password}", *options, url]
        return run(command, tmp_path).stdout

    pop3 = f"pop3://{HOST}:{server.port('pop3')}"
    assert curl(pop3) == b"".join(b"%d %d\r\n" % (number, len(raw)) for number, raw in enumerate(raws, start=1))
    assert len(curl(pop3, "-X", "UIDL").splitlines()) == 12
    assert [curl(f"{pop3}/{number}") for number in range(1, 13)] == raws
    assert curl(f"pop3://mx.test:{server.port('pop3')}/3", *tls) == raws[2]
    curl(f"{pop3}/2", "-X", "DELE", "--list-only")
    del raws[1]
    assert found(services, user) == raws

    imap = f"imap://{HOST}:{server.port('imap')}"
    uids = [1, *range(3, 13)]
    assert [curl(f"{imap}/INBOX;UID={uid}") for uid in uids] == raws
    assert curl(f"{imap}/INBOX?SUBJECT%20%22message%207%22") == b"* SEARCH 7\r\n"
    assert b'"Trash"' in curl(imap) or b" Trash" in curl(imap)
    sent = tmp_path / "sent.eml"
    sent.write_bytes(messages(99, 1)[0])
    curl(f"{imap}/Archive", "-T", str(sent))
    assert found(services, user, "Archive") == messages(99, 1)
    curl(f"{imap}/INBOX", "-X", r"STORE 1:* +Flags \Seen")
    view = services.mailboxes.open(user.user_id, "INBOX")
    assert view.unseen == 0
    assert re.search(rb"UNSEEN 0", curl(f"{imap}/", "-X", "STATUS INBOX (MESSAGES UNSEEN)"))
