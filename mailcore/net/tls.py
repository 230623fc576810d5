"""TLS of the servers' side: contexts from certificates, and the handshake on a non-blocking socket."""

from __future__ import annotations

import logging
import os
import ssl
import time
from collections.abc import Callable
from typing import Any, Protocol

import gevent
from gevent import socket

from mailcore import errors
from mailcore.model.actions import Tls
from mailcore.net import client_hello

MINIMUM_VERSION = ssl.TLSVersion.TLSv1_2
NAME_FRESH_S = 2.0
"""How soon a new, renewed or deleted certificate shows; one or two reads for each name and so many seconds."""
NAMES_KEPT = 1024
HELLO_PAUSE_S = 0.5
"""A client that begins its hello and pauses for longer gets the default certificate."""

logger = logging.getLogger(__name__)


class TlsFailed(Exception):
    """The client did not complete the handshake."""


def server_context(certificate_pem: bytes, key_pem: bytes, client_authority_pem: bytes | None = None) -> ssl.SSLContext:
    """Return a server's context; with `client_authority_pem`, a client's certificate must be of it if it shows one.

    `certificate_pem` holds the certificate, then its chain.

    Raises:
        ValueError: the certificate or the key cannot be used, or do not belong together.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = MINIMUM_VERSION
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.num_tickets = 1
    try:
        _load(context, certificate_pem, key_pem)
        if client_authority_pem is not None:
            context.load_verify_locations(cadata=client_authority_pem.decode("ascii"))
            context.verify_mode = ssl.CERT_OPTIONAL
    except (ssl.SSLError, UnicodeDecodeError) as error:
        raise ValueError(f"certificate or key cannot be used: {error}") from None
    return context


def _load(context: ssl.SSLContext, certificate_pem: bytes, key_pem: bytes) -> None:
    """Load PEM texts; the interface takes file names only, so they go through a file in memory."""
    descriptor = os.memfd_create("certificate", os.MFD_CLOEXEC)
    try:
        with os.fdopen(os.dup(descriptor), "wb") as memory:
            memory.write(certificate_pem.rstrip() + b"\n" + key_pem.rstrip() + b"\n")
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)


class CertificateText(Protocol):
    """A certificate as a service hands it out."""

    @property
    def id(self) -> str:
        """Names the content: a context built from it may be kept."""

    @property
    def chain_pem(self) -> bytes:
        """The certificate, then its chain."""

    @property
    def key_pem(self) -> bytes:
        """The private key."""


FindCertificate = Callable[[str | None], CertificateText | None]
"""Returns the certificate for a server name, or the default one; may wait for the directory."""


class TlsAcceptor:
    """Does handshakes with the certificate that fits the name the client asks for (RFC 6066 §3)."""

    def __init__(self, find: FindCertificate, client_authority_pem: bytes | None = None) -> None:
        """Serve with what `find` returns; with an authority, ask clients for its certificate."""
        self._find = find
        self._client_authority_pem = client_authority_pem
        self._contexts: dict[str, ssl.SSLContext] = {}
        self._names: dict[str, tuple[float, ssl.SSLContext]] = {}
        self._default: ssl.SSLContext | None = None
        self._look_at = 0.0

    def look(self) -> bool:
        """Look for the default certificate, and return whether there is one.

        Raises:
            ValueError: it cannot be used.
            MailError: as `find`.
        """
        self._look_at = time.monotonic() + NAME_FRESH_S
        default = self._find(None)
        if default is not None:
            self._default = self._context(default)
        return self._default is not None

    @property
    def is_ready(self) -> bool:
        """Whether TLS can be offered; while there is no default certificate, one is looked for every few seconds."""
        if self._default is None and time.monotonic() >= self._look_at:
            try:
                self.look()
            except (errors.MailError, ValueError) as error:
                logger.warning("tls.certificate_unavailable", extra={"server_name": "", "reason": repr(error)})
        return self._default is not None

    def handshake(self, accepted: Any, seconds: float) -> tuple[Any, Tls]:
        """Turn a connected socket into an encrypted one within `seconds`.

        Raises:
            TlsFailed: not TLS, no common version, no valid client certificate, or too slow.
        """
        ends_at = time.monotonic() + seconds
        try:
            context = self._choose(_peek_hello(accepted, ends_at))
            encrypted: Any = context.wrap_socket(
                accepted, server_side=True, do_handshake_on_connect=False, suppress_ragged_eofs=True
            )
            encrypted.setblocking(False)
            while True:
                try:
                    encrypted.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    socket.wait_read(encrypted.fileno(), timeout=max(ends_at - time.monotonic(), 0.001))
                except ssl.SSLWantWriteError:
                    socket.wait_write(encrypted.fileno(), timeout=max(ends_at - time.monotonic(), 0.001))
        except (OSError, ValueError) as error:
            raise TlsFailed(str(error)) from None
        cipher = encrypted.cipher()
        return encrypted, Tls(encrypted.version() or "", cipher[0] if cipher else "", _client_name(encrypted))

    def _choose(self, hello: bytes) -> ssl.SSLContext:
        """Return the context for the name in a ClientHello; what is known serves while the directory is away.

        Raises:
            TlsFailed: there is not even a default certificate.
        """
        if self._default is None:
            raise TlsFailed("there is no certificate yet")
        name = client_hello.server_name(hello) or ""
        now = time.monotonic()
        until, context = self._names.get(name, (0.0, self._default))
        if now < until:
            return context
        try:
            found = self._find(name or None)
            context = self._default if found is None else self._context(found)
        except (errors.Unavailable, ValueError) as error:
            logger.warning("tls.certificate_unavailable", extra={"server_name": name, "reason": repr(error)})
        if len(self._names) >= NAMES_KEPT:
            self._names.clear()
        self._names[name] = (now + NAME_FRESH_S, context)
        return context

    def _context(self, certificate: CertificateText) -> ssl.SSLContext:
        context = self._contexts.get(certificate.id)
        if context is None:
            context = server_context(certificate.chain_pem, certificate.key_pem, self._client_authority_pem)
            if len(self._contexts) >= NAMES_KEPT:
                self._contexts.clear()
            self._contexts[certificate.id] = context
        return context


def _peek_hello(accepted: Any, ends_at: float) -> bytes:
    """Return the first bytes of the client, complete unless it dawdles between them, and leave them unread."""
    data = b""
    pause_s = 0.005
    while not client_hello.is_complete(data):
        before = len(data)
        try:
            data = accepted.recv(client_hello.LONGEST, socket.MSG_PEEK)
        except BlockingIOError:
            socket.wait_read(accepted.fileno(), timeout=max(ends_at - time.monotonic(), 0.001))
            continue
        if not data or pause_s > HELLO_PAUSE_S:
            break
        if len(data) == before:
            gevent.sleep(pause_s)  # readiness says nothing new while a part lies unread
            pause_s *= 2
    return data


def _client_name(encrypted: Any) -> str | None:
    """Return the first DNS name, else the common name, of the client's verified certificate."""
    certificate = encrypted.getpeercert()
    if not certificate:
        return None
    for kind, value in certificate.get("subjectAltName", ()):
        if kind == "DNS":
            return str(value)
    for attributes in certificate.get("subject", ()):
        for kind, value in attributes:
            if kind == "commonName":
                return str(value)
    return None
