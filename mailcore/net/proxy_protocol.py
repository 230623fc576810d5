"""The header by which a load balancer passes on whom it accepted: PROXY protocol, versions 1 and 2.

Pure: `missing` says how many bytes of the header must still be read, so that not one byte behind
it is taken (a TLS handshake may follow); `parse` reads the complete header.
"""

from __future__ import annotations

import ipaddress
import struct
from dataclasses import dataclass

from mailcore.errors import SyntaxFault

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
_V1_SHORTEST = 15
_V1_LONGEST = 107
_V2_FIXED = 16
_V2_LONGEST = _V2_FIXED + 2048


@dataclass(frozen=True, slots=True)
class ProxiedPeer:
    """The client that the proxy accepted."""

    address: str
    port: int


def missing(read: bytes) -> int:
    """Return how many bytes to read next; 0 if `read` is the whole header.

    Raises:
        SyntaxFault: it is no PROXY header.
    """
    count = len(read)
    if read[: len(SIGNATURE)] == SIGNATURE[:count] and count <= _V2_FIXED:
        if count < _V2_FIXED:
            return (_V1_SHORTEST if count < _V1_SHORTEST else _V2_FIXED) - count
        length = struct.unpack_from(">H", read, 14)[0]
        if _V2_FIXED + length > _V2_LONGEST:
            raise SyntaxFault("PROXY header too long")
        return int(length)
    if read.startswith(SIGNATURE):
        return _V2_FIXED + int(struct.unpack_from(">H", read, 14)[0]) - count
    if not read.startswith(b"PROXY "[:count]):
        raise SyntaxFault("not a PROXY header")
    if count < _V1_SHORTEST:
        return _V1_SHORTEST - count
    if read.endswith(b"\r\n"):
        return 0
    if count >= _V1_LONGEST or b"\n" in read:
        raise SyntaxFault("PROXY line too long")
    return 1


def parse(header: bytes) -> ProxiedPeer | None:
    """Return the client named by a complete header; None if it names none (health check).

    Raises:
        SyntaxFault: malformed, or of a transport other than TCP.
    """
    try:
        return _parse_v2(header) if header.startswith(SIGNATURE) else _parse_v1(header)
    except (ValueError, IndexError, struct.error) as error:
        raise SyntaxFault("bad PROXY header") from error


def _parse_v1(header: bytes) -> ProxiedPeer | None:
    words = header[:-2].decode("ascii").split(" ")
    if words[1] == "UNKNOWN":
        return None
    if words[1] not in {"TCP4", "TCP6"} or len(words) != 6:
        raise SyntaxFault("bad PROXY line")
    address = ipaddress.ip_address(words[2])
    port = int(words[4])
    if address.version != int(words[1][3]) or not words[4].isdigit() or not 0 <= port <= 0xFFFF:
        raise SyntaxFault("bad PROXY line")
    ipaddress.ip_address(words[3])
    return ProxiedPeer(str(address), port)


def _parse_v2(header: bytes) -> ProxiedPeer | None:
    version_command, family, length = struct.unpack_from(">BBH", header, 12)
    if len(header) != _V2_FIXED + length:
        raise SyntaxFault("bad PROXY header")
    if version_command == 0x20:  # LOCAL: the proxy speaks for itself
        return None
    if version_command != 0x21:
        raise SyntaxFault("unknown PROXY version or command")
    if family == 0x11 and length >= 12:
        return ProxiedPeer(str(ipaddress.IPv4Address(header[16:20])), int(struct.unpack_from(">H", header, 24)[0]))
    if family == 0x21 and length >= 36:
        address = ipaddress.IPv6Address(header[16:32])
        return ProxiedPeer(str(address.ipv4_mapped or address), int(struct.unpack_from(">H", header, 48)[0]))
    raise SyntaxFault("PROXY header of another transport")
