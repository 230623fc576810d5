"""TLS of a running server: who gets which certificate, what is refused, certificates that come and go (attack N14)."""

from __future__ import annotations

import socket
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trustme
from bson import ObjectId
from cryptography import x509

from infra.devstack.endpoints import Endpoints
from mailcore.model.actor import SYSTEM
from mailcore.services import MailServices
from mailcore.services.process.clock import now
from mailcore.services.trust.certificates import Certificates
from mailcore.services.wiring import connect
from mailcore.settings import AcmeSettings
from tests.builders import OPERATOR, make_services, make_settings
from tests.stubs.pebble import is_installed, pebble
from tests.system.servers import RunningServer, environment_of, start
from tests.waiting import wait_until

AUTHORITY = trustme.CA()
DEADLINE_S = 30.0


@pytest.fixture(scope="module")
def directory(stack: Endpoints, fresh_uri: Callable[[str, str], str]) -> str:
    return fresh_uri(stack.mongo.directory, "tls_directory")


@pytest.fixture(scope="module")
def services(directory: str, shard_uris: dict[str, Any]) -> Iterator[MailServices]:
    made = make_services(directory, shard_uris)
    add(made, "mx.test", is_default=True)
    yield made
    made.close()


@pytest.fixture(scope="module")
def server(services: MailServices, directory: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    environment = environment_of(directory, None, ["imap"], EIDER_IMAPS_LISTEN="127.0.0.1:0")
    with start(["imap"], environment, tmp_path_factory.mktemp("tls")) as running:
        yield running


def add(services: MailServices, *names: str, is_default: bool = False) -> str:
    """Add a certificate and return its serial number."""
    leaf = AUTHORITY.issue_cert(*names)
    chain = leaf.cert_chain_pems[0].bytes()
    services.certificates.add(OPERATOR, chain, leaf.private_key_pem.bytes(), is_default=is_default)
    return f"{x509.load_pem_x509_certificate(chain).serial_number:x}"


def served(server: RunningServer, name: str | None) -> list[str]:
    """The names in the certificate a client gets that asks for a name."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with (
        socket.create_connection(("127.0.0.1", server.port("imaps")), DEADLINE_S) as raw,
        context.wrap_socket(raw, server_hostname=name) as client,
    ):
        der = client.getpeercert(binary_form=True)
    assert der is not None
    leaf = x509.load_der_x509_certificate(der)
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return sorted(names.get_values_for_type(x509.DNSName))


def served_soon(server: RunningServer, name: str, expected: list[str]) -> None:
    """The certificate changes within seconds, without a restart."""
    wait_until(lambda: served(server, name) == expected, DEADLINE_S, lambda: served(server, name))


def unique(label: str) -> str:
    return f"{label}-{ObjectId()}.test"


@pytest.mark.parametrize("asked", [None, "unknown.test", "a.b.wild.test", "wild.test", "evil\\.test"])
def test_who_asks_for_no_name_of_ours_gets_the_default(
    services: MailServices, server: RunningServer, asked: str | None
) -> None:
    add(services, "*.wild.test")
    assert served(server, asked) == ["mx.test"]


def test_each_tenants_name_gets_its_certificate_and_no_other(services: MailServices, server: RunningServer) -> None:
    """Names that begin or end alike, in any case, are not taken for each other."""
    base = unique("one")
    names = [f"mail.{base}", f"imail.{base}", f"mail.{base}.example", f"xmail.{base}"]
    for name in names:
        add(services, name)
    for name in names:
        assert served(server, name) == served(server, name.upper()) == [name]
    assert served(server, f"ail.{base}") == served(server, f"mail.{base}.exampl") == ["mx.test"]


def test_a_wildcard_serves_one_label_and_an_exact_name_comes_first(
    services: MailServices, server: RunningServer
) -> None:
    base = unique("w")
    add(services, f"*.{base}")
    assert served(server, f"a.{base}") == [f"*.{base}"]
    add(services, f"b.{base}")
    assert served(server, f"b.{base}") == [f"b.{base}"]
    assert served(server, f"a.a.{base}") == ["mx.test"]


def test_certificates_come_are_renewed_and_go_without_a_restart(services: MailServices, server: RunningServer) -> None:
    name = unique("reload")
    assert served(server, name) == ["mx.test"]
    add(services, name)
    served_soon(server, name, [name])
    add(services, name, f"also.{name}")
    served_soon(server, name, sorted([name, f"also.{name}"]))
    assert services.certificates.delete(OPERATOR, name) == 1
    served_soon(server, name, ["mx.test"])


def test_the_first_certificate_comes_without_a_restart(
    stack: Endpoints,
    fresh_uri: Callable[[str, str], str],
    shard_uris: dict[str, Any],
    tmp_path: Path,
) -> None:
    """A server may run before there is any: the authority's questions have to be answered first."""
    directory = fresh_uri(stack.mongo.directory, "tls_later_directory")
    services = make_services(directory, shard_uris)
    with start(["imap", "pop3"], environment_of(directory, None, ["imap", "pop3"]), tmp_path) as server:

        def offers(port: str, ask: bytes) -> bytes:
            with socket.create_connection(("127.0.0.1", server.port(port)), DEADLINE_S) as client:
                client.sendall(ask)
                client.shutdown(socket.SHUT_WR)
                return b"".join(iter(lambda: client.recv(4096), b""))

        questions = {"imap": (b"a CAPABILITY\r\na LOGOUT\r\n", b"STARTTLS"), "pop3": (b"CAPA\r\nQUIT\r\n", b"STLS")}
        for port, (ask, offer) in questions.items():
            assert offer not in offers(port, ask)
        add(services, "mx.test", is_default=True)
        for port, (ask, offer) in questions.items():
            wait_until(lambda: offer in offers(port, ask), DEADLINE_S, lambda: port)  # noqa: B023
        with socket.create_connection(("127.0.0.1", server.port("imap")), DEADLINE_S) as raw:
            assert raw.recv(4096).startswith(b"* OK")
            raw.sendall(b"a STARTTLS\r\n")
            assert raw.recv(4096).startswith(b"a OK")
            context = ssl.create_default_context()
            AUTHORITY.configure_trust(context)
            with context.wrap_socket(raw, server_hostname="mx.test") as client:
                client.sendall(b"b NOOP\r\n")
                assert client.recv(4096).startswith(b"b OK")
    services.close()


def test_a_careless_look_up_serves_another_tenants_certificate(
    services: MailServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Control: the choice of the certificate is what keeps tenants apart."""
    name, other = unique("mine"), unique("other")
    add(services, name)
    found = services.certificates.certificate(other)
    assert found is not None
    assert names_in(found.chain_pem) == ["mx.test"]
    real = Certificates.certificate
    monkeypatch.setattr(Certificates, "certificate", lambda self, _asked: real(self, name))
    found = services.certificates.certificate(other)
    assert found is not None
    assert names_in(found.chain_pem) == [name]


def names_in(chain_pem: bytes) -> list[str]:
    leaf = x509.load_pem_x509_certificate(chain_pem)
    found = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return found.get_values_for_type(x509.DNSName)


# -- versions and renegotiation -----------------------------------------------------------------


def s_client(server: RunningServer, *options: str, stdin: bytes = b"") -> str:
    """What `openssl s_client` says; `stdin` is sent once the handshake is over."""
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{server.port('imaps')}", "-servername", "mx.test"]
    process = subprocess.Popen(
        [*command, *options], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert process.stdin is not None
    assert process.stdout is not None
    said = b""
    if stdin:
        while b"* OK" not in said:  # the greeting: the session is up
            read = process.stdout.read1(65536)
            if not read:
                break
            said += read
        process.stdin.write(stdin)
        process.stdin.flush()
        while read := process.stdout.read1(65536):
            said += read
            if b"RENEGOTIATING" in said and (b"error" in said or b"alert" in said or b"a OK" in said):
                break
    process.stdin.close()
    said += process.stdout.read()
    process.wait(DEADLINE_S)
    return said.decode(errors="replace")


LEGACY = ("-cipher", "ALL:@SECLEVEL=0")


@pytest.mark.parametrize("version", ["-tls1", "-tls1_1"])
def test_old_versions_are_refused(server: RunningServer, version: str) -> None:
    said = s_client(server, version, *LEGACY)
    assert "Cipher is (NONE)" in said
    assert "alert" in said


@pytest.mark.parametrize(("version", "name"), [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")])
def test_current_versions_are_spoken(server: RunningServer, version: str, name: str) -> None:
    """Control of the test above: the same client, the same options."""
    said = s_client(server, version, *LEGACY)
    assert f"New, {name}" in said


def test_a_client_cannot_renegotiate(server: RunningServer) -> None:
    """`R` has s_client ask for it; a server that allows it would do another handshake on our account."""
    said = s_client(server, "-tls1_2", stdin=b"R\n")
    assert "RENEGOTIATING" in said
    assert "no renegotiation" in said or "unexpected message" in said or "alert" in said


def test_early_data_is_not_offered(server: RunningServer) -> None:
    """What comes in 0-RTT can be replayed (RFC 8446 §8): the server's ticket allows none of it."""
    said = s_client(server, "-tls1_3", stdin=b"a LOGOUT\r\n")
    assert "Post-Handshake New Session Ticket arrived" in said
    assert "Max Early Data: 0" in said


# -- ACME ---------------------------------------------------------------------------------------


@pytest.mark.skipif(not is_installed(), reason="Debian's pebble is not installed")
def test_a_certificate_is_ordered_served_and_renewed(
    services: MailServices, server: RunningServer, directory: str, tmp_path: Path
) -> None:
    """The authority asks the running server over HTTP; a worker's services do the rest."""
    names = [unique("acme"), unique("acme2")]
    with pebble(tmp_path, server.port("health")) as authority:
        settings = make_settings(directory)
        acme = AcmeSettings(authority.directory_url, "ops@example.org", str(authority.authority_path))
        worker = connect(replace(settings, acme=acme))
        worker.acme.request(OPERATOR, [names[0].upper(), names[1]])
        assert worker.acme.renew_due(SYSTEM) == 1
        served_soon(server, names[0], sorted(names))
        assert served(server, names[1]) == sorted(names)
        assert worker.acme.renew_due(SYSTEM) == 0, "not due again"
        [order] = worker.acme.list_orders()
        [stored] = [one for one in worker.certificates.list_all() if names[0] in one.server_names]
        assert order.error == ""
        assert order.renew_at < stored.not_after
        worker.acme.request(OPERATOR, names)
        assert worker.acme.renew_due(SYSTEM) == 1
        [renewed] = [one for one in worker.certificates.list_all() if names[0] in one.server_names]
        assert renewed.fingerprint != stored.fingerprint
        accounts = services.certificates._directory.database["acme_accounts"]
        assert accounts.count_documents({"uri": {"$ne": None}}) == 1, "the account is used again"
        assert b"PRIVATE KEY" not in b"".join(bytes(one["key"]) for one in accounts.find())
        worker.close()


@pytest.mark.skipif(not is_installed(), reason="Debian's pebble is not installed")
def test_what_the_authority_refuses_is_told_and_tried_again_later(directory: str, tmp_path: Path) -> None:
    """Control of the test above: nobody answers the challenge."""
    with pebble(tmp_path, 1) as authority:
        acme = AcmeSettings(authority.directory_url, "", str(authority.authority_path))
        worker = connect(replace(make_settings(directory), acme=acme))
        name = unique("refused")
        worker.acme.request(OPERATOR, [name])
        assert worker.acme.renew_due(SYSTEM) == 0
        [order] = [one for one in worker.acme.list_orders() if name in one.names]
        assert name in order.error
        assert order.failures == 1
        assert worker.acme.renew_due(SYSTEM) == 0, "not before its time"
        assert worker.acme.withdraw(OPERATOR, name) == 1
        worker.close()


def test_answers_are_for_tokens_only(services: MailServices, server: RunningServer) -> None:
    services.acme._directory.acme.put_challenge("tok-1_x", "tok-1_x.thumb", now())
    base = f"http://127.0.0.1:{server.port('health')}/.well-known/acme-challenge/"
    with urllib.request.urlopen(base + "tok-1_x") as answer:
        assert answer.read() == b"tok-1_x.thumb"
    for wrong in ("tok-1_", "", "..%2f..%2fmetrics", "a" * 300, "%24ne"):
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(base + wrong)
        assert refused.value.code == 404
