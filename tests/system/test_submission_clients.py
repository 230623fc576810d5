"""The submission server as a process: swaks, msmtp and smtplib send with every mechanism, over both ports."""

from __future__ import annotations

import base64
import smtplib
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dkim
import pytest
import trustme

from mailcore.model.dkim import DkimAlgorithm, DkimKey
from mailcore.model.outbound import OutboundEntry
from mailcore.model.roles import Role
from mailcore.services import MailServices
from tests.builders import OPERATOR, MadeUser, make_services, make_user
from tests.system.programs import needs, run
from tests.system.servers import RunningServer, environment_of, start
from tests.transcripts.submission.conftest import messages_in

HOST = "127.0.0.1"
NAMES = ["submission", "submissions"]
IN_CLEAR = "EIDER_SUBMISSION_LOCAL"
PORTS = ["submission", "submissions"]
MECHANISMS = ["PLAIN", "LOGIN", "OAUTHBEARER", "XOAUTH2"]


@pytest.fixture(scope="module")
def services(directory_uri: str, shard_uris: dict[str, Any], redis_url: str) -> Iterator[MailServices]:
    services = make_services(directory_uri, shard_uris, redis_url)
    yield services
    services.close()


@pytest.fixture(scope="module")
def authority(services: MailServices) -> trustme.CA:
    authority = trustme.CA()
    leaf = authority.issue_cert("mx.test", "localhost", HOST)
    services.certificates.add(OPERATOR, leaf.cert_chain_pems[0].bytes(), leaf.private_key_pem.bytes(), is_default=True)
    return authority


