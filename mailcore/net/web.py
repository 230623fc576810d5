"""Serving a WSGI application: the HTTP server of the API, gevent's own, one process of several on a port."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from email import errors
from http.client import HTTPException
from typing import Any, Final

import gevent
from gevent import socket
from gevent.pool import Pool
from gevent.pywsgi import WSGIHandler, WSGIServer

from mailcore.net.listener import listening_socket
from mailcore.net.request_body import RequestBody
from mailcore.net.request_head import check_head
from mailcore.net.tls import TlsAcceptor, TlsFailed

CONNECTIONS: Final = 1000
"""So many are served at once. For more, those make room that wait longest for a request; answers are waited for."""
HEAD_S: Final = 20.0
"""From a connection, or the end of a request, to the head of the next."""
STALL_S: Final = 60.0
"""A client that sends nothing of the body it announced during this time, or takes nothing of its answer, is gone."""

_OF_BODIES: Final = (
    errors.NoBoundaryInMultipartDefect,
    errors.StartBoundaryNotFoundDefect,
    errors.CloseBoundaryNotFoundDefect,
    errors.MultipartInvariantViolationDefect,
)
"""What the reader of heads misses of a form in several parts, whose body it never sees."""

Application = Callable[..., Any]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class WebEndpoint:
    """One port and the application there."""

    server: str
    host: str
    port: int
    application: Application
    tls: TlsAcceptor | None = None
    """TLS from the first byte, with the certificate that fits the name the client asks for; None: none at all."""


class _Certificates:
    """Stands where gevent's server expects one context for all."""

    def __init__(self, tls: TlsAcceptor) -> None:
        self._tls = tls

    def wrap_socket(self, accepted: Any, **_: object) -> Any:
        """Do the handshake with whoever has come.

        Raises:
            TlsFailed: not TLS, too slow, or there is no certificate yet.
        """
        if not self._tls.is_ready:
            raise TlsFailed("there is no certificate yet")
        accepted.setblocking(False)
        encrypted, _tls = self._tls.handshake(accepted, HEAD_S)
        encrypted.settimeout(STALL_S)
        return encrypted


class _Server(WSGIServer):  # type: ignore[misc]
    """gevent's; who fails in the handshake is no fault of ours, and who asks for nothing keeps nobody out."""

    pool: Pool

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.waiting: dict[_Handler, None] = {}
        """Connections of which no whole head has come, those that wait longest first."""
        self._leaving: _Handler | None = None

    def wrap_socket_and_handle(self, client_socket: Any, address: Any) -> Any:
        """Serve one connection by TLS."""
        try:
            return super().wrap_socket_and_handle(client_socket, address)
        except TlsFailed as error:
            logger.info("web.connection_failed", extra={"reason": str(error)})

    def handle(self, sock: Any, address: Any) -> None:
        """Serve one connection; where it is the last one for which there is room, another is cut off."""
        handler = self.handler_class(sock, address, self)
        if self.pool.free_count() <= 0 and self._leaving is None and self.waiting:
            self._leaving = next(iter(self.waiting))
            self._leaving.cut_off()
        try:
            handler.handle()
        finally:
            if self._leaving is handler:
                self._leaving = None


class _Handler(WSGIHandler):  # type: ignore[misc]
    """One connection: idle ones end, what could be read in two ways is refused, nothing is said of the software."""

    server: _Server
    socket: Any
    wsgi_input: Any
    response_use_chunked: bool
    _deadline: gevent.Timeout | None = None

    def handle_one_request(self) -> Any:
        """Wait for the next request, of which the head must be here in time however it trickles in, and serve it."""
        self.socket.settimeout(STALL_S)
        self.server.waiting[self] = None
        self._deadline = gevent.Timeout.start_new(HEAD_S, TimeoutError("the head came too slowly"))
        try:
            return super().handle_one_request()
        finally:
            self._deadline.close()
            self.server.waiting.pop(self, None)

    def cut_off(self) -> None:
        """Have whoever waits for more of a head find the end of it."""
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)

    def get_environ(self) -> Any:
        """Return what the application is given, with a body of which not all is read at any price."""
        environ = super().get_environ()
        if environ["wsgi.input"] is self.wsgi_input:
            self.wsgi_input = environ["wsgi.input"] = RequestBody(self.wsgi_input)
        return environ

    def handle_one_response(self) -> None:
        """Have a request answered; nothing comes after a body that did not come whole."""
        super().handle_one_response()
        if isinstance(self.wsgi_input, RequestBody) and not self.wsgi_input.is_over:
            self.close_connection = True

    def finalize_headers(self) -> None:
        """Say how an answer ends: to HEAD with its head (RFC 9110 §9.3.2), also where its length is not known."""
        super().finalize_headers()
        if self.command == "HEAD":
            self.response_use_chunked = False

    def start_response(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        """Begin an answer; one that comes before the end of a long body is the connection's last."""
        body = self.wsgi_input
        if isinstance(body, RequestBody) and not body.is_short:
            headers = [*headers, ("Connection", "close")]
        return super().start_response(status, headers, exc_info)

    def MessageClass(self, *arguments: Any) -> Any:  # noqa: N802 - gevent's name for what reads a head
        """Read the fields of a request.

        Raises:
            ValueError: malformed, or as `check_head`; it is answered with 400, and nothing after it is read.
        """
        try:
            headers = super().MessageClass(*arguments)
        except (HTTPException, OSError) as error:
            raise ValueError(str(error)) from None
        if self._deadline is not None:
            self._deadline.close()
        self.server.waiting.pop(self, None)
        if any(not isinstance(defect, _OF_BODIES) for defect in headers.defects):
            raise ValueError("a line is no field")
        check_head(self.request_version, headers.items())
        return headers

    def log_error(self, message: str, *arguments: object) -> None:
        """Log what a client did wrong with the protocol."""
        logger.info("web.connection_failed", extra={"reason": message % arguments if arguments else message})


class WebServer:
    """The web ports of one process."""

    def __init__(self, endpoints: Sequence[WebEndpoint]) -> None:
        self._endpoints = tuple(endpoints)
        self._servers: list[Any] = []

    def start(self) -> None:
        """Listen on every port.

        Raises:
            StartRefused: a port cannot be had.
        """
        for endpoint in self._endpoints:
            server: Any = _Server(
                listening_socket(endpoint.server, endpoint.host, endpoint.port),
                endpoint.application,
                log=None,
                error_log=logger,
                handler_class=_Handler,
                spawn=Pool(CONNECTIONS),
                **({} if endpoint.tls is None else {"ssl_context": _Certificates(endpoint.tls)}),
            )
            server.start()
            self._servers.append(server)
            logger.info(
                "server.listening",
                extra={"server": endpoint.server, "host": endpoint.host, "port": int(server.server_port)},
            )

    @property
    def ports(self) -> list[int]:
        """Return the ports, in the order of the endpoints."""
        return [int(server.server_port) for server in self._servers]

    def stop(self, seconds: float) -> None:
        """Accept no more and let requests end, for at most so long."""
        for server in self._servers:
            server.stop(timeout=seconds)
