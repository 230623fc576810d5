"""The one way out: what may be connected to, and what never (Attack W18)."""

from __future__ import annotations

import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
import trustme

from infra.devstack.outside.dns_server import DnsServer
from mailcore.errors import DestinationForbidden, OutgoingFailed
from mailcore.net.outgoing import OutgoingClient, Purpose
from mailcore.services.outbound import public_addresses
from mailcore.services.outbound.dns import Dns
from mailcore.settings import DnsSettings, ListenAddress, OutgoingSettings, parse_smarthost

NOWHERE = OutgoingSettings()
PUBLIC = ["93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c", "1.1.1.1", "2001:4860:4860::8888"]
FORBIDDEN = [
    "127.0.0.1", "127.255.255.254", "0.0.0.0", "0.1.2.3", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1",
    "169.254.169.254", "100.64.0.1", "192.0.0.1", "192.0.2.1", "198.18.0.1", "198.51.100.1", "203.0.113.1",
    "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
    "::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd12:3456::1", "ff02::1", "2001:db8::1",
    "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1", "::7f00:1",
    "2002:7f00:1::", "2002:a00:1::1", "64:ff9b::7f00:1", "64:ff9b::a00:1", "2001:0:7f00:1::1",
]  # fmt: skip
NO_ADDRESSES = ["2130706433", "0x7f000001", "0177.0.0.1", "127.1", "127.0.0.01", "1.2.3.4.5", "", "localhost", "[::1]"]


def client(settings: OutgoingSettings = NOWHERE, dns: DnsServer | None = None) -> OutgoingClient:
    host, _, port = (dns.address if dns else "127.0.0.1:1").rpartition(":")
    return OutgoingClient(Dns(DnsSettings((ListenAddress(host, int(port)),))), settings)


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_may_be_connected_to(address: str) -> None:
    assert client().objection(address) is None


@pytest.mark.parametrize("address", FORBIDDEN + NO_ADDRESSES)
def test_everything_else_is_refused_at_the_door(address: str) -> None:
    """Also where somebody forgot to resolve first: the check is where the connection is made."""
    assert client().objection(address) is not None
    with pytest.raises(DestinationForbidden):
        client().connect(address, 25, Purpose.MAIL_EXCHANGER, 1)


def test_without_the_check_loopback_would_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: a listener on 127.0.0.1 gets the connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        settings = OutgoingSettings(ports={25: listener.getsockname()[1]})
        with pytest.raises(DestinationForbidden):
            client(settings).connect("127.0.0.1", 25, Purpose.MAIL_EXCHANGER, 1)
        monkeypatch.setattr(OutgoingClient, "objection", lambda *_: None)
        client(settings).connect("127.0.0.1", 25, Purpose.MAIL_EXCHANGER, 1).close()


def test_own_addresses_are_refused_although_they_are_public(monkeypatch: pytest.MonkeyPatch) -> None:
    own = OutgoingSettings(own=(ipaddress.ip_network("93.184.215.0/24"),))
    assert client(own).objection("93.184.215.14") == "an address of our own"
    monkeypatch.setattr(public_addresses, "_is_of_this_machine", lambda ip: str(ip) == "1.1.1.1")
    assert client().objection("1.1.1.1") == "an address of our own"
    assert client().objection("1.0.0.1") is None


def test_what_this_machine_listens_on_is_known_as_its_own() -> None:
    assert public_addresses._is_of_this_machine(ipaddress.ip_address("127.0.0.1"))
    assert not public_addresses._is_of_this_machine(ipaddress.ip_address("93.184.215.14"))


@pytest.mark.parametrize("port", [22, 80, 443, 2424, 6379, 27017, 0])
def test_ports_are_those_of_the_purpose(port: int) -> None:
    with pytest.raises(DestinationForbidden):
        client().connect("93.184.215.14", port, Purpose.MAIL_EXCHANGER, 1)


def test_listed_network_is_let_through_and_nothing_beside_it() -> None:
    allowed = OutgoingSettings(allowed=(ipaddress.ip_network("127.9.0.0/16"),))
    assert client(allowed).objection("127.9.3.4") is None
    assert client(allowed).objection("127.0.0.1") is not None
    assert client(allowed).objection("::ffff:127.9.3.4") is not None


