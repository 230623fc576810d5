"""A name server whose whole knowledge is a table, which may change at any time (UDP and TCP).

It is a resolver, or the authoritative server of some zones.
"""

from __future__ import annotations

import socket
import socketserver
import struct
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from enum import Enum
from types import TracebackType
from typing import Any, Self

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

CHAIN = 8
"""CNAMEs that are followed; a longer chain is SERVFAIL, as resolvers answer a loop."""
TTL_S = 0


class Trouble(Enum):
    """What the resolver does instead of answering."""

    SERVFAIL = "servfail"
    SILENCE = "silence"


class Unsure(Exception):
    """Nobody can say now: SERVFAIL."""


Records = Sequence[str] | Callable[[], Sequence[str]]
"""Texts of records; a function is asked each time, so that an answer may change."""


class DnsServer:
    """Answers from `records`; `with` it serves on a port of its own."""

    def __init__(self, host: str = "127.0.0.1", port: int = 0, zones: Sequence[str] | None = None) -> None:
        """`zones`: it is no resolver but the authoritative server of these ("": of all), and refuses the rest."""
        self.zones = zones
        self.ttl_s = TTL_S
        self.records: dict[tuple[str, str], Records] = {}
        self.trouble: dict[str, Trouble] = {}
        """By name, whatever the type."""
        self.secure: set[str] = set()
        """Names whose answers are said to have been validated."""
        self.asked: Counter[tuple[str, str]] = Counter()
        self._host, self._port = host, port
        self._udp: socketserver.UDPServer | None = None
        self._tcp: socketserver.TCPServer | None = None

    @property
    def address(self) -> str:
        """Where it listens, as EIDER_DNS_SERVERS names it."""
        return f"{self._host}:{self._port}"

    def add(self, name: str, kind: str, *texts: str) -> None:
        """Let a name have these records of a type, and no others of it."""
        self.records[name.lower().rstrip("."), kind] = texts

    def start(self) -> None:
        """Serve, in threads."""
        owner = self

        class Udp(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                data, connection = self.request
                answer = owner.answer(data)
                if answer is not None:
                    connection.sendto(answer, self.client_address)

        class Tcp(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                size = self.rfile.read(2)
                if len(size) == 2:
                    answer = owner.answer(self.rfile.read(struct.unpack("!H", size)[0]))
                    if answer is not None:
                        self.wfile.write(struct.pack("!H", len(answer)) + answer)

        for _ in range(20):  # one number must be free for both
            udp = _UdpServer((self._host, self._port), Udp)
            try:
                self._tcp = _TcpServer((self._host, udp.socket.getsockname()[1]), Tcp)
            except OSError:
                udp.server_close()
                if self._port:
                    raise
                continue
            self._udp = udp
            break
        assert self._udp is not None
        assert self._tcp is not None
        self._port = int(self._udp.socket.getsockname()[1])
        for server in (self._udp, self._tcp):
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        """Serve no more."""
        for server in (self._udp, self._tcp):
            if server is not None:
                server.shutdown()
                server.server_close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def answer(self, data: bytes) -> bytes | None:
        """Return the answer to one question; None to be silent."""
        query = dns.message.from_wire(data)
        question = query.question[0]
        name = question.name.to_text(omit_final_dot=True).lower()
        kind = dns.rdatatype.to_text(question.rdtype)
        self.asked[name, kind] += 1
        response = dns.message.make_response(query, recursion_available=self.zones is None)
        if self.zones is not None and not any(not zone or f".{name}".endswith(f".{zone}") for zone in self.zones):
            response.set_rcode(dns.rcode.REFUSED)
            return response.to_wire()
        if self.zones is not None:
            response.flags |= dns.flags.AA
        trouble = self.trouble.get(name)
        if trouble is Trouble.SILENCE:
            return None
        try:
            is_known = trouble is None and self._fill(response, name, kind)
        except Unsure:
            is_known = False
        if not is_known:
            response.set_rcode(dns.rcode.SERVFAIL)
            response.answer.clear()
        return response.to_wire()

    def _fill(self, response: Any, name: str, kind: str) -> bool:
        """Put records into an answer; False if the chain of CNAMEs does not end, or ends in trouble."""
        is_secure = True
        for _ in range(CHAIN):
            if name in self.trouble:
                return False
            is_secure = is_secure and name in self.secure
            texts = self._texts(name, kind)
            if texts:
                response.answer.append(dns.rrset.from_text_list(_absolute(name), self.ttl_s, "IN", kind, list(texts)))
                break
            aliases = self._texts(name, "CNAME")
            if not aliases:
                if not any(known == name or known.endswith(f".{name}") for known, _ in self.records):
                    response.set_rcode(dns.rcode.NXDOMAIN)
                break
            response.answer.append(dns.rrset.from_text_list(_absolute(name), self.ttl_s, "IN", "CNAME", list(aliases)))
            if self.zones is not None:
                break
            name = aliases[0].lower().rstrip(".")
        else:
            return False
        if is_secure:
            response.flags |= dns.flags.AD
        return True

    def _texts(self, name: str, kind: str) -> Sequence[str]:
        found = self.records.get((name, kind), ())
        return found() if callable(found) else found


class _UdpServer(socketserver.ThreadingUDPServer):
    daemon_threads = True
    allow_reuse_address = False


class _TcpServer(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    address_family = socket.AF_INET


def _absolute(name: str) -> dns.name.Name:
    return dns.name.from_text(name)
