"""A filter as rspamd: gives a verdict on every message, learns, and tells what it was asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Asked:
    """One request."""

    path: str
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> list[str]:
        return [value for one, value in self.headers if one.lower() == name.lower()]


@dataclass
class Rspamd:
    """Where it is, what it was asked, and how it answers."""

    url: str = ""
    status: int = 200
    verdict: dict[str, object] = field(
        default_factory=lambda: {
            "action": "no action",
            "score": 0.5,
            "required_score": 15.0,
            "symbols": {"MIME_GOOD": {"score": -0.1}},
        }
    )
    raw: bytes | None = None
    """Sent in place of the verdict."""
    asked: list[Asked] = field(default_factory=list)
    before: Callable[[], None] = lambda: None
    """Called before it answers."""

    def answer(self) -> bytes:
        return json.dumps(self.verdict).encode() if self.raw is None else self.raw


@contextmanager
def rspamd(port: int = 0) -> Iterator[Rspamd]:
    """Serve on loopback."""
    service = Rspamd()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            service.asked.append(Asked(self.path, self.headers.items(), body))
            service.before()
            answer = service.answer()
            self.send_response(service.status)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *arguments: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    service.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield service
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