def test_mixed_answers_keep_what_may_be_connected_to() -> None:
    with DnsServer() as dns:
        dns.add("mixed.test", "A", "10.0.0.1", "93.184.215.14", "127.0.0.1")
        dns.add("mixed.test", "AAAA", "::1", "2606:2800:21f:cb07:6820:80da:af6b:8b2c")
        resolved = client(dns=dns).resolve("mixed.test")
        assert set(resolved.addresses) == {"2606:2800:21f:cb07:6820:80da:af6b:8b2c", "93.184.215.14"}
        assert resolved.forbidden == 3
        assert client(dns=dns).resolve("2130706433").addresses == ()


# -- the web ------------------------------------------------------------------------------------

ALLOWED = OutgoingSettings(allowed=(ipaddress.ip_network("127.9.0.0/16"),))


@contextmanager
def web(answer: Callable[[ssl.SSLSocket], None], name: str = "web.test") -> Iterator[OutgoingClient]:
    """A client and a server that answers one request after the other as it is told."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    listener = socket.create_server(("127.9.100.1", 0))

    def serve() -> None:
        while True:
            try:
                plain, _ = listener.accept()
            except OSError:
                return
            try:
                with context.wrap_socket(plain, server_side=True) as connection:
                    connection.recv(4096)
                    answer(connection)
            except OSError:
                continue

    threading.Thread(target=serve, daemon=True).start()
    with DnsServer() as dns:
        dns.add("web.test", "A", "127.9.100.1")
        settings = replace(ALLOWED, ports={443: listener.getsockname()[1]}, authority_pem=authority.cert_pem.bytes())
        try:
            yield client(settings, dns)
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()


def test_page_is_fetched_whole() -> None:
    page = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"
    page += b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    with web(lambda connection: connection.sendall(page)) as fetching:
        fetched = fetching.get("web.test", "/", limit_bytes=100, timeout_s=5)
    assert (fetched.status, fetched.content_type, fetched.body) == (200, "text/plain", b"abcde")


def test_redirect_is_told_and_not_followed() -> None:
    page = b"HTTP/1.1 302 Found\r\nLocation: https://127.0.0.1/\r\nContent-Length: 0\r\n\r\n"
    with web(lambda connection: connection.sendall(page)) as fetching:
        assert fetching.get("web.test", "/", limit_bytes=100, timeout_s=5).status == 302


def test_certificate_of_another_name_is_refused() -> None:
    page = b"HTTP/1.1 200 OK\r\n\r\n"
    with web(lambda connection: connection.sendall(page), "other.test") as fetching, pytest.raises(OutgoingFailed):
        fetching.get("web.test", "/", limit_bytes=100, timeout_s=5)


def test_endless_answer_ends_at_the_limit() -> None:
    def endless(connection: ssl.SSLSocket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            connection.sendall(b"x" * 65536)

    with web(endless) as fetching, pytest.raises(OutgoingFailed, match="too long"):
        fetching.get("web.test", "/", limit_bytes=1000, timeout_s=20)


def test_dripping_answer_ends_in_total_time() -> None:
    def dripping(connection: ssl.SSLSocket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            connection.sendall(b"x")
            time.sleep(0.05)

    with web(dripping) as fetching, pytest.raises(OutgoingFailed):
        fetching.get("web.test", "/", limit_bytes=1000, timeout_s=0.5)


@pytest.mark.parametrize("answer", [b"", b"hello", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"])
def test_nonsense_is_a_failure(answer: bytes) -> None:
    with web(lambda connection: connection.sendall(answer)) as fetching, pytest.raises(OutgoingFailed):
        fetching.get("web.test", "/", limit_bytes=100, timeout_s=5)


@pytest.mark.parametrize(
    ("url", "host", "port", "is_tls"),
    [
        ("smtp://relay.test", "relay.test", 25, False),
        ("smtp://u:p@relay.test", "relay.test", 587, False),
        ("smtps://u:p%40@relay.test:2465", "relay.test", 2465, True),
    ],
)
def test_smarthost_urls(url: str, host: str, port: int, is_tls: bool) -> None:
    found = parse_smarthost(url)
    assert (found.host, found.port, found.is_tls) == (host, port, is_tls)


@pytest.mark.parametrize("url", ["", "http://x", "smtp://", "smtp://x/path", "smtp://x:99999", "relay.test:25"])
def test_what_is_no_smarthost_url(url: str) -> None:
    with pytest.raises(ValueError):
        parse_smarthost(url)
