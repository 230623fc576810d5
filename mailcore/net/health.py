"""The small HTTP port of each process: /health, /ready and /metrics."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

from gevent.pywsgi import WSGIServer
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from mailcore.net.listener import StartRefused

Start = Callable[[str, list[tuple[str, str]]], Any]

READY_FRESH_S = 2.0
"""How long the answer of the readiness check is used again."""


class HealthServer:
    """Says whether the process lives (/health) and should get new connections (/ready)."""

    def __init__(self, host: str, port: int, is_ready: Callable[[], bool]) -> None:
        """Answer /ready with 200 while `is_ready` says so; it may make one short round trip."""
        self._is_ready = is_ready
        self._checked_at = float("-inf")
        self._ready = False
        self._server: Any = WSGIServer((host, port), self._answer, log=None, error_log=None)

    def start(self) -> int:
        """Listen and return the port.

        Raises:
            StartRefused: the port cannot be had.
        """
        try:
            self._server.start()
        except OSError as error:
            raise StartRefused(f"health: cannot listen on port {self._server.address[1]}: {error.strerror}") from None
        return int(self._server.server_port)

    def stop(self) -> None:
        """Stop listening."""
        self._server.stop(timeout=1)

    def _answer(self, environment: dict[str, Any], start: Start) -> Iterable[bytes]:
        path = environment["PATH_INFO"]
        if environment["REQUEST_METHOD"] not in {"GET", "HEAD"}:
            return _text(start, "405 Method Not Allowed", b"GET only\n")
        if path == "/health":
            return _text(start, "200 OK", b"alive\n")
        if path == "/ready":
            if self._check():
                return _text(start, "200 OK", b"ready\n")
            return _text(start, "503 Service Unavailable", b"not ready\n")
        if path == "/metrics":
            start("200 OK", [("Content-Type", CONTENT_TYPE_LATEST)])
            return [generate_latest()]
        return _text(start, "404 Not Found", b"/health, /ready, /metrics\n")

    def _check(self) -> bool:
        now = time.monotonic()
        if now - self._checked_at > READY_FRESH_S:
            self._ready = self._is_ready()
            self._checked_at = now
        return self._ready


def _text(start: Start, status: str, body: bytes) -> Iterable[bytes]:
    start(status, [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))])
    return [body]
