"""A range service as haveibeenpwned's: knows some passwords, and what it was asked."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class RangeService:
    """Where it is, what it was asked, and how it answers."""

    def __init__(self, passwords: Sequence[str]) -> None:
        self.asked: list[str] = []
        self.status = 200
        self.digests = [hashlib.sha1(password.encode()).hexdigest().upper() for password in passwords]
        self.url = ""

    def answer(self, path: str) -> bytes:
        self.asked.append(path)
        prefix = path.rpartition("/")[2]
        known = [f"{digest[5:]}:42" for digest in self.digests if digest.startswith(prefix)]
        return "\r\n".join(["0018A45C4D1DEF81644B54AB7F969B88D65:1", *known, "F" * 35 + ":0"]).encode()


@contextmanager
def range_service(*passwords: str) -> Iterator[RangeService]:
    """Serve on loopback."""
    service = RangeService(passwords)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = service.answer(self.path)
            self.send_response(service.status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    service.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield service
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
