"""The small HTTP port of each process: /health, /ready, /metrics, and answers to an ACME authority."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

from gevent.pywsgi import WSGIServer
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from mailcore.errors import Unavailable
from mailcore.net.listener import StartRefused

Answer = Callable[[str], str | None]
Start = Callable[[str, list[tuple[str, str]]], Any]

CHALLENGE_PATH = "/.well-known/acme-challenge/"
READY_FRESH_S = 2.0
"""How long the answer of the readiness check is used again."""


class HealthServer:
    """Says whether the process lives (/health) and should get new connections (/ready)."""

    def __init__(self, host: str, port: int, is_ready: Callable[[], bool], answer: Answer = lambda _: None) -> None:
        """Answer /ready with 200 while `is_ready` says so; both it and `answer` may make one short round trip.

        `answer` tells what to say to an authority that asks for a token (RFC 8555 §8.3); None to refuse it.
        """
        self._is_ready = is_ready
        self._answer_token = answer
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
        if path.startswith(CHALLENGE_PATH):
            return self._answer_challenge(path.removeprefix(CHALLENGE_PATH), start)
        return _text(start, "404 Not Found", b"/health, /ready, /metrics\n")

    def _answer_challenge(self, token: str, start: Start) -> Iterable[bytes]:
        try:
            answer = self._answer_token(token)
        except Unavailable:
            return _text(start, "503 Service Unavailable", b"try again\n")
        if answer is None:
            return _text(start, "404 Not Found", b"no such token\n")
        return _text(start, "200 OK", answer.encode())

    def _check(self) -> bool:
        now = time.monotonic()
        if now - self._checked_at > READY_FRESH_S:
            self._ready = self._is_ready()
            self._checked_at = now
        return self._ready


def _text(start: Start, status: str, body: bytes) -> Iterable[bytes]:
    start(status, [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))])
    return [body]
