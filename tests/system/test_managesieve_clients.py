"""The ManageSieve server as a process: sievelib looks after scripts, over TLS, and mail goes where they say."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
import trustme
from sievelib.managesieve import Client

from mailcore.model.access import Scope
from mailcore.model.roles import Role
from mailcore.services import MailServices
from tests.builders import OPERATOR, MadeUser, make_services, make_user
from tests.store.test_delivery import deliver
from tests.system.servers import RunningServer, environment_of, start

HOST = "127.0.0.1"
SCRIPT = """require ["fileinto", "imap4flags"];
if header :contains "subject" "größe" { addflag "\\\\Flagged"; fileinto "Archive"; }
"""


@pytest.fixture(scope="module")
def services(directory_uri: str, shard_uris: dict[str, Any], redis_url: str) -> Iterator[MailServices]:
    services = make_services(directory_uri, shard_uris, redis_url)
    yield services
    services.close()


@pytest.fixture(scope="module")
def authority(services: MailServices) -> trustme.CA:
    authority = trustme.CA()
    leaf = authority.issue_cert("mx.test", HOST)
    services.certificates.add(OPERATOR, leaf.cert_chain_pems[0].bytes(), leaf.private_key_pem.bytes(), is_default=True)
    return authority


@pytest.fixture(scope="module")
def server(
    authority: trustme.CA, directory_uri: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningServer]:
    environment = environment_of(directory_uri, redis_url, ["managesieve"])
    with start(["managesieve"], environment, tmp_path_factory.mktemp("managesieve")) as server:
        yield server


@pytest.fixture
def user(services: MailServices) -> MadeUser:
    return make_user(services)


@pytest.fixture(autouse=True)
def trust(authority: trustme.CA, monkeypatch: pytest.MonkeyPatch) -> None:
    """sievelib makes its own context, of the platform's authorities."""
    make = ssl.create_default_context

    def trusting(*arguments: Any, **options: Any) -> ssl.SSLContext:
        context = make(*arguments, **options)
        authority.configure_trust(context)
        return context

    monkeypatch.setattr(ssl, "create_default_context", trusting)


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "OAUTHBEARER"])
def test_sievelib_signs_in(server: RunningServer, services: MailServices, user: MadeUser, mechanism: str) -> None:
    """An app password for ManageSieve alone, or a token."""
    if mechanism == "OAUTHBEARER":
        owner = services.tokens.owner_of_user(user.user_id)
        secret = services.tokens.create(OPERATOR, owner, Role.USER, "x")[1].reveal_text()
    else:
        secret = services.app_passwords.create(OPERATOR, user.user_id, "x", [Scope.SIEVE])[1].reveal_text()
    client = Client(HOST, server.port("managesieve"))
    assert client.connect(user.address, secret, starttls=True, authmech=mechanism)
    assert client.get_implementation() == "Eider"
    assert "vacation" in client.get_sieve_capabilities()
    client.logout()


def test_the_life_of_a_script(server: RunningServer, services: MailServices, user: MadeUser) -> None:
    client = Client(HOST, server.port("managesieve"))
    assert client.connect(user.address, user.password, starttls=True)
    assert client.listscripts() == (None, [])
    assert client.havespace("größe", len(SCRIPT.encode()))
    assert not client.havespace("größe", 10_000_000)
    assert client.checkscript(SCRIPT)
    assert not client.checkscript("nonsense")
    assert client.putscript("größe", SCRIPT)
    assert client.setactive("größe")
    assert client.listscripts() == ("größe", [])
    assert client.getscript("größe").strip() == SCRIPT.strip()
    assert not client.deletescript("größe")
    assert client.renamescript("größe", "other")
    assert client.listscripts() == ("other", [])
    services.sessions.poll()
    deliver(services, b"From: a@b.example\r\nSubject: =?utf-8?q?Gr=C3=B6=C3=9Fe?=\r\n\r\n.\r\n", user)
    deliver(services, b"From: a@b.example\r\nSubject: else\r\n\r\n.\r\n", user)
    assert services.mailboxes.open(user.user_id, "Archive").exists == 1
    assert services.mailboxes.open(user.user_id, "INBOX").exists == 1
    assert client.setactive("")
    assert client.deletescript("other")
    client.logout()


def test_starttls_injection(server: RunningServer) -> None:
    """N1, at the real server: what came behind STARTTLS in clear is neither answered nor survives the handshake."""
    with closing(socket.create_connection((HOST, server.port("managesieve")), timeout=20)) as line:
        stream = line.makefile("rwb")
        while not stream.readline().startswith(b"OK"):
            pass
        stream.write(b'STARTTLS\r\nNOOP "injected"\r\n')
        stream.flush()
        rest = stream.read()
    assert rest == b'OK "Begin TLS negotiation now"\r\n'
