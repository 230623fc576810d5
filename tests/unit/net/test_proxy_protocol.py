"""The PROXY header, versions 1 and 2."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailcore.errors import SyntaxFault
from mailcore.net.proxy_protocol import SIGNATURE, ProxiedPeer, missing, parse


def v2(command: int, family: int, body: bytes) -> bytes:
    return SIGNATURE + struct.pack(">BBH", command, family, len(body)) + body


SIX = bytes.fromhex("20010db8000000000000000000000001") + bytes(16) + struct.pack(">HH", 5, 6)
MAPPED = bytes(10) + b"\xff\xff\xc0\x00\x02\x01" + bytes(16) + struct.pack(">HH", 5, 6)

CASES = [
    pytest.param(b"PROXY TCP4 192.0.2.1 192.0.2.2 1 65535\r\n", ProxiedPeer("192.0.2.1", 1), id="v1-4"),
    pytest.param(b"PROXY TCP6 2001:db8::1 ::1 7 8\r\n", ProxiedPeer("2001:db8::1", 7), id="v1-6"),
    pytest.param(b"PROXY UNKNOWN\r\n", None, id="v1-unknown"),
    pytest.param(b"PROXY UNKNOWN ffff::1 ::2 1 2\r\n", None, id="v1-unknown-more"),
    pytest.param(v2(0x21, 0x11, bytes([1, 2, 3, 4, 5, 6, 7, 8, 0, 9, 0, 9])), ProxiedPeer("1.2.3.4", 9), id="v2-4"),
    pytest.param(v2(0x21, 0x21, SIX + b"tlv"), ProxiedPeer("2001:db8::1", 5), id="v2-6"),
    pytest.param(v2(0x21, 0x21, MAPPED), ProxiedPeer("192.0.2.1", 5), id="v2-mapped"),
    pytest.param(v2(0x20, 0x00, b""), None, id="v2-local"),
]


@pytest.mark.parametrize(("header", "peer"), CASES)
def test_header_is_read_to_its_last_octet_and_no_further(header: bytes, peer: ProxiedPeer | None) -> None:
    for step in (1, 3, 1000):
        stream, read = header + b"\x16\x03\x01 behind", b""
        while count := missing(read):
            assert len(read) + count <= len(header)
            piece = stream[len(read) : len(read) + min(count, step)]
            read += piece
        assert read == header
    assert parse(header) == peer


@pytest.mark.parametrize(
    "header",
    [
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n", b"PROXY TCP4 ::1 ::2 1 2\r\n", b"PROXY TCP4 1.1.1.1 1.1.1.1 x 2\r\n",
        b"PROXY TCP4 1.1.1.1 1.1.1.1 70000 2\r\n", b"PROXY TCP4 1.1.1.1 1.1.1.1 -1 2\r\n",
        b"PROXY UDP4 1.1.1.1 1.1.1.1 1 2\r\n",
        v2(0x21, 0x12, bytes(12)), v2(0x22, 0x11, bytes(12)), v2(0x11, 0x11, bytes(12)), v2(0x21, 0x11, bytes(11)),
        v2(0x21, 0x31, bytes(216)),
    ],
)  # fmt: skip
def test_malformed_header_is_refused(header: bytes) -> None:
    with pytest.raises(SyntaxFault):
        parse(header)


@pytest.mark.parametrize("read", [b"G", b"PROXY TCP4 " + b"1" * 100, SIGNATURE + b"\x21\x11\xff\xff", b"\r\n\r\nX"])
def test_what_cannot_become_a_header_is_refused_early(read: bytes) -> None:
    with pytest.raises(SyntaxFault):
        missing(read)


@given(st.tuples(st.sampled_from([b"", SIGNATURE, b"PROXY "]), st.binary(max_size=60)).map(b"".join))
def test_any_bytes_are_a_header_or_a_syntax_fault(stream: bytes) -> None:
    read = b""
    try:
        while count := missing(read):
            if len(read) == len(stream):
                return
            read += stream[len(read) : len(read) + count]
        parse(read)
    except SyntaxFault:
        pass
