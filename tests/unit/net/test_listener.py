"""Who is let in: PROXY headers, limits, listed peers; ports."""

from __future__ import annotations

import ipaddress
import socket
import struct
from typing import Any

import pytest

from mailcore.net.listener import ConnectionLimits, Endpoint, Listener, StartRefused
from mailcore.net.proxy_protocol import SIGNATURE
from tests.unit.net.echo import Echo, read, read_to_end, serving, until

LOOPBACK = [ipaddress.ip_network("127.0.0.0/8")]
V2 = (
    SIGNATURE
    + struct.pack(">BBH", 0x21, 0x11, 12 + 5)
    + bytes([203, 0, 113, 7, 10, 0, 0, 1])
    + struct.pack(">HH", 40000, 143)
    + b"\x04\x00\x02ab"
)


@pytest.mark.parametrize("header", [V2, b"PROXY TCP4 203.0.113.7 10.0.0.1 40000 143\r\n"], ids=["v2", "v1"])
@pytest.mark.parametrize("cut", [0, 1, 14, 20])
def test_client_behind_a_listed_proxy(header: bytes, cut: int) -> None:
    with serving(listener={"proxy_from": LOOPBACK}) as served:
        client = served.connect()
        if cut:
            client.sendall(header[:cut])
        client.sendall(header[cut:] + b"first\r\n")
        read(client, b"hello\r\nfirst\r\n")
        assert (served.connections[0].peer.address, served.connections[0].peer.port) == ("203.0.113.7", 40000)


@pytest.mark.parametrize("said", [b"NOOP\r\n", b"PROXY TCP4 evil\r\n" + b"x" * 200, b"PROXY ", SIGNATURE + b"\x31" * 9])
def test_a_listed_proxy_must_send_its_header(said: bytes) -> None:
    with serving(listener={"proxy_from": LOOPBACK}) as served:
        client = served.connect()
        client.sendall(said)
        client.shutdown(1)
        try:
            assert read_to_end(client) == b""
        except ConnectionResetError:
            pass
        assert not served.connections


@pytest.mark.parametrize("networks", [[], [ipaddress.ip_network("198.51.100.0/24")]])
def test_header_of_somebody_else_is_input_like_any_other(networks: list[Any]) -> None:
    """Attack N15: who is not listed cannot say who he is."""
    with serving(listener={"proxy_from": networks}) as served:
        client = served.connect()
        client.sendall(b"PROXY TCP4 203.0.113.7 10.0.0.1 40000 143\r\n")
        read(client, b"hello\r\nPROXY TCP4 203.0.113.7 10.0.0.1 40000 143\r\n")
        assert served.connections[0].peer.address == "127.0.0.1"


def test_one_too_many_is_told_and_closed() -> None:
    """Attack N7."""
    with serving(listener={"limits": ConnectionLimits(total=3, per_address=2)}) as served:
        first, second = served.connect(), served.connect()
        for client in (first, second):
            read(client, b"hello\r\n")
        assert read_to_end(served.connect()) == b"too many of you\r\n"
        first.close()
        until(lambda: served.listener.connections == 1)
        read(served.connect(), b"hello\r\n")


def test_address_that_is_not_admitted_gets_no_greeting() -> None:
    with serving(admit=lambda address: address != "127.0.0.1") as served:
        assert read_to_end(served.connect()) == b"too many\r\n"
        assert not served.connections


def test_two_listeners_share_a_port() -> None:
    with serving() as served:
        endpoint = Endpoint("echo", "127.0.0.1", served.port, Echo)
        second = Listener([endpoint])
        second.start()
        second.stop(0)


def test_tls_port_without_certificate_refuses_to_start() -> None:
    with pytest.raises(StartRefused, match="no certificate"):
        Listener([Endpoint("imap", "127.0.0.1", 0, Echo, implicit_tls=True)]).start()


def test_port_that_cannot_be_had_refuses_to_start() -> None:
    with pytest.raises(StartRefused, match=r"cannot listen on 192\.0\.2\.1:1"):
        Listener([Endpoint("imap", "192.0.2.1", 1, Echo)]).start()


def test_who_is_accepted_is_answered_at_once_and_missed_when_gone() -> None:
    """What is set of the listening socket holds for each connection (tcp(7), socket(7))."""
    with serving() as served:
        client = served.connect()
        read(client, b"hello\r\n")
        (pump,) = served.listener._pumps
        assert pump._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert pump._socket.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
