"""A connection to a server that we are the client of: lines out, replies in, each within its time."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterable

from mailcore.errors import SyntaxFault
from mailcore.smtp.wire.replies import Reply
from mailcore.smtp.wire.reply_reader import ReplyReader

_PIECE = 16 * 1024
_JOIN = 64 * 1024


class RemoteLost(Exception):
    """The connection broke, nothing came in time, or what came is no reply."""


class TlsFailed(RemoteLost):
    """No TLS, or not with whom it should be."""


class Channel:
    """One connection."""

    def __init__(self, connection: socket.socket, remote: str) -> None:
        """Talk over `connection`; `remote` names the other end in logs and reports."""
        self._socket = connection
        self._reader = ReplyReader()
        self.remote = remote
        self.tls: ssl.SSLSocket | None = None

    def reply(self, timeout_s: float) -> Reply:
        """Return the next reply.

        Raises:
            RemoteLost: none came within `timeout_s`, counted in total, or it is none.
        """
        until = time.monotonic() + timeout_s
        try:
            while True:
                reply = self._reader.next()
                if reply is not None:
                    return reply
                left = until - time.monotonic()
                if left <= 0:
                    raise RemoteLost(f"no answer within {timeout_s:.0f} s")
                self._socket.settimeout(left)
                data = self._socket.recv(_PIECE)
                if not data:
                    raise RemoteLost("closed the connection")
                self._reader.feed(data)
        except SyntaxFault as fault:
            raise RemoteLost(f"answered nonsense: {fault}") from fault
        except TimeoutError as error:
            raise RemoteLost(f"no answer within {timeout_s:.0f} s") from error
        except OSError as error:
            raise RemoteLost(_why(error)) from error

    def send(self, data: bytes, timeout_s: float) -> None:
        """Write all of it.

        Raises:
            RemoteLost: not taken within `timeout_s`.
        """
        try:
            self._socket.settimeout(timeout_s)
            self._socket.sendall(data)
        except OSError as error:
            raise RemoteLost(_why(error)) from error

    def send_pieces(self, pieces: Iterable[bytes], timeout_s: float) -> None:
        """Write pieces, small ones joined; each write has `timeout_s`."""
        waiting = bytearray()
        for piece in pieces:
            waiting += piece
            if len(waiting) >= _JOIN:
                self.send(bytes(waiting), timeout_s)
                waiting.clear()
        if waiting:
            self.send(bytes(waiting), timeout_s)

    def start_tls(self, context: ssl.SSLContext, name: str, timeout_s: float) -> None:
        """Encrypt from now on; the context says what is wanted of the other end's certificate.

        Raises:
            TlsFailed: the handshake did not come about, or something came in clear behind the answer.
        """
        if not self._reader.is_empty:
            raise TlsFailed("input in clear before the handshake")
        try:
            self._socket.settimeout(timeout_s)
            self.tls = context.wrap_socket(self._socket, server_hostname=name)
        except (OSError, ValueError) as error:
            raise TlsFailed(_why(error)) from error
        self._socket = self.tls

    def close(self) -> None:
        """Close, whatever state it is in."""
        try:
            self._socket.close()
        except OSError:
            pass


def _why(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate: {error.verify_message}"
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__)[:200]
