"""A local server that answers as the HTTP API of PowerDNS does, on zones that are served meanwhile."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import dns.rdata
import dns.rdataclass
import dns.rdatatype

from tests.stubs.nameservers import Nameservers

KEY = "stub-key"


@dataclass
class PowerDns:
    """The server; `patches` is what it was told, as it came."""

    world: Nameservers
    url: str = ""
    patches: list[dict[str, Any]] = field(default_factory=list)
    fails_after: int | None = None
    """So many changes are taken, then each is answered 500."""


@contextmanager
def powerdns(world: Nameservers) -> Iterator[PowerDns]:
    """Serve until the end of the block."""
    served = PowerDns(world)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(self._zone)

        def do_PATCH(self) -> None:
            self._answer(self._change)

        def do_PUT(self) -> None:
            self._answer(lambda _name: (200, {}))

        def _answer(self, act: Any) -> None:
            if self.headers.get("X-API-Key") != KEY:
                self._send(401, {"error": "Unauthorized"})
                return
            name = self.path.rpartition("/zones/")[2].rstrip(".")
            if name not in served.world.zones:
                self._send(404, {"error": "Could not find domain"})
                return
            self._send(*act(name))

        def _zone(self, name: str) -> tuple[int, Any]:
            records = served.world.zones[name].servers[0].records
            rrsets = [
                {
                    "name": f"{owner}.",
                    "type": kind,
                    "ttl": 300,
                    "records": [{"content": _canonical(kind, text), "disabled": False} for text in texts],
                }
                for (owner, kind), texts in records.items()
                if not callable(texts)
            ]
            return 200, {"kind": "Native", "name": f"{name}.", "rrsets": rrsets}

        def _change(self, name: str) -> tuple[int, Any]:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if served.fails_after is not None and len(served.patches) >= served.fails_after:
                return 500, {"error": "Internal Server Error"}
            for rrset in body["rrsets"]:
                owner, kind = rrset["name"].rstrip("."), rrset["type"]
                try:
                    texts = [_canonical(kind, record["content"]) for record in rrset.get("records", [])]
                except dns.exception.DNSException as error:
                    return 422, {"error": f"Record {owner}/{kind}: {error}"}
                zone = served.world.zones[name]
                if rrset["changetype"] == "DELETE" or not texts:
                    zone.remove(owner, kind)
                else:
                    zone.add(owner, kind, *texts)
            served.patches.append(body)
            return 204, None

        def _send(self, status: int, body: Any) -> None:
            data = b"" if body is None else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()


def _canonical(kind: str, text: str) -> str:
    """Return a record as PowerDNS says it, or refuse it as it does."""
    return dns.rdata.from_text(dns.rdataclass.IN, dns.rdatatype.from_text(kind), text).to_text()
