"""The outside of a test: a resolver, mail exchangers on addresses of their own, and a web server for policies.

Everything listens in 127.9.0.0/16, which the relay's settings allow; 127.0.0.1 and all else stays forbidden.
"""

from __future__ import annotations

import itertools
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import trustme

from infra.devstack.outside.dns_server import DnsServer, Trouble
from infra.devstack.outside.mail_exchanger import Behaviour, MailExchanger, Taken
from tests.ports import port_that_stays

__all__ = ["Behaviour", "MailExchanger", "Outside", "Taken", "Trouble", "outside"]

NETWORK = "127.9.0.0/16"
_hosts = itertools.count(1)


def _address() -> str:
    number = next(_hosts)
    return f"127.9.{number // 250}.{number % 250 + 1}"


@dataclass(frozen=True, slots=True)
class Posted:
    """What was sent to a web address."""

    url: str
    fields: dict[str, str]
    body: bytes


@dataclass
class Outside:
    """Domains and hosts that exist; changes hold at once."""

    dns: DnsServer
    smtp_port: int
    https_port: int
    authority: trustme.CA
    exchangers: dict[str, MailExchanger] = field(default_factory=dict)
    policies: dict[str, Any] = field(default_factory=dict)
    """Host -> body of its MTA-STS policy, or (status, type, body)."""
    fetched: list[str] = field(default_factory=list)
    policy_address: str = ""
    posted: list[Posted] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    """Of the next posts; 200 when there are no more."""

    def policy(self, domain: str, text: Any, policy_id: str = "1") -> None:
        """Let a domain have an MTA-STS policy (RFC 8461)."""
        self.dns.add(f"_mta-sts.{domain}", "TXT", f'"v=STSv1; id={policy_id};"')
        self.dns.add(f"mta-sts.{domain}", "A", self.policy_address)
        self.policies[f"mta-sts.{domain}"] = text

    def exchanger(self, name: str, behaviour: Behaviour | None = None) -> MailExchanger:
        """A host of that name with a server on it."""
        server = MailExchanger(_address(), self.smtp_port, behaviour or Behaviour())
        server.start()
        self.exchangers[name] = server
        self.dns.add(name, "A", server.host)
        return server

    def domain(self, name: str, behaviour: Behaviour | None = None) -> MailExchanger:
        """A domain whose mail goes to a host of its own."""
        self.dns.add(name, "MX", f"10 mx.{name}.")
        return self.exchanger(f"mx.{name}", behaviour)

    def tls(self, *names: str) -> ssl.SSLContext:
        """What a server of these names shows; signed by the authority that the settings know."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.authority.issue_cert(*names).configure_cert(context)
        return context

    def environment(self, folder: Path) -> dict[str, str]:
        """Variables by which a process finds this outside."""
        self.authority.cert_pem.write_to_path(folder / "outside.pem")
        return {
            "EIDER_OUTGOING_CA": str(folder / "outside.pem"),
            "EIDER_DNS_SERVERS": self.dns.address,
            "EIDER_OUTGOING_ALLOW": NETWORK,
            "EIDER_OUTGOING_PORTS": f"25:{self.smtp_port},443:{self.https_port}",
        }


@contextmanager
def outside() -> Iterator[Outside]:
    """Serve until the end of the block."""
    smtp_port = port_that_stays()
    with DnsServer() as dns:
        world = Outside(dns, smtp_port, 0, trustme.CA())
        web = _web(world)
        try:
            yield world
        finally:
            for server in world.exchangers.values():
                server.stop()
            web.shutdown()
            web.server_close()


def _web(world: Outside) -> ThreadingHTTPServer:
    """One HTTPS server for every policy host, told apart by SNI and Host."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            host = self.headers.get("Host", "")
            body = self.rfile.read(int(self.headers["Content-Length"]))
            world.posted.append(Posted(host + self.path, dict(self.headers.items()), body))
            status = world.answers.pop(0) if world.answers else 200
            self.send_response(status)
            if status == 302:
                self.send_header("Location", "https://127.0.0.1/")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def do_GET(self) -> None:
            host = self.headers.get("Host", "")
            world.fetched.append(host + self.path)
            found = world.policies.get(host)
            as_it_is = (200 if found else 404, "text/plain", found or "")
            status, kind, body = found if isinstance(found, tuple) else as_it_is
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            if status in {301, 302}:
                self.send_header("Location", body)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *arguments: object) -> None:
            """Quiet."""

    address = _address()
    server = ThreadingHTTPServer((address, 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)

    def choose(connection: ssl.SSLObject, name: str | None, _context: ssl.SSLContext) -> None:
        if name is not None:
            connection.context = world.tls(name)

    world.authority.issue_cert("policy.invalid").configure_cert(context)
    context.sni_callback = choose
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    world.https_port = int(server.server_address[1])
    world.policy_address = address
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server
