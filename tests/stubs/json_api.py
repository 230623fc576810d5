"""A local server that answers requests with JSON, as interfaces of DNS providers do; only to who has the token."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

TOKEN = "stub-token-that-is-longer-than-32-characters"
Answer = tuple[int, Any]
"""Status and what is told; None is no body at all."""
Answering = Callable[[str, str, dict[str, str], dict[str, Any]], Answer]
"""By method, path, query and body."""


@contextmanager
def json_api(answering: Answering, refused: Answer) -> Iterator[str]:
    """Serve until the end of the block, at the address that is given; without the token the answer is `refused`."""

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
            parts = urlsplit(self.path)
            status, told = refused
            if self.headers.get("Authorization") == f"Bearer {TOKEN}":
                status, told = answering(self.command, unquote(parts.path), dict(parse_qsl(parts.query)), body)
            data = b"" if told is None else json.dumps(told).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PUT = do_DELETE = _answer  # noqa: N815  as the library calls them

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
