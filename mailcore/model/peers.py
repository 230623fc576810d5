"""Who may speak to a port by its address alone."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Final, TypeAlias

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
LOOPBACK: Final[tuple[Network, ...]] = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))
PEERS_KNOWN: Final = 4096


class Peers:
    """Networks, and whether an address is in one of them; addresses seen before are remembered."""

    def __init__(self, networks: Sequence[Network]) -> None:
        self._networks = tuple(networks)
        self._known: dict[str, bool] = {}

    @property
    def are_local(self) -> bool:
        """Whether nobody is listed but this machine."""
        return all(network in LOOPBACK for network in self._networks)

    def has(self, address: str) -> bool:
        """Return whether an address is listed; what is no address is not."""
        known = self._known.get(address)
        if known is None:
            try:
                parsed = ipaddress.ip_address(address.partition("%")[0])
                known = any(parsed in network for network in self._networks)
            except ValueError:
                known = False
            if len(self._known) >= PEERS_KNOWN:
                self._known.clear()
            self._known[address] = known
        return known


def is_loopback(host: str) -> bool:
    """Return whether only this machine can connect to a port that listens there."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
