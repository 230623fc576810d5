"""A range service as haveibeenpwned's: whoever asks by five digits of a hash learns the rest of those it knows."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

KNOWN = ("password", "password1", "12345678", "123456789", "qwertyuiop", "correct horse battery staple")
"""Of those that are stolen most often, some that are long enough to be chosen."""
OTHERS = ("0018A45C4D1DEF81644B54AB7F969B88D65:1", "F" * 35 + ":0")
"""In every answer: another password, and a line of padding."""


class RangeService:
    """`with` it serves `url`; `asked` is what came, `status` how it answers."""

    def __init__(self, *passwords: str, host: str = "127.0.0.1", port: int = 0) -> None:
        self.asked: list[str] = []
        self.status = 200
        self._digests = [_digest(password) for password in passwords]
        self._server = ThreadingHTTPServer((host, port), type("Handler", (_Handler,), {"service": self}))
        self._server.daemon_threads = True
        self.url = f"http://{host}:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, path: str) -> bytes:
        """Return the lines of a range, `/range/` and five digits."""
        self.asked.append(path)
        return "\r\n".join([OTHERS[0], *self._known(path.rpartition("/")[2]), OTHERS[1]]).encode()

    def _known(self, prefix: str) -> Sequence[str]:
        return [f"{digest[5:]}:42" for digest in self._digests if digest.startswith(prefix)]


def _digest(password: str) -> str:
    return hashlib.sha1(password.encode(), usedforsecurity=False).hexdigest().upper()


class _Handler(BaseHTTPRequestHandler):
    service: RangeService

    def do_GET(self) -> None:
        body = self.service.answer(self.path)
        self.send_response(self.service.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Quiet."""
