"""A local server that answers as the HTTP API of PowerDNS does, on the zones of `nameservers`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from infra.devstack.outside.dns_server import Records
from infra.devstack.outside.zones_api import ZonesApi
from tests.stubs.nameservers import Nameservers

KEY = "stub-key"
PowerDns = ZonesApi


@dataclass
class WorldZones:
    """The zones that were delegated."""

    world: Nameservers

    def records(self, zone: str) -> Mapping[tuple[str, str], Records] | None:
        found = self.world.zones.get(zone)
        return None if found is None else found.servers[0].records

    def put(self, zone: str, name: str, kind: str, texts: Sequence[str]) -> None:
        if texts:
            self.world.zones[zone].add(name, kind, *texts)
        else:
            self.world.zones[zone].remove(name, kind)


@contextmanager
def powerdns(world: Nameservers) -> Iterator[ZonesApi]:
    """Serve until the end of the block."""
    with ZonesApi(WorldZones(world), KEY) as served:
        yield served
