"""Zones with authoritative servers on addresses of their own, and a resolver that knows where they are."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from infra.devstack.outside.dns_server import DnsServer, Trouble

__all__ = ["DnsServer", "Nameservers", "Trouble", "Zone", "nameservers"]

NETWORK = "127.9.0.0/16"
_numbers = itertools.count(1)


@dataclass
class Zone:
    """A zone on one or more servers; what is added is added to all of them."""

    name: str
    servers: list[DnsServer]

    def add(self, name: str, kind: str, *texts: str) -> None:
        """Let a name of the zone have these records of a type, and no others of it."""
        for server in self.servers:
            server.add(name, kind, *texts)

    def remove(self, name: str, kind: str) -> None:
        """Let a name have no records of a type."""
        for server in self.servers:
            server.records.pop((name, kind), None)

    def get(self, name: str, kind: str) -> list[str]:
        """Return what the first server has."""
        found = self.servers[0].records.get((name, kind), ())
        return list(found() if callable(found) else found)


class Resolver(DnsServer):
    """Answers what it was told itself, and what the first server of each zone says."""

    def __init__(self) -> None:
        super().__init__()
        self.delegated: dict[str, DnsServer] = {}

    def _texts(self, name: str, kind: str) -> Sequence[str]:
        found = super()._texts(name, kind)
        zones = [zone for zone in self.delegated if f".{name}".endswith(f".{zone}")]
        if found or not zones:
            return found
        return self.delegated[max(zones, key=len)]._texts(name, kind)


@dataclass
class Nameservers:
    """All zones there are."""

    resolver: Resolver
    port: int
    zones: dict[str, Zone] = field(default_factory=dict)
    started: list[DnsServer] = field(default_factory=list)

    def zone(self, name: str, servers: int = 2) -> Zone:
        """Delegate a new zone to servers of its own."""
        made = []
        for number in range(servers):
            host = next(_numbers)
            server = DnsServer(f"127.9.{100 + host // 250}.{host % 250 + 1}", self.port, zones=[name])
            server.ttl_s = 300
            server.start()
            self.started.append(server)
            made.append(server)
            self.resolver.add(f"ns{number + 1}.{name}", "A", server.address.partition(":")[0])
        self.resolver.add(name, "NS", *(f"ns{number + 1}.{name}." for number in range(servers)))
        self.resolver.delegated[name] = made[0]
        self.zones[name] = Zone(name, made)
        return self.zones[name]

    def variables(self) -> dict[str, str]:
        """Variables by which a process finds these servers."""
        return {
            "EIDER_DNS_SERVERS": self.resolver.address,
            "EIDER_OUTGOING_ALLOW": NETWORK,
            "EIDER_OUTGOING_PORTS": f"53:{self.port}",
        }


@contextmanager
def nameservers() -> Iterator[Nameservers]:
    """Serve until the end of the block."""
    with Resolver() as resolver:
        with DnsServer("127.9.99.1") as probe:
            port = int(probe.address.rpartition(":")[2])
        world = Nameservers(resolver, port)
        try:
            yield world
        finally:
            for server in world.started:
                server.stop()
