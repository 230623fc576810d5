"""Zones over HTTP, as PowerDNS offers them: what is written is served at once."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol, Self

import dns.exception
import dns.rdata
import dns.rdataclass
import dns.rdatatype

from infra.devstack.outside.dns_server import Records

Answer = tuple[int, Any]


class Zones(Protocol):
    """Where records are."""

    def records(self, zone: str) -> Mapping[tuple[str, str], Records] | None:
        """Return the records of a zone by name and type; None if there is no such zone."""
        ...

    def put(self, zone: str, name: str, kind: str, texts: Sequence[str]) -> None:
        """Let a name have these records of a type; none: none of it."""
        ...


class ZonesApi:
    """`with` it serves; `patches` is what it was told, as it came."""

    def __init__(self, zones: Zones, key: str, host: str = "127.0.0.1", port: int = 0) -> None:
        self.zones = zones
        self.key = key
        self.patches: list[dict[str, Any]] = []
        self.fails_after: int | None = None
        """So many changes are taken, then each is answered 500."""
        self._server = ThreadingHTTPServer((host, port), _handler(self))
        self._server.daemon_threads = True

    @property
    def url(self) -> str:
        """Where it listens."""
        host, port = self._server.server_address[:2]
        return f"http://{host!s}:{port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def show(self, zone: str) -> Answer:
        """Answer what a zone holds."""
        records = self.zones.records(zone)
        if records is None:
            return 404, {"error": "Could not find domain"}
        rrsets = [
            {
                "name": f"{name}.",
                "type": kind,
                "ttl": 300,
                "records": [{"content": canonical(kind, text), "disabled": False} for text in texts],
            }
            for (name, kind), texts in records.items()
            if not callable(texts)
        ]
        return 200, {"kind": "Native", "name": f"{zone}.", "rrsets": rrsets}

    def change(self, zone: str, body: dict[str, Any]) -> Answer:
        """Replace and remove sets of records."""
        if self.zones.records(zone) is None:
            return 404, {"error": "Could not find domain"}
        if self.fails_after is not None and len(self.patches) >= self.fails_after:
            return 500, {"error": "Internal Server Error"}
        for rrset in body["rrsets"]:
            name, kind = rrset["name"].rstrip("."), rrset["type"]
            is_removed = rrset["changetype"] == "DELETE"
            try:
                texts = [] if is_removed else [canonical(kind, one["content"]) for one in rrset["records"]]
            except dns.exception.DNSException as error:
                return 422, {"error": f"Record {name}/{kind}: {error}"}
            self.zones.put(zone, name, kind, texts)
        self.patches.append(body)
        return 204, None


def canonical(kind: str, text: str) -> str:
    """Return a record as PowerDNS says it.

    Raises:
        DNSException: it is malformed.
    """
    return dns.rdata.from_text(dns.rdataclass.IN, dns.rdatatype.from_text(kind), text).to_text()


def _handler(api: ZonesApi) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(api.show)

        def do_PATCH(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self._answer(lambda zone: api.change(zone, body))

        def _answer(self, act: Callable[[str], Answer]) -> None:
            if self.headers.get("X-API-Key") != api.key:
                status, told = 401, {"error": "Unauthorized"}
            else:
                status, told = act(self.path.rpartition("/zones/")[2].rstrip("."))
            data = b"" if told is None else json.dumps(told).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    return Handler
