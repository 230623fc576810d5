"""TLS: handshakes on the pump, names, client certificates, STARTTLS with input in clear behind it."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import Any

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from mailcore.errors import StoreUnavailable
from mailcore.net import client_hello
from mailcore.net.tls import TlsAcceptor, server_context
from tests.unit.net.echo import read, read_to_end, serving, until

AUTHORITY = trustme.CA()


@dataclass(frozen=True)
class Certificate:
    id: str
    chain_pem: bytes
    key_pem: bytes


def make(*names: str) -> Certificate:
    leaf = AUTHORITY.issue_cert(*names)
    return Certificate(names[0], leaf.cert_chain_pems[0].bytes(), leaf.private_key_pem.bytes())


DEFAULT, OTHER = make("mx.test"), make("other.test")


def find(name: str | None) -> Certificate:
    if name == "away.test":
        raise StoreUnavailable
    return OTHER if name == "other.test" else DEFAULT


def acceptor(client_authority: trustme.CA | None = None) -> TlsAcceptor:
    made = TlsAcceptor(find, client_authority.cert_pem.bytes() if client_authority else None)
    assert made.look()
    return made


def client_context(identity: Any = None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    AUTHORITY.configure_trust(context)
    if identity is not None:
        identity.configure_cert(context)
    return context


@pytest.mark.parametrize("name", ["mx.test", "other.test"])
def test_certificate_follows_the_name_the_client_asks_for(name: str) -> None:
    with serving(tls=acceptor(), implicit_tls=True) as served:
        client = client_context().wrap_socket(served.connect(), server_hostname=name)
        read(client, b"hello\r\n")
        client.sendall(b"BIG 200\r\n")
        for number in range(200):
            read(client, b"%07d\n" % number * 1000)
        assert served.connections[0].peer.tls is not None
        assert served.connections[0].peer.tls.version == "TLSv1.3"
        client.sendall(b"BYE\r\n")
        assert read_to_end(client) == b"bye\r\n", "the end is a TLS end, not a cut"


def test_default_certificate_serves_while_the_directory_is_away() -> None:
    with serving(tls=acceptor(), implicit_tls=True) as served:
        context = client_context()
        context.check_hostname = False
        client = context.wrap_socket(served.connect(), server_hostname="away.test")
        assert ("DNS", "mx.test") in client.getpeercert()["subjectAltName"]


def test_starttls() -> None:
    with serving(tls=acceptor()) as served:
        plain = served.connect()
        plain.sendall(b"STARTTLS\r\n")
        read(plain, b"hello\r\ngo\r\n")
        client = client_context().wrap_socket(plain, server_hostname="mx.test")
        read(client, b"safe\r\n")
        client.sendall(b"x\r\n")
        read(client, b"x\r\n")


def test_input_in_clear_after_starttls_is_never_taken_for_encrypted() -> None:
    """Attack N1, second packet: it reaches the handshake, which fails."""
    with serving(tls=acceptor()) as served:
        plain = served.connect()
        plain.sendall(b"STARTTLS\r\n")
        read(plain, b"hello\r\ngo\r\n")
        plain.sendall(b"evil\r\n")
        try:
            assert b"evil" not in read_to_end(plain)
        except ConnectionResetError:
            pass
        until(lambda: not served.listener.connections)
        assert served.connections[0].log == ["STARTTLS", "eof"]


def test_half_open_handshake_holds_nothing_up() -> None:
    """Attack N7."""
    with serving(tls=acceptor(), implicit_tls=True) as served:
        silent = [served.connect() for _ in range(20)]
        silent[0].sendall(b"\x16\x03\x01\x00\xff\x01")
        client = client_context().wrap_socket(served.connect(), server_hostname="mx.test")
        read(client, b"hello\r\n")
        assert len(served.connections) == 1
        served.listener.stop(0)
        until(lambda: not served.listener.connections)


def test_client_certificate_of_the_authority_names_the_client() -> None:
    mtas = trustme.CA()
    with serving(tls=acceptor(mtas), implicit_tls=True) as served:
        context = client_context(mtas.issue_cert("mta1.test"))
        read(context.wrap_socket(served.connect(), server_hostname="mx.test"), b"hello\r\n")
        read(client_context().wrap_socket(served.connect(), server_hostname="mx.test"), b"hello\r\n")
        names = [echo.peer.tls.client_name for echo in served.connections if echo.peer.tls is not None]
        assert names == ["mta1.test", None]
        stranger = client_context(trustme.CA().issue_cert("mta1.test"))
        with pytest.raises((ssl.SSLError, OSError, AssertionError)):
            read(stranger.wrap_socket(served.connect(), server_hostname="mx.test"), b"hello\r\n")
        assert len(served.connections) == 2


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
def test_old_versions_are_refused() -> None:
    with serving(tls=acceptor(), implicit_tls=True) as served:
        context = client_context()
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises(OSError):
            context.wrap_socket(served.connect(), server_hostname="mx.test")


def test_key_of_another_certificate_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot be used"):
        server_context(DEFAULT.chain_pem, OTHER.key_pem)


def hello_of(name: str | None) -> bytes:
    """The first bytes of a real client."""
    context = client_context()
    context.check_hostname = False
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(incoming, outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


@pytest.mark.parametrize("name", ["mx.test", "x" * 60 + ".example.test", None])
def test_server_name_of_a_real_hello(name: str | None) -> None:
    hello = hello_of(name)
    assert client_hello.server_name(hello) == name
    for cut in range(len(hello)):
        assert not client_hello.is_complete(hello[:cut])
    assert client_hello.is_complete(hello)
    content = hello[5:]
    split = b"".join(b"\x16\x03\x01" + len(part).to_bytes(2, "big") + part for part in (content[:40], content[40:]))
    assert client_hello.server_name(split) == name


@given(st.binary(max_size=100) | st.binary(max_size=300).map(b"\x16\x03\x01\x01\x00\x01\x00\x00\xfc".__add__))
def test_any_bytes_have_a_name_or_none(data: bytes) -> None:
    assert isinstance(client_hello.is_complete(data), bool)
    assert client_hello.server_name(data) is None or data[:1] == b"\x16"
