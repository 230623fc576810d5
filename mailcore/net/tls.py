"""TLS of the servers' side: contexts from certificates, and the handshake on a non-blocking socket."""

from __future__ import annotations

import os
import ssl
import time
from collections.abc import Callable
from typing import Any

from gevent import socket

from mailcore.model.actions import Tls

MINIMUM_VERSION = ssl.TLSVersion.TLSv1_2


class TlsFailed(Exception):
    """The client did not complete the handshake."""


def server_context(certificate_pem: bytes, key_pem: bytes, client_authority_pem: bytes | None = None) -> ssl.SSLContext:
    """Return a server's context; with `client_authority_pem`, clients must show a certificate of it.

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
            context.verify_mode = ssl.CERT_REQUIRED
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


class TlsAcceptor:
    """Does handshakes with the certificate that fits the name the client asks for (RFC 6066 §3)."""

    def __init__(self, default: ssl.SSLContext, find: Callable[[str], ssl.SSLContext | None] | None = None) -> None:
        """Serve with `default`, and with what `find` returns for a server name."""
        self._default = default
        if find is not None:
            search = find

            def choose(handshake: ssl.SSLObject | ssl.SSLSocket, name: str | None, _: ssl.SSLContext) -> None:
                found = search(name.lower()) if name else None
                if found is not None:
                    handshake.context = found

            default.sni_callback = choose

    def handshake(self, accepted: Any, seconds: float) -> tuple[Any, Tls]:
        """Turn a connected socket into an encrypted one within `seconds`.

        Raises:
            TlsFailed: not TLS, no common version, no valid client certificate, or too slow.
        """
        ends_at = time.monotonic() + seconds
        try:
            encrypted: Any = self._default.wrap_socket(
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