@pytest.fixture(scope="module")
def authority_file(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("authority") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return path


@pytest.fixture(scope="module")
def server(
    authority: trustme.CA, directory_uri: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningServer]:
    del authority
    environment = environment_of(directory_uri, redis_url, NAMES) | {IN_CLEAR: "0"}
    with start(["submission"], environment, tmp_path_factory.mktemp("submission")) as server:
        yield server


@pytest.fixture
def user(services: MailServices) -> MadeUser:
    return make_user(services)


@pytest.fixture
def token(services: MailServices, user: MadeUser) -> str:
    owner = services.tokens.owner_of_user(user.user_id)
    return services.tokens.create(OPERATOR, owner, Role.USER, "Mail program")[1].reveal_text()


def connect(server: RunningServer, name: str, authority: trustme.CA) -> smtplib.SMTP:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    if name == "submissions":
        return smtplib.SMTP_SSL(HOST, server.port(name), local_hostname="client.test", context=context, timeout=30)
    smtp = smtplib.SMTP(HOST, server.port(name), local_hostname="client.test", timeout=30)
    smtp.starttls(context=context)
    return smtp


def message(user: MadeUser, subject: str) -> bytes:
    return (
        f"From: Ann <{user.address}>\r\nTo: bob@else.test\r\nSubject: {subject}\r\n"
        f"Message-ID: <{subject}@own.test>\r\nDate: Wed, 25 Nov 2026 12:00:00 +0000\r\n\r\n.dots\r\n..\r\n"
    ).encode()


def queued(services: MailServices, user: MadeUser) -> list[OutboundEntry]:
    return services.outbound.list_of_user(user.user_id)[::-1]


def outgoing(services: MailServices, user: MadeUser) -> list[bytes]:
    return [b"".join(services.outbound.content(user.user_id, entry.id).read()) for entry in queued(services, user)]


def response(mechanism: str, user: MadeUser, token: str) -> str:
    if mechanism == "PLAIN":
        return f"\0{user.address}\0{user.password}"
    if mechanism == "XOAUTH2":
        return f"user={user.address}\1auth=Bearer {token}\1\1"
    return f"n,a={user.address},\1auth=Bearer {token}\1\1"


@pytest.mark.parametrize("name", PORTS)
@pytest.mark.parametrize("mechanism", MECHANISMS)
@pytest.mark.parametrize("at_once", [True, False], ids=["initial-response", "challenged"])
def test_smtplib(
    services: MailServices,
    server: RunningServer,
    authority: trustme.CA,
    user: MadeUser,
    token: str,
    name: str,
    mechanism: str,
    at_once: bool,
) -> None:
    raw = message(user, f"{name}-{mechanism}-{at_once}".lower())
    with connect(server, name, authority) as smtp:
        smtp.ehlo()
        assert set(smtp.esmtp_features["auth"].split()) == set(MECHANISMS)
        smtp.user, smtp.password = user.address, user.password
        given = smtp.auth_login if mechanism == "LOGIN" else lambda _=None: response(mechanism, user, token)
        smtp.auth(mechanism, given, initial_response_ok=at_once)
        assert smtp.sendmail(user.address, ["bob@else.test"], raw) == {}
    assert outgoing(services, user)[0].endswith(raw)
    assert messages_in(services, user, "Sent Mail") == [raw]


@pytest.mark.parametrize("name", PORTS)
@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
@pytest.mark.parametrize("_", [pytest.param(None, marks=needs("swaks", "swaks libnet-ssleay-perl"))], ids=["swaks"])
def test_swaks(
    services: MailServices, server: RunningServer, user: MadeUser, tmp_path: Path, name: str, mechanism: str, _: None
) -> None:
    tls = "--tls" if name == "submission" else "--tls-on-connect"
    done = run(
        ["swaks", "--server", HOST, "--port", str(server.port(name)), tls, "--auth", mechanism, "--auth-user",
         user.address, "--auth-password", user.password, "--from", user.address, "--to", "bob@else.test,cy@else.test",
         "--header", f"Subject: {name} {mechanism}", "--helo", "client.test"],
        tmp_path,
    )  # fmt: skip
    entry = queued(services, user)[0]
    assert f"queued as {entry.id}".encode() in done.stdout
    assert [one.address for one in entry.recipients] == ["bob@else.test", "cy@else.test"]
    assert f"Subject: {name} {mechanism}\r\n".encode() in outgoing(services, user)[0]


@pytest.mark.parametrize("name", PORTS)
@pytest.mark.parametrize("mechanism", ["plain", "login", "oauthbearer", "xoauth2"])
@pytest.mark.parametrize("_", [pytest.param(None, marks=needs("msmtp", "msmtp"))], ids=["msmtp"])
def test_msmtp(
    services: MailServices,
    server: RunningServer,
    authority_file: Path,
    user: MadeUser,
    token: str,
    tmp_path: Path,
    name: str,
    mechanism: str,
    _: None,
) -> None:
    secret = tmp_path / "secret"
    secret.write_text((token if "oauth" in mechanism else user.password) + "\n")
    letter = tmp_path / "letter"
    letter.write_bytes(message(user, f"{name}-{mechanism}").replace(b"\r\n", b"\n"))
    config = tmp_path / "msmtprc"
    config.write_text(
        f"account default\nhost {HOST}\nport {server.port(name)}\nfrom {user.address}\nauth {mechanism}\n"
        f"user {user.address}\npasswordeval cat {secret}\ntls on\n"
        f"tls_starttls {'on' if name == 'submission' else 'off'}\n"
        f"tls_trust_file {authority_file}\ndsn_notify failure,delay\ndsn_return headers\n"
    )
    config.chmod(0o600)
    run(["sh", "-c", f"msmtp -C {config} bob@else.test < {letter}"], tmp_path)
    raw = letter.read_bytes().replace(b"\n", b"\r\n")
    assert outgoing(services, user)[0].endswith(raw)
    assert {one.value for one in queued(services, user)[0].recipients[0].notify or ()} == {"failure", "delay"}


def test_signatures_verify_by_both_algorithms(
    services: MailServices, server: RunningServer, authority: trustme.CA, user: MadeUser
) -> None:
    """RFC 6376 and RFC 8463; dkimpy is one verifier, rspamd the other (below)."""
    keys = with_keys(services, user)
    submit(server, authority, user, message(user, "signed"))
    raw = outgoing(services, user)[0]
    assert raw.count(b"DKIM-Signature:") == 2
    records = {f"{key.record_name}.".encode(): key.record_value.encode() for key in keys}
    verdicts = [dkim.DKIM(raw).verify(index, dnsfunc=lambda name, timeout=5: records.get(name)) for index in (0, 1)]
    assert verdicts == [True, True]


def with_keys(services: MailServices, user: MadeUser) -> list[DkimKey]:
    """Active keys of both kinds for the user's domain."""
    domain = user.address.partition("@")[2]
    return [
        services.dkim_keys.create(OPERATOR, user.tenant_id, domain, algorithm=algorithm, is_active=True)
        for algorithm in DkimAlgorithm
    ]


def submit(server: RunningServer, authority: trustme.CA, user: MadeUser, raw: bytes) -> None:
    with connect(server, "submissions", authority) as smtp:
        smtp.login(user.address, user.password)
        assert smtp.sendmail(user.address, ["bob@else.test"], raw) == {}


def test_no_password_in_clear(server: RunningServer, user: MadeUser) -> None:
    """Attack N2: AUTH is not offered before TLS, refused unread, and logged nowhere."""
    with smtplib.SMTP(HOST, server.port("submission"), local_hostname="client.test", timeout=30) as smtp:
        smtp.ehlo()
        assert "auth" not in smtp.esmtp_features
        assert "starttls" in smtp.esmtp_features
        offered = base64.b64encode(response("PLAIN", user, "").encode()).decode()
        assert smtp.docmd("AUTH", f"PLAIN {offered}") == (
            538,
            b"5.7.11 Begin TLS first: passwords do not travel in clear",
        )
        assert smtp.docmd("MAIL", f"FROM:<{user.address}>")[0] == 530
    log = server.log_path.read_text()
    assert offered not in log
    assert user.password not in log


def test_command_behind_starttls_is_never_carried_out(
    server: RunningServer, authority: trustme.CA, user: MadeUser
) -> None:
    """Attack N1: in one packet with STARTTLS, or before it; nothing said in clear is known afterwards."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    with socket.create_connection((HOST, server.port("submission")), timeout=30) as plain:
        reader = plain.makefile("rb")
        reader.readline()
        plain.sendall(b"EHLO evil.test\r\nSTARTTLS\r\nRSET\r\n")
        lines = [reader.readline()]
        while not lines[-1].startswith(b"250 "):
            lines.append(reader.readline())
        assert reader.readline().startswith(b"501 5.5.4")
        assert reader.read() == b""
    with socket.create_connection((HOST, server.port("submission")), timeout=30) as plain:
        plain.recv(200)
        plain.sendall(b"EHLO evil.test\r\nSTARTTLS\r\n")
        received = b""
        while b"220 2.0.0" not in received:
            received += plain.recv(4096)
        with context.wrap_socket(plain, server_hostname=HOST) as tls:
            tls.sendall(f"MAIL FROM:<{user.address}>\r\n".encode())
            assert tls.recv(200).startswith(b"503 5.5.1 Introduce yourself")


def test_open_session_ends_when_its_user_is_signed_out(
    services: MailServices, server: RunningServer, authority: trustme.CA, user: MadeUser
) -> None:
    smtp = connect(server, "submissions", authority)
    smtp.login(user.address, user.password)
    smtp.mail(user.address)
    services.users.log_out(OPERATOR, user.user_id, "Phone lost")
    assert smtp.getreply() == (421, b"4.7.0 Phone lost")
    with pytest.raises(smtplib.SMTPServerDisconnected):
        smtp.rcpt("bob@else.test")
    smtp.close()
    assert queued(services, user) == []


def test_connections_of_a_user_are_counted(
    services: MailServices, server: RunningServer, authority: trustme.CA, user: MadeUser
) -> None:
    services.users.set_limit(OPERATOR, user.user_id, "connections", 1)
    first = connect(server, "submissions", authority)
    first.login(user.address, user.password)
    second = connect(server, "submissions", authority)
    with pytest.raises(smtplib.SMTPException) as refused:
        second.login(user.address, user.password)
    assert "4.7.0" in str(refused.value)
    for smtp in (first, second):
        smtp.close()
