"""The one way out: every connection that somebody outside could have asked for is made here.

A name is resolved once, every address is checked, and the connection goes to that very address, so an answer that
changes meanwhile (DNS rebinding) changes nothing. There are no redirects. Addresses that are not public, or are this
system's own, are refused; so are ports that are not for the purpose.
"""

from __future__ import annotations

import email.message
import http.client
import io
import socket
import ssl
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final, cast

from mailcore.errors import DestinationForbidden, OutgoingFailed
from mailcore.model.forward_target import TargetUrl
from mailcore.services.outbound.dns import Dns
from mailcore.services.outbound.public_addresses import literal, objection
from mailcore.settings import OutgoingSettings

_PIECE: Final = 16 * 1024
_HEADER_BYTES: Final = 32 * 1024


class Purpose(Enum):
    """What a connection is for, and the ports there are for it."""

    MAIL_EXCHANGER = frozenset({25})
    SMARTHOST = frozenset({25, 465, 587, 2525})
    WEB = frozenset({443})
    POST = frozenset({80, 443})


@dataclass(frozen=True, slots=True)
class Resolved:
    """The addresses of a host that may be connected to, and how many may not."""

    addresses: tuple[str, ...]
    forbidden: int
    is_secure: bool
    name_exists: bool
    canonical_name: str


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a web server answered."""

    status: int
    content_type: str
    body: bytes


class OutgoingClient:
    """Connects to the outside."""

    def __init__(self, dns: Dns, settings: OutgoingSettings) -> None:
        self._dns = dns
        self._settings = settings

    def resolve(self, host: str) -> Resolved:
        """Return where a host may be reached; a literal address counts as its own answer.

        Raises:
            DnsUnavailable: nobody could say.
        """
        ip = literal(host)
        if ip is not None:
            found, is_secure, exists, name = (str(ip),), False, True, host
        else:
            answer = self._dns.addresses(host)
            found, is_secure, exists, name = answer.records, answer.is_secure, answer.name_exists, answer.canonical_name
        allowed = tuple(address for address in found if self.objection(address) is None)
        return Resolved(allowed, len(found) - len(allowed), is_secure, exists, name)

    def objection(self, address: str) -> str | None:
        """Return why an address must not be connected to; None if it may."""
        return objection(self._settings, address)

    def connect(self, address: str, port: int, purpose: Purpose, timeout_s: float) -> socket.socket:
        """Connect to an address that `resolve` returned; it is checked again, for this is the only door.

        Raises:
            DestinationForbidden: not there, or not on this port.
            OutgoingFailed: nobody answered in time.
        """
        if port not in purpose.value:
            raise DestinationForbidden(f"port {port} is not for {purpose.name.lower()}")
        objection = self.objection(address)
        if objection is not None:
            raise DestinationForbidden(f"{address}: {objection}")
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        connection = socket.socket(family, socket.SOCK_STREAM)
        try:
            connection.settimeout(timeout_s)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.connect((address, self._settings.ports.get(port, port)))
        except OSError as error:
            connection.close()
            raise OutgoingFailed(f"{address}:{port}: {_why(error)}") from error
        return connection

    def trusting(self) -> ssl.SSLContext:
        """Return a context that wants a certificate signed by somebody we know, for the name connected to."""
        context = ssl.create_default_context()
        if self._settings.authority_pem is not None:
            context.load_verify_locations(cadata=self._settings.authority_pem.decode("ascii"))
        return context

    def get(self, host: str, path: str, *, limit_bytes: int, timeout_s: float) -> Fetched:
        """Fetch https://`host``path`, whole, within a time and a size; follows no redirect.

        Raises:
            DnsUnavailable, OutgoingFailed: not now.
            DestinationForbidden: the host leads to where nothing may be connected to.
        """
        until = time.monotonic() + timeout_s
        plain = self.connect(self._address(host), 443, Purpose.WEB, timeout_s)
        try:
            with self.trusting().wrap_socket(plain, server_hostname=host) as connection:
                request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nAccept: */*\r\n\r\n"
                connection.sendall(request.encode("ascii"))
                return _parsed(_read_all(connection, limit_bytes + _HEADER_BYTES, until), limit_bytes)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise OutgoingFailed(f"{host}: {_why(error)}") from error
        finally:
            plain.close()

    def post(
        self,
        target: TargetUrl,
        fields: Mapping[str, str],
        pieces: Iterable[bytes],
        size_bytes: int,
        *,
        timeout_s: float,
    ) -> int:
        """Send a body to a web address, and return the status of the answer; its content is not read.

        Args:
            target: with `is_web`.
            fields: of the header, plain ASCII.
            pieces: the body.
            size_bytes: of all pieces.
            timeout_s: for all of it.

        Raises:
            DnsUnavailable, OutgoingFailed: not now, or no answer: it may have been taken.
            DestinationForbidden: the host leads to where nothing may be connected to.
        """
        until = time.monotonic() + timeout_s
        host = f"[{target.host}]" if ":" in target.host else target.host
        lines = [f"POST {target.path} HTTP/1.1", f"Host: {host}", "Connection: close", f"Content-Length: {size_bytes}"]
        lines += [f"{name}: {value}" for name, value in fields.items()]
        connection = self.connect(self._address(target.host), target.port, Purpose.POST, timeout_s)
        try:
            if target.is_tls:
                connection = self.trusting().wrap_socket(connection, server_hostname=target.host)
            connection.sendall("\r\n".join([*lines, "", ""]).encode("ascii"))
            for piece in pieces:
                connection.settimeout(max(until - time.monotonic(), 0.001))
                connection.sendall(piece)
            return _status(connection, until)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise OutgoingFailed(f"{target.host}: {_why(error)}") from error
        finally:
            connection.close()

    def _address(self, host: str) -> str:
        resolved = self.resolve(host)
        if not resolved.addresses:
            if resolved.forbidden:
                raise DestinationForbidden(f"{host}: not a public address")
            raise OutgoingFailed(f"{host}: no address")
        return resolved.addresses[0]


def _status(connection: socket.socket, until: float) -> int:
    """Read as far as the header of the final answer goes; how a connection ends behind it is nobody's business."""
    data = b""
    while True:
        head, blank, rest = data.partition(b"\r\n\r\n")
        if blank:
            version, _, status = head.split(b"\r\n", 1)[0].partition(b" ")
            if not version.startswith(b"HTTP/1.") or not status[:3].isdigit():
                raise ValueError("no answer of HTTP")
            if int(status[:3]) >= 200:
                return int(status[:3])
            data = rest
            continue
        left = until - time.monotonic()
        if left <= 0 or len(data) > _HEADER_BYTES:
            raise TimeoutError("the answer takes too long")
        connection.settimeout(left)
        piece = connection.recv(_PIECE)
        if not piece:
            raise OSError("closed without an answer")
        data += piece


def _read_all(connection: ssl.SSLSocket, most: int, until: float) -> bytes:
    """Read to the end; time counts in total, so that a drop now and then does not help."""
    pieces: list[bytes] = []
    size = 0
    while True:
        left = until - time.monotonic()
        if left <= 0:
            raise TimeoutError("the answer takes too long")
        connection.settimeout(left)
        try:
            piece = connection.recv(_PIECE)
        except ssl.SSLEOFError:
            piece = b""
        if not piece:
            return b"".join(pieces)
        size += len(piece)
        if size > most:
            raise ValueError("the answer is too long")
        pieces.append(piece)


class _Held:
    """Bytes that are read like a socket."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, _mode: str) -> io.BytesIO:
        return io.BytesIO(self._data)


def _parsed(data: bytes, limit_bytes: int) -> Fetched:
    response = http.client.HTTPResponse(cast("socket.socket", _Held(data)))
    response.begin()
    body = response.read()
    if len(body) > limit_bytes:
        raise ValueError("the answer is too long")
    headers: email.message.Message = response.headers
    return Fetched(response.status, headers.get_content_type(), body)


def _why(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__)[:200]
