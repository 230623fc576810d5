"""The resolver that `Dns` asks: bounded in time and in what it remembers.

A module of its own, for it brings in all of dnspython, 2.5 MB that many processes never need.
"""

from __future__ import annotations

import time
from typing import Any, Final

import dns.flags
import dns.nameserver
import dns.resolver

from mailcore.errors import DnsUnavailable
from mailcore.settings import DnsSettings

TRY_S: Final = 3.0
CACHED: Final = 20_000
LONGEST_CACHED_S: Final = 300.0


def open_resolver(settings: DnsSettings) -> dns.resolver.Resolver:
    """Return a resolver that asks the servers of the settings, or else those of the system.

    Raises:
        DnsUnavailable: neither names any.
    """
    try:
        resolver = dns.resolver.Resolver(configure=not settings.servers)
    except dns.resolver.NoResolverConfiguration as error:
        raise DnsUnavailable("no resolver is configured: set EIDER_DNS_SERVERS") from error
    if settings.servers:
        resolver.nameservers = [dns.nameserver.Do53Nameserver(each.host, each.port) for each in settings.servers]
    resolver.timeout = TRY_S
    resolver.flags = dns.flags.RD | dns.flags.AD
    resolver.use_edns(0, dns.flags.DO, 1232)
    resolver.cache = _Cache(CACHED)
    return resolver


class _Cache(dns.resolver.LRUCache):
    """Keeps no answer for long, and none that does not say for how long: such is a no without the zone's SOA."""

    def put(self, key: Any, value: Any) -> None:
        """Keep an answer."""
        if value.rrset is None and not value.response.authority:
            return
        value.expiration = min(value.expiration, time.time() + LONGEST_CACHED_S)
        super().put(key, value)
