"""Listening sockets: accept, learn who is there, start a pump; and end gracefully.

Several processes may listen on one port (SO_REUSEPORT); the kernel spreads the connections.
Each protocol's `server` module has `endpoints(services, settings, tls) -> tuple[Endpoint, ...]`,
which raises StartRefused where its settings forbid to start.
"""

from __future__ import annotations

import errno
import ipaddress
import logging
import os
import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import gevent
from gevent import socket
from gevent.event import Event

from mailcore import log, metrics
from mailcore.errors import SyntaxFault
from mailcore.model.actions import Open, Peer
from mailcore.model.peers import Network
from mailcore.net import proxy_protocol
from mailcore.net.drive import Pump
from mailcore.net.greenlets import start
from mailcore.net.tls import TlsAcceptor

BACKLOG = 1024
PROXY_HEADER_S = 10.0
DRAIN_S = 30.0
TOO_MANY_OF_ADDRESS = "too_many_of_address"
SPARE_FILES = 256
"""File descriptors kept for databases and logs."""

logger = logging.getLogger(__name__)


class StartRefused(Exception):
    """The server must not or cannot start as it is configured; the text says what to do."""


def listening_socket(server: str, host: str, port: int, *, keep_alive: bool = False) -> Any:
    """Return a socket that listens, beside those of other processes; what it accepts has its options, on Linux.

    Raises:
        StartRefused: the port cannot be had.
    """
    listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, keep_alive)
        listening.bind((host, port))
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        raise StartRefused(f"{server}: cannot listen on {host}:{port}: {error.strerror or error}") from None
    return listening


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One port and who answers there."""

    server: str
    """Name in logs and metrics: "imap"."""
    host: str
    port: int
    """0 lets the system choose; `Listener.ports` and the log tell which."""
    open: Open
    tls: TlsAcceptor | None = None
    implicit_tls: bool = False
    """TLS from the first byte; else `tls` serves STARTTLS."""
    refusal: bytes = b""
    """Said to a client that is one too many, before closing."""
    refusal_of_address: bytes = b""
    """Said where it is one too many of its address; empty: the same."""
    admit: Callable[[str], bool] | None = None
    """Whether an address may connect at all; None: every one."""


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """How many connections one process holds; 0 is as many as there are file descriptors."""

    total: int = 0
    per_address: int = 0
    """Per IPv4 address or IPv6 /64; 0 is half of all."""


class Listener:
    """The ports of one process and the connections that came in through them."""

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        proxy_from: Sequence[Network] = (),
        limits: ConnectionLimits = ConnectionLimits(),
    ) -> None:
        """Serve `endpoints`; a PROXY header is expected from `proxy_from` and from nobody else."""
        self._endpoints = tuple(endpoints)
        self._proxy_from = tuple(proxy_from)
        self._total = limits.total or _raise_file_limit() - SPARE_FILES
        self._per_address = limits.per_address or max(self._total // 2, 1)
        self._sockets: list[tuple[Endpoint, Any]] = []
        self._acceptors: list[Any] = []
        self._pumps: dict[Pump, tuple[str, str]] = {}
        self._by_address: dict[str, int] = {}
        self._empty = Event()
        self._empty.set()
        self.is_draining = False
        self.ports: dict[str, list[int]] = {}

    def start(self) -> None:
        """Bind every port, then accept.

        Raises:
            StartRefused: a port cannot be had, or a TLS port has no certificate.
        """
        for endpoint in self._endpoints:
            self._sockets.append((endpoint, self._bind(endpoint)))
        for endpoint, listening in self._sockets:
            port = int(listening.getsockname()[1])
            name = endpoint.server + ("s" if endpoint.implicit_tls else "")
            self.ports.setdefault(name, []).append(port)
            self._acceptors.append(gevent.spawn(self._accept, endpoint, listening))
            logger.info("server.listening", extra={"server": name, "host": endpoint.host, "port": port})

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._pumps)

    def stop(self, seconds: float = DRAIN_S) -> None:
        """Accept no more, let every connection end what it is at, cut the rest off after `seconds`."""
        self.is_draining = True
        gevent.killall(self._acceptors)
        for endpoint, listening in self._sockets:
            self._refuse_waiting(endpoint, listening)
            listening.close()
        logger.info("server.draining", extra={"connections": len(self._pumps)})
        for pump in list(self._pumps):
            pump.drain()
        if not self._empty.wait(seconds):
            logger.warning("server.cut_off", extra={"connections": len(self._pumps)})
            for pump in list(self._pumps):
                pump.abort()
            self._empty.wait(1.0)

    def _bind(self, endpoint: Endpoint) -> Any:
        if endpoint.implicit_tls and (endpoint.tls is None or not endpoint.tls.is_ready):
            raise StartRefused(f"{endpoint.server}: port {endpoint.port} is for TLS, but there is no certificate")
        return listening_socket(endpoint.server, endpoint.host, endpoint.port, keep_alive=True)

    # -- one client -----------------------------------------------------------------------------

    def _accept(self, endpoint: Endpoint, listening: Any) -> None:
        while True:
            try:
                accepted, address = listening.accept()
            except OSError as error:
                if error.errno in {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}:
                    logger.warning("server.out_of_files", extra={"server": endpoint.server})
                    gevent.sleep(0.1)
                continue
            start(partial(self._welcome, endpoint, accepted, str(address[0]), int(address[1])))

    def _refuse_waiting(self, endpoint: Endpoint, listening: Any) -> None:
        """Tell clients in the backlog to come again; closing the socket would reset their connections."""
        listening.setblocking(False)
        try:
            while True:
                accepted, address = listening.accept()
                gevent.spawn_raw(self._welcome, endpoint, accepted, str(address[0]), int(address[1]))
        except OSError:
            return

    def _welcome(self, endpoint: Endpoint, accepted: Any, address: str, port: int) -> None:
        """Find out who this is, see that there is room, and hand over to a pump."""
        session = os.urandom(6).hex()
        log.enter({"server": endpoint.server, "session": session, "remote_address": address})
        try:
            accepted.setblocking(False)
            address = _plain(address)
            if self._comes_through_proxy(address):
                proxied = _read_proxy_header(accepted)
                if proxied is not None:
                    address, port = proxied.address, proxied.port
        except (OSError, SyntaxFault) as error:
            logger.info("connection.refused", extra={"reason": str(error)})
            accepted.close()
            return
        fields: log.Fields = {"server": endpoint.server, "session": session, "remote_address": address}
        log.enter(fields)
        refusal = self._refusal(endpoint, address)
        if refusal:
            logger.info("connection.refused", extra={"reason": refusal})
            metrics.CONNECTIONS_REFUSED.inc(endpoint.server, refusal)
            of_address = endpoint.refusal_of_address if refusal == TOO_MANY_OF_ADDRESS else b""
            _say_and_close(accepted, b"" if endpoint.implicit_tls else of_address or endpoint.refusal)
            return
        pump = Pump(accepted, endpoint.tls, fields, self._ended)
        self._add(pump, endpoint.server, address)
        pump.serve(endpoint.open, Peer(address, port, None, session), endpoint.implicit_tls)

    def _refusal(self, endpoint: Endpoint, address: str) -> str:
        """Return why a client is not let in, empty if it is."""
        if self.is_draining:
            return "draining"
        if endpoint.admit is not None and not endpoint.admit(address):
            return "not_listed"
        if len(self._pumps) >= self._total:
            return "too_many"
        if self._by_address.get(_network(address), 0) >= self._per_address:
            return TOO_MANY_OF_ADDRESS
        return ""

    def _comes_through_proxy(self, address: str) -> bool:
        if not self._proxy_from:
            return False
        parsed = ipaddress.ip_address(address.partition("%")[0])
        return any(parsed in network for network in self._proxy_from)

    def _add(self, pump: Pump, server: str, address: str) -> None:
        key = _network(address)
        self._pumps[pump] = (server, key)
        self._by_address[key] = self._by_address.get(key, 0) + 1
        self._empty.clear()
        metrics.CONNECTIONS.inc(server)
        metrics.CONNECTIONS_OPEN.inc(server)

    def _ended(self, pump: Pump) -> None:
        server, key = self._pumps.pop(pump)
        left = self._by_address.pop(key) - 1
        if left:
            self._by_address[key] = left
        metrics.CONNECTIONS_OPEN.dec(server)
        if not self._pumps:
            self._empty.set()


def _plain(address: str) -> str:
    """Return an IPv4-mapped IPv6 address as IPv4."""
    if address.startswith("::ffff:") and "." in address:
        return address[7:]
    return address


def _network(address: str) -> str:
    """Return what one party is likely to own: the IPv4 address, the /64 of an IPv6 one."""
    if ":" not in address:
        return address
    bare = address.partition("%")[0]
    return str(ipaddress.ip_network((bare, 64), strict=False).network_address)


def _read_proxy_header(accepted: Any) -> proxy_protocol.ProxiedPeer | None:
    """Read exactly the PROXY header, within PROXY_HEADER_S."""
    ends_at = time.monotonic() + PROXY_HEADER_S
    header = b""
    while count := proxy_protocol.missing(header):
        try:
            data = accepted.recv(count)
        except BlockingIOError:
            socket.wait_read(accepted.fileno(), timeout=max(ends_at - time.monotonic(), 0.001))
            continue
        if not data:
            raise SyntaxFault("PROXY header cut off")
        header += data
    return proxy_protocol.parse(header)


def _say_and_close(accepted: Any, words: bytes) -> None:
    try:
        if words:
            accepted.send(words)
            accepted.shutdown(socket.SHUT_WR)
    except OSError:
        pass
    accepted.close()


def _raise_file_limit() -> int:
    """Take as many file descriptors as this process may have, and return how many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 1 << 20 if hard == resource.RLIM_INFINITY else hard
    if soft != wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted
