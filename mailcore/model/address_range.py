"""The range of addresses that one party is likely to own."""

from __future__ import annotations

import ipaddress
from functools import lru_cache

IPV4_BITS = 24
IPV6_BITS = 64


@lru_cache(maxsize=4096)
def address_range(address: str) -> str:
    """Return the /24 of an IPv4 address, the /64 of an IPv6 one; what is neither, as it is.

    An IPv4-mapped IPv6 address counts as IPv4 (RFC 4291 §2.5.5.2).
    """
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is None:
            return str(ipaddress.ip_network((parsed, IPV6_BITS), strict=False))
        parsed = parsed.ipv4_mapped
    return str(ipaddress.ip_network((parsed, IPV4_BITS), strict=False))
