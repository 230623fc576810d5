"""The providers that are offered, and what is peculiar to each."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Final


class Texts(Enum):
    """How a provider wants a TXT value."""

    QUOTED = "quoted"
    """As in a zone file, cut into strings."""
    PLAIN = "plain"


class Exchangers(Enum):
    """How a provider wants the preference of an MX record."""

    INSIDE = "inside"
    """Before the host, as in a zone file."""
    APART = "apart"
    """As a field of its own."""


@dataclass(frozen=True, slots=True)
class DnsProvider:
    """One provider.

    Attributes:
        name: lexicon's, `label`: for people.
        types: that lexicon writes there in full; records of others have to be entered by hand.
        removed_by_content: its records have no ids of their own.
        module: lexicon's class, or ours of that name where it has to be mended.
        endpoint: it is a server of ours, whose address the settings give: no tenant chooses where we connect to.
        servers: how the names of its name servers end.
    """

    name: str
    label: str
    types: frozenset[str]
    texts: Texts = Texts.PLAIN
    exchangers: Exchangers = Exchangers.APART
    endpoint: bool = False
    module: str = ""
    removed_by_content: bool = False
    servers: tuple[str, ...] = ()


_SIMPLE: Final = frozenset({"TXT", "CNAME"})

PROVIDERS: Final = {
    provider.name: provider
    for provider in (
        DnsProvider(
            "powerdns", "PowerDNS", frozenset({"TXT", "CNAME", "MX", "SRV", "A", "AAAA"}), Texts.QUOTED,
            Exchangers.INSIDE, endpoint=True,
            module="portal.domains.providers.powerdns", removed_by_content=True,
        ),
        DnsProvider(
            "cloudflare", "Cloudflare", _SIMPLE | {"MX", "A", "AAAA"}, module="portal.domains.providers.cloudflare",
            servers=(".ns.cloudflare.com",),
        ),
        DnsProvider(
            "digitalocean", "DigitalOcean", _SIMPLE | {"MX", "A", "AAAA"},
            module="portal.domains.providers.digitalocean", servers=(".digitalocean.com",),
        ),
        DnsProvider(
            "hetzner", "Hetzner", _SIMPLE | {"MX", "SRV", "A", "AAAA"}, exchangers=Exchangers.INSIDE,
            module="portal.domains.providers.hetzner", removed_by_content=True,
            servers=(".ns.hetzner.com", ".ns.hetzner.de"),
        ),
    )
}  # fmt: skip


def offered(powerdns_url: str) -> list[DnsProvider]:
    """Return the providers that can be chosen where the settings say so much."""
    return [one for one in PROVIDERS.values() if powerdns_url or not one.endpoint]


def provider_of(servers: Iterable[str]) -> str | None:
    """Return whose name servers these are, as far as that is known."""
    names = [server.rstrip(".").lower() for server in servers]
    return next((one.name for one in PROVIDERS.values() for name in names if name.endswith(one.servers)), None)
